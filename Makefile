# The tasks of this repository. `make help` lists them.

.DEFAULT_GOAL := help
PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
RUNTIME := .venv/requirements.installed
DEVELOPMENT := .venv/requirements-dev.installed
SERVERS := $(BIN)/python -m tests.servers run
SCRATCH := .cache/check
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
    --custom-compile-command "make lock"

# The Debian packages that each target needs, in addition to make and Python.
PACKAGES_run := python3-venv
PACKAGES_check := $(PACKAGES_run)
PACKAGES_test := $(PACKAGES_run) postgresql pgbouncer redis-server rabbitmq-server wrk
PACKAGES_bench := $(PACKAGES_test)
PACKAGES_e2e := $(PACKAGES_test) chromium

# PYTHON... variables of a developer's shell must not decide what passes here.
$(foreach name,$(filter-out PYTHON,$(filter PYTHON%,$(.VARIABLES))),$(eval unexport $(name)))

BASH := /bin/bash
BASH_FLAGS := -euo pipefail -c
SHELL := $(BASH)
.SHELLFLAGS := $(BASH_FLAGS)

# In another user's checkout root works as that user, so that no file of root's is left in it. Only these run as root:
# the targets that call apt, and `clean`, which removes what an earlier run as root has left.
OWNER := $(shell owner=$$(stat -c %u .); test "$$(id -u)" = 0 && test "$$owner" != 0 && \
    setpriv --reuid "$$owner" --regid "$$(stat -c %g .)" --clear-groups test -w "$$PWD" && echo "$$owner")
ifneq ($(OWNER),)
export HOME := $(or $(shell getent passwd $(OWNER) | cut -d: -f6),/tmp)
.SHELLFLAGS := --reuid $(OWNER) --regid $(shell stat -c %g .) --clear-groups $(BASH) $(BASH_FLAGS)
SHELL := /usr/bin/setpriv
servers packages-% clean: SHELL := $(BASH)
servers packages-% clean: .SHELLFLAGS := $(BASH_FLAGS)
endif

# Production settings for `check --deploy`. It connects to nothing.
PRODUCTION := DATABASE_URL=postgres://inventory@postgres/inventory REDIS_URL=redis://redis:6379/0 \
    RABBITMQ_URL=amqp://inventory@rabbitmq:5672/%2F ALLOWED_HOSTS=inventory.example.com INVENTORY_HOST=0.0.0.0 \
    INVENTORY_HTTPS=on INVENTORY_API_AUTH=on

# $(call install,STAMP,FILE): the virtual environment with the packages of FILE. If two start at once, one waits.
install = exec 9<Makefile; flock 9; \
    test ! -e .venv || test -w .venv || \
    { echo ".venv belongs to $$(stat -c %U .venv). Remove it with: sudo make clean" >&2; exit 1; }; \
    test -x $(BIN)/pip || $(PYTHON) -m venv .venv; \
    if test $(2) -nt $(1); then echo "Installing $(2) into .venv ..."; $(BIN)/pip install --quiet \
    --disable-pip-version-check --require-hashes --requirement $(2); touch $(1); fi

.PHONY: help servers run test soak check bench e2e format lock clean-room clean clean-data

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

servers: ## install the Debian packages that the tests need (the only step for root); their services stay off
	@$(PYTHON) -B tests/packages.py $(PACKAGES_test)

run: packages-run $(RUNTIME) ## serve the API and the admin on port 3006, with example warehouses and products
	@exec $(BIN)/python manage.py serve --set-up

test: packages-test $(DEVELOPMENT) ## run all tests except those in a browser, on servers of their own; ARGS="-k name" goes to pytest
	@$(SERVERS) -- python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

soak: packages-test $(DEVELOPMENT) ## run the tests that `make test` shortens, at full length
	@TEST_SOAK=1 $(SERVERS) -- python -m pytest tests/integration/messaging/faults/test_minute.py \
		tests/integration/races/test_emergency_brake.py tests/integration/faults/test_hostile_clients.py $(ARGS)

check: packages-check $(DEVELOPMENT) ## check format, style, types, imports, migrations, settings, OpenAPI, AsyncAPI, container files
	@mkdir -p $(SCRATCH)
	$(BIN)/pip check --disable-pip-version-check --quiet
	$(BIN)/ruff format --check --output-format concise .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo
	@echo "manage.py makemigrations --check, check --deploy, spectacular --validate"
	@INVENTORY_DATA_DIR=$(SCRATCH) $(BIN)/python manage.py makemigrations --check --dry-run --verbosity 1
	@$(PRODUCTION) SECRET_KEY="$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(64))')" \
	    $(BIN)/python manage.py check --deploy --fail-level WARNING
	@INVENTORY_DATA_DIR=$(SCRATCH) $(BIN)/python manage.py spectacular --validate --fail-on-warn \
	    --file $(SCRATCH)/openapi.yaml
	$(BIN)/python -m tests.asyncapi docs/reference/asyncapi.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/hadolint Dockerfile

bench: packages-bench $(DEVELOPMENT) ## measure the service next to a plain Django service, 20 minutes; ARGS="--rounds 3 door" takes three
	@$(SERVERS) --fsync -- python -m benchmarks $(ARGS)

e2e: packages-e2e $(DEVELOPMENT) ## run the tests in a browser (Debian's chromium)
	@$(SERVERS) -- python -m pytest tests/e2e $(ARGS)

clean-room: ## follow the README on a bare Debian in a temporary folder, as root; about an hour
	@$(PYTHON) -B tests/clean_room.py $(ARGS)

format: $(DEVELOPMENT) ## format the code and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(DEVELOPMENT) ## pin every package with its hashes: requirements*.in become requirements*.txt
	$(LOCK) requirements.in --output-file requirements.txt
	$(LOCK) requirements-dev.in --constraint requirements.txt --output-file requirements-dev.txt

clean: ## remove the virtual environment, every cache and the results of benchmarks; data are kept
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis benchmarks/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-data: ## delete the embedded database in var/, with all stock, reservations and the administrator
	rm -rf var

packages-%:
	@$(PYTHON) -B tests/packages.py $(PACKAGES_$*)

# A stamp for each requirements file: pip runs again only when its file has changed.
$(RUNTIME): requirements.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: set PYTHON.")'
	@$(call install,$@,$<)

$(DEVELOPMENT): requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: set PYTHON.")'
	@$(call install,$@,$<)
	@touch $(RUNTIME)
