# What one does with this repository, each in one word. `make help` lists it.

SHELL := /bin/bash -euo pipefail
.DEFAULT_GOAL := help
PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
RUNTIME := .venv/requirements.installed
DEVELOPMENT := .venv/requirements-dev.installed
SERVERS := $(BIN)/python -m tests.servers run
SCRATCH := .cache/check

# Settings as a production has them, so that `check --deploy` judges those. Nothing is connected to.
PRODUCTION := DATABASE_URL=postgres://inventory@postgres/inventory REDIS_URL=redis://redis:6379/0 \
    RABBITMQ_URL=amqp://inventory@rabbitmq:5672/%2F ALLOWED_HOSTS=inventory.example.com INVENTORY_HOST=0.0.0.0 \
    INVENTORY_HTTPS=on INVENTORY_API_AUTH=on

# $(call debian,PACKAGE): installs one Debian package, or says in a sentence why it cannot.
debian = { test "$$(id -u)" = 0 || { echo "$(1) is missing: have root run 'apt-get install $(1)'." >&2; exit 1; }; \
    echo "Installing $(1) ..."; apt-get -qq update; \
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $(1) >/dev/null; }

.PHONY: help run test check bench e2e format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNTIME) ## serve the API and the admin on port 3006, with seeded warehouses and products
	@echo "Migrating the database ..."
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py seed --warehouses --products
	@exec $(BIN)/python manage.py serve

test: $(DEVELOPMENT) ## run all tests but the browser's, on servers of their own; ARGS="-k name" goes to pytest
	@command -v wrk >/dev/null || $(call debian,wrk)
	@$(SERVERS) -- python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

check: $(DEVELOPMENT) ## check format, style, types, imports, migrations, settings, OpenAPI, AsyncAPI and container files
	@mkdir -p $(SCRATCH)
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
	$(BIN)/python -m tests.asyncapi docs/asyncapi.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/hadolint Dockerfile

bench: $(DEVELOPMENT) ## measure the service beside the textbook way, on servers that wait for the disk (Debian's wrk)
	@command -v wrk >/dev/null || $(call debian,wrk)
	@$(SERVERS) --fsync -- python -m benchmarks $(ARGS)

e2e: $(DEVELOPMENT) ## run the tests in a browser (Debian's chromium)
	@command -v chromium >/dev/null || $(call debian,chromium)
	@$(SERVERS) -- python -m pytest tests/e2e $(ARGS)

format: $(DEVELOPMENT) ## format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove the virtual environment, the embedded database and every cache
	rm -rf .venv var .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp for each requirements file: pip runs again only when its file has changed.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: set PYTHON.")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(call debian,python3-venv)
	@$(PYTHON) -m venv .venv

$(RUNTIME): requirements.txt | $(BIN)/python
	@echo "Installing requirements.txt into .venv ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@

$(DEVELOPMENT): requirements-dev.txt requirements.txt | $(BIN)/python
	@echo "Installing requirements-dev.txt into .venv ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@ $(RUNTIME)
