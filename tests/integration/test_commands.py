"""Every command and every variable: what it does, and the one clear line with which it fails."""

import ast
import json
import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pika
import psycopg
import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import User

from inventory_project.foundation import database
from inventory_project.foundation.access.models import ApiToken
from reservations.models import Reservation
from stock.models import Product, StockLevel, StockMovement
from tests import factories
from tests.servers import free_port
from tests.service import (
    KEY,
    MANAGE,
    PATIENCE_SECONDS,
    SETTINGS_FILE,
    VARIABLES,
    environment,
    manage,
    url_of_test_database,
)
from warehouses.models import PostalArea, Warehouse

Done = subprocess.CompletedProcess[str]
TOKEN = ("create_api_token", "checkout", "--scope", "stock:read")


@pytest.fixture
def real(transactional_db: None) -> dict[str, str]:
    """The environment of a command that works on the tests' database."""
    return environment(DATABASE_URL=url_of_test_database(), SECRET_KEY=KEY)


def start(commands: Sequence[Sequence[str]], env: Mapping[str, str]) -> list[subprocess.Popen[str]]:
    """Start all the commands."""
    return [
        subprocess.Popen(
            [sys.executable, str(MANAGE), *command], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for command in commands
    ]


def ends_of(started: Sequence[subprocess.Popen[str]]) -> list[Done]:
    """Wait for their ends."""
    outputs = [process.communicate(timeout=PATIENCE_SECONDS) for process in started]
    return [Done(process.args, process.returncode, *output) for process, output in zip(started, outputs, strict=True)]


def the_one_line(done: Done) -> str:
    """What a failed command says on standard error: one line, and no stack trace."""
    assert done.returncode != 0, done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


# --- success ---------------------------------------------------------------------------------------------------------


def test_seed_makes_warehouses_and_products_once(real: dict[str, str]) -> None:
    first = manage("seed", "--warehouses", "--products", env=real)
    assert (first.returncode, first.stderr) == (0, "")
    product_id = first.stdout.strip().rpartition(" ")[2]
    assert first.stdout == (
        "Warehouses: 3 created, 0 updated, 0 unchanged.\n"
        f"Postal areas of BR: {PostalArea.objects.count():,} created, 0 updated, 0 unchanged, 0 deleted.\n"
        f"Products: {Product.objects.count()} created, 0 unchanged. Receipts: 3 booked, 0 booked before.\n"
        f"A product id to try: {product_id}\n"
    )
    assert Product.objects.filter(pk=product_id).exists()
    before = (StockMovement.objects.count(), list(StockLevel.objects.order_by("id").values()))

    again = manage("seed", "--warehouses", "--products", env=real)
    assert again.stdout == (
        "Warehouses: 0 created, 0 updated, 3 unchanged.\n"
        f"Products: 0 created, {Product.objects.count()} unchanged. Receipts: 0 booked, 3 booked before.\n"
        f"A product id to try: {product_id}\n"
    )
    assert (StockMovement.objects.count(), list(StockLevel.objects.order_by("id").values())) == before


def test_a_seed_leaves_what_staff_changed_unless_it_is_told_to_update_the_warehouses(real: dict[str, str]) -> None:
    assert manage("seed", "--warehouses", "--products", env=real).returncode == 0
    Product.objects.filter(sku="GRINDER-CONICAL").update(name="Grinder, new burrs", low_stock_threshold=7)
    Warehouse.objects.filter(pk=factories.SP).update(priority=9)
    again = manage("seed", "--warehouses", "--products", env=real)
    assert again.stdout.splitlines()[:2] == [
        "Warehouses: 0 created, 0 updated, 2 unchanged, 1 left as they are.",
        f"Products: 0 created, {Product.objects.count()} unchanged. Receipts: 0 booked, 3 booked before.",
    ]
    product = Product.objects.get(sku="GRINDER-CONICAL")
    assert (product.name, product.low_stock_threshold) == ("Grinder, new burrs", 7)
    assert Warehouse.objects.get(pk=factories.SP).priority == 9

    updated = manage("seed", "--warehouses", "--update", env=real)
    assert updated.stdout == "Warehouses: 0 created, 1 updated, 2 unchanged.\n"
    assert Warehouse.objects.get(pk=factories.SP).priority == 1


def test_a_seed_with_a_file_of_ones_own_says_where_no_stock_was_booked(real: dict[str, str], tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("warehouses: [{id: wh-rj-001, name: Rio, region: southeast, priority: 1}]")
    done = manage("seed", "--warehouses", "--products", "--file", str(own), env=real)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:4] == [
        "Warehouses: 1 created, 0 updated, 0 unchanged.",
        f"Postal areas of BR: {PostalArea.objects.count():,} created, 0 updated, 0 unchanged, 0 deleted.",
        f"Products: {Product.objects.count()} created, 0 unchanged. Receipts: 1 booked, 0 booked before.",
        "No stock was booked at wh-pr-001, wh-sp-001: there are no such warehouses.",
    ]
    assert {level.warehouse_id for level in StockLevel.objects.all()} == {"wh-rj-001"}


def test_two_seeds_at_once_make_everything_once(real: dict[str, str]) -> None:
    done = ends_of(start([["seed", "--warehouses", "--products"]] * 2, real))
    assert [(one.returncode, one.stderr) for one in done] == [(0, ""), (0, "")]
    assert Warehouse.objects.count() == 3
    assert StockMovement.objects.filter(kind="RECEIPT").count() == StockLevel.objects.count()
    assert factories.broken_invariants() == []


def test_the_other_commands_do_what_they_say(real: dict[str, str]) -> None:
    User.objects.create(username="ana", is_staff=True, is_superuser=True)
    product = factories.product({factories.SP: 10})
    due, not_due = factories.hold(product.pk, 1), factories.hold(product.pk, 2)
    factories.make_overdue(due)

    swept = manage("expire_reservations", env=real)
    assert (swept.returncode, swept.stdout.splitlines()[-1]) == (0, "Released: 1")
    assert factories.numbers(product.pk) == (8, 2, 0)
    one = manage("expire_reservations", "--reservation", str(not_due.id), env=real)
    assert (one.returncode, one.stdout.splitlines()[-1]) == (0, f"Reservation {not_due.id} is EXPIRED.")
    assert factories.numbers(product.pk) == (10, 0, 0)

    audited = manage("audit_stock", env=real)
    assert audited.returncode == 0, audited.stderr
    assert set(re.findall(r"^(I\d+)  ok  ", audited.stdout, re.MULTILINE)) >= {
        f"I{n}" for n in (1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 13, 14)
    }

    made = manage(*TOKEN, env=real)
    assert re.fullmatch(r"inv_\w+\n", made.stdout), made.stderr
    assert manage("revoke_api_token", "checkout", env=real).returncode == 0
    assert ApiToken.objects.get().revoked_at is not None


def test_an_audit_of_damaged_books_fails_and_names_the_damage(real: dict[str, str]) -> None:
    product = factories.product({factories.SP: 10})
    StockLevel.objects.update(available=11)
    done = manage("audit_stock", env=real)
    assert done.returncode == 1
    assert "3 rows break the books" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "I3  BROKEN by 1 rows" in done.stdout
    assert str(product.pk) in done.stdout


# --- failure ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["seed"], "CommandError: Say what to seed: --warehouses, --products or both."),
        (["seed", "--products", "--update"], "CommandError: --update is about warehouses: give --warehouses too."),
        (["seed", "--warehouses", "--file", "/nowhere.yaml"], "/nowhere.yaml"),
        (["seed", "--warehouses", "--file", "{broken}"], "warehouses"),
        (["expire_reservations", "--reservation", str(uuid4())], "CommandError: There is no reservation "),
        (["expire_reservations", "--reservation", "{confirmed}"], " is CONFIRMED."),
        (TOKEN, "CommandError: No superuser exists to own the token"),
        (["revoke_api_token", "nobody"], "CommandError: There is no token named nobody"),
        (["sync_counters"], "CommandError: There are no counters here: REDIS_URL is not set."),
    ],
)
def test_a_refused_command_fails_with_one_clear_line_and_changes_nothing(
    real: dict[str, str], tmp_path: Path, command: Sequence[str], sentence: str
) -> None:
    product = factories.product()
    confirmed = ""
    if "{confirmed}" in command:
        factories.receive(product.pk, factories.SP, 5)
        confirmed = str(factories.hold(product.pk).id)
        Reservation.objects.update(status="CONFIRMED")
    broken = tmp_path / "broken.yaml"
    broken.write_text("warehouses: [{id: 5}")
    before = (Product.objects.count(), StockMovement.objects.count(), Warehouse.objects.count())
    arguments = [argument.format(confirmed=confirmed, broken=broken) for argument in command]
    assert sentence in the_one_line(manage(*arguments, env=real))
    assert (Product.objects.count(), StockMovement.objects.count(), Warehouse.objects.count()) == before


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (["expire_reservations", "--reservation", "5"], "argument --reservation: invalid UUID value: '5'"),
        (
            ["expire_reservations", "--reservation", "{018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f}"],
            "invalid UUID value: '{018f",
        ),
        (["sync_counters", "--workers", "010"], "argument --workers: '010' is not a whole number from 1 to 64"),
        (["create_api_token", "a", "--scope", "everything"], "argument --scope: invalid choice: 'everything'"),
        (["audit_stock", "--quickly"], "unrecognized arguments: --quickly"),
        (["sync_counters", "--workers", "0"], "argument --workers: '0' is not a whole number from 1 to 64"),
        (["sync_counters", "--workers", "65"], "argument --workers: '65' is not a whole number from 1 to 64"),
    ],
)
def test_an_argument_of_a_wrong_type_is_a_usage_error(command: list[str], complaint: str) -> None:
    done = manage(*command, env=environment(DATABASE_URL="postgres://nobody@127.0.0.1:1/none", SECRET_KEY=KEY))
    assert done.returncode == 2
    assert complaint in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


COMMANDS = (
    ["seed", "--warehouses", "--products"],
    ["expire_reservations"],
    ["audit_stock"],
    ["load_policies", "fixtures/policies.yaml"],
    ["load_postal_areas", "fixtures/postal_areas_br.csv"],
    ["sync_counters"],
    ["serve"],
    list(TOKEN),
    ["revoke_api_token", "checkout"],
)


def test_without_database_or_migrations_every_command_fails_with_one_clear_line() -> None:
    nowhere = f"postgres://nobody@127.0.0.1:{free_port()}/none"
    name = f"unmigrated_{uuid4().hex[:8]}"
    unmigrated = urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}").geturl()
    waits = ["serve"]  # until the database answers
    with_djangos = (*(command for command in COMMANDS if command != waits), ["serve", "--set-up"], ["migrate"])
    away = start(with_djangos, environment(DATABASE_URL=nowhere, SECRET_KEY=KEY))  # which takes its time to give up
    misnamed = start([["audit_stock"], ["migrate"]], environment(DATABASE_URL=unmigrated, SECRET_KEY=KEY))
    for done in ends_of(misnamed):
        assert done.stdout == ""  # nor does the pool tell of each try there
        assert the_one_line(done).endswith(f'FATAL:  database "{name}" does not exist.')
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            empty = ends_of(start(COMMANDS, environment(DATABASE_URL=unmigrated, SECRET_KEY=KEY)))
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    for command, done in zip(COMMANDS, empty, strict=True):
        assert "manage.py migrate" in the_one_line(done), command
    for command, done in zip(with_djangos, ends_of(away), strict=True):
        line = the_one_line(done)
        assert line.startswith("CommandError: The database cannot be used: "), command
        assert line.endswith("Connection refused."), command
        assert "error connecting" not in done.stdout, command


def test_serve_on_a_port_that_is_taken_says_so_and_makes_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = environment(INVENTORY_DATA_DIR=tmp_path, SECRET_KEY=KEY, INVENTORY_PORT=port)
        done = manage("serve", env=env)
    assert the_one_line(done).startswith(
        f"CommandError: Cannot listen on 127.0.0.1:{port}: Address already in use. Set "
    )
    assert "INVENTORY_PORT" in done.stderr
    assert (done.stdout, list(tmp_path.iterdir())) == ("", [])


def test_serve_refuses_pools_that_would_leave_postgresql_no_connections(real: dict[str, str]) -> None:
    env = real | {"WEB_WORKERS": "64", "DATABASE_POOL_SIZE": "500", "INVENTORY_PORT": str(free_port())}
    done = manage("serve", env=env)
    assert the_one_line(done).startswith(
        "CommandError: WEB_WORKERS (64) times DATABASE_POOL_SIZE (500) is 32000 connections, "
        "more than 80% of PostgreSQL's max_connections ("
    )
    assert done.stdout == ""


# --- settings --------------------------------------------------------------------------------------------------------

REAL: dict[str, object] = {"DATABASE_URL": "postgres://inventory@localhost/inventory", "SECRET_KEY": KEY}
OPEN: dict[str, object] = {"INVENTORY_HOST": "0.0.0.0", "ALLOWED_HOSTS": "inventory.example.com"}  # noqa: S104  # only read, never bound
READER = """
import json, os, runpy, sys
from django.core.exceptions import ImproperlyConfigured
path, *environments = sys.argv[1], *json.load(sys.stdin)
for environment in environments:
    os.environ.update(environment)
    try:
        values = runpy.run_path(path)
        answer = {name: repr(value) for name, value in values.items() if name.isupper()}
    except ImproperlyConfigured as error:
        answer = {"refused": str(error)}
    print(json.dumps(answer))
"""


def read_settings(tmp_path: Path, environments: Sequence[Mapping[str, object]]) -> list[dict[str, str]]:
    """What settings.py makes of each of these environments: reprs of its values, or the sentence that refuses them."""
    base = dict.fromkeys(VARIABLES, "") | {"INVENTORY_DATA_DIR": str(tmp_path)}
    wanted = [base | {name: str(value) for name, value in values.items()} for values in environments]
    done = subprocess.run(
        [sys.executable, "-c", READER, str(SETTINGS_FILE)],
        input=json.dumps(wanted),
        env=environment(),
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


CONTRADICTIONS: tuple[tuple[dict[str, object], str], ...] = (
    ({"REDIS_URL": "redis://localhost"}, "REDIS_URL is set but DATABASE_URL is not"),
    ({"RABBITMQ_URL": "amqp://localhost"}, "RABBITMQ_URL is set but DATABASE_URL is not"),
    ({"WEB_WORKERS": 2}, "WEB_WORKERS must be 1 without DATABASE_URL"),
    (OPEN | {"INVENTORY_API_AUTH": "off"}, "INVENTORY_API_AUTH is off and INVENTORY_HOST is 0.0.0.0"),
    (REAL | {"SECRET_KEY": ""}, "SECRET_KEY must be set with DATABASE_URL"),
    (REAL | {"SECRET_KEY": "short"}, "SECRET_KEY is too short: 5 characters, at least 50 are needed"),
    (REAL | {"SECRET_KEY": "a" * 60}, "SECRET_KEY is too simple"),
    (
        {"CSRF_TRUSTED_ORIGINS": "https://a.example, b.example"},
        "CSRF_TRUSTED_ORIGINS must begin with https:// or http:// each, not 'b.example'",
    ),
    ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS must name the hosts"),
    (REAL | {"ALLOWED_HOSTS": "a.example, *"}, "ALLOWED_HOSTS must name the hosts"),
    (OPEN | {"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS must be set when INVENTORY_HOST is 0.0.0.0"),
    (REAL | {"DATABASE_URL": "mysql://localhost/x"}, "DATABASE_URL must begin with postgres:// or postgresql://"),
    (REAL | {"DATABASE_URL": "postgres://localhost"}, "DATABASE_URL names no database"),
    (REAL | {"DATABASE_URL": "postgres://localhost:port/x"}, "DATABASE_URL cannot be read"),
    (
        REAL | {"RABBITMQ_URL": "amqp://inventory:a/b@localhost:5672/inventory"},
        "RABBITMQ_URL cannot be read. If its password has special characters, leave it out of the URL and set "
        "RABBITMQ_PASSWORD.",
    ),
    (REAL | {"REDIS_URL": "redis://:a#b@localhost:6379/0"}, "REDIS_URL cannot be read. "),
    (REAL | {"REDIS_URL": "localhost:6379"}, "REDIS_URL must begin with redis:// or rediss://"),
    (REAL | {"RABBITMQ_URL": "http://localhost"}, "RABBITMQ_URL must begin with amqp:// or amqps://"),
    ({"METRICS_TOKEN": "short"}, "METRICS_TOKEN must have 32 to 200 printable ASCII characters and no spaces."),
    ({"METRICS_TOKEN": "a b" * 20}, "METRICS_TOKEN must have 32 to 200 printable ASCII characters and no spaces."),
    ({"INVENTORY_API_DOCS": "1"}, "INVENTORY_API_DOCS must be on or off, not '1'"),
    ({"INVENTORY_API_AUTH": "yes"}, "INVENTORY_API_AUTH must be on or off, not 'yes'"),
    ({"INVENTORY_HTTPS": "1"}, "INVENTORY_HTTPS must be on or off, not '1'"),
    ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, not 'LOUD'"),
    ({"LOG_FORMAT": "xml"}, "LOG_FORMAT must be one of json, console, not 'xml'"),
    ({"POSTAL_COUNTRY": "br"}, "POSTAL_COUNTRY must be a country's two letters, such as BR, not 'br'"),
    ({"POSTAL_COUNTRY": "BRA"}, "POSTAL_COUNTRY must be a country's two letters, such as BR, not 'BRA'"),
    ({"RESERVATION_TTL_MINUTES": 61}, "RESERVATION_TTL_MINUTES must be a number above 0 and at most 60, not '61'"),
    (
        {"RESERVATION_EXTEND_MAX_MINUTES": 59},
        "RESERVATION_EXTEND_MAX_MINUTES is 59 and RESERVATION_TTL_MAX_MINUTES is 60",
    ),
    ({"INVENTORY_CRASH_POINT": "reserve.after_lock"}, "INVENTORY_CRASH_POINT must be NAME=kill or NAME=sleep:SECONDS"),
    ({"INVENTORY_CRASH_POINT": "a=kill, b=kill"}, "INVENTORY_CRASH_POINT must be NAME=kill or NAME=sleep:SECONDS"),
    ({"INVENTORY_CRASH_POINT": "a=sleep:-1"}, "INVENTORY_CRASH_POINT must be NAME=kill or NAME=sleep:SECONDS"),
    ({"INVENTORY_DATA_DIR": "/dev/null/x"}, "INVENTORY_DATA_DIR /dev/null/x cannot be written"),
)


PASSWORD = "$a/b@c#d%e:f?g&h i\\"


def test_a_password_given_apart_from_its_url_may_have_any_characters(tmp_path: Path) -> None:
    apart = REAL | {
        "DATABASE_URL": "postgres://inventory@db.example:5432/stock?sslmode=require",
        "DATABASE_PASSWORD": PASSWORD,
        "REDIS_URL": "redis://redis.example:6379/0",
        "REDIS_PASSWORD": PASSWORD,
        "RABBITMQ_URL": "amqp://inventory@rabbitmq.example:5672/%2F",
        "RABBITMQ_PASSWORD": PASSWORD,
    }
    in_the_url = apart | {"DATABASE_URL": "postgres://inventory:kept@db.example:5432/stock"}

    first, second = read_settings(tmp_path, [apart, in_the_url])

    database = ast.literal_eval(first["DATABASES"])["default"]
    assert (database["USER"], database["PASSWORD"], database["HOST"]) == ("inventory", PASSWORD, "db.example")
    assert (database["NAME"], database["OPTIONS"]["sslmode"]) == ("stock", "require")
    pool = redis.ConnectionPool.from_url(ast.literal_eval(first["REDIS_URL"]))
    assert (pool.connection_kwargs["password"], pool.connection_kwargs["db"]) == (PASSWORD, 0)
    rabbitmq = pika.URLParameters(ast.literal_eval(first["RABBITMQ_URL"]))
    assert rabbitmq.credentials == pika.PlainCredentials("inventory", PASSWORD)
    assert (rabbitmq.host, rabbitmq.virtual_host) == ("rabbitmq.example", "/")
    assert ast.literal_eval(second["DATABASES"])["default"]["PASSWORD"] == "kept"


# Each has `topsecret` in pieces where a URL cannot have it.
BROKEN_URLS = (
    "//user:top/secret@localhost/x",
    "//user:top?secret@localhost/x",
    "//user:top#secret@localhost/x",
    "//user:topsecret]@localhost/x",
    "//user:12/topsecret@localhost/x",
    "//user:topsecret@localhost:topsecret/x",
    "//user:topsecret@localhost:99999999/x",
    "//user:topsecret\u2100@localhost/x",
    "topsecret",
)
SECRET_PIECE = re.compile("top|secret|12|user|\u2100")


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_SESSION_URL", "REDIS_URL", "RABBITMQ_URL"])
def test_no_part_of_a_url_is_in_the_sentence_that_refuses_it(tmp_path: Path, name: str) -> None:
    scheme = {"REDIS_URL": "redis:", "RABBITMQ_URL": "amqp:"}.get(name, "postgres:")
    wanted = [REAL | {name: f"{scheme}{rest}"} for rest in BROKEN_URLS]
    wanted += [REAL | {name: "topsecret://user@localhost"}]
    if name == "DATABASE_SESSION_URL":  # read by libpq, which refuses more
        wanted += [REAL | {name: "postgres://user:top%zzsecret@localhost/x"}]

    for values, answer in zip(wanted, read_settings(tmp_path, wanted), strict=True):
        assert answer.get("refused", "").startswith(name), (values, answer)
        assert not SECRET_PIECE.search(answer["refused"]), values


def test_a_secret_that_begins_with_a_dollar_is_taken_as_it_is(tmp_path: Path) -> None:
    [values] = read_settings(tmp_path, [REAL | {"SECRET_KEY": "$" + "abcdef" * 10, "METRICS_TOKEN": "$HOME" * 10}])

    assert ast.literal_eval(values["SECRET_KEY"]) == "$" + "abcdef" * 10
    assert ast.literal_eval(values["METRICS_TOKEN"]) == "$HOME" * 10


def test_settings_that_contradict_each_other_are_refused_with_a_sentence(tmp_path: Path) -> None:
    answers = read_settings(tmp_path, [values for values, _ in CONTRADICTIONS])
    for (values, sentence), answer in zip(CONTRADICTIONS, answers, strict=True):
        assert answer.get("refused", "").startswith(sentence), (values, answer)


def test_nonsense_for_a_number_is_refused_and_named(tmp_path: Path) -> None:
    source = SETTINGS_FILE.read_text()
    whole = re.findall(r'= whole\(\s*"(\w+)"', source)
    decimal = re.findall(r'= positive_decimal\(\s*"(\w+)"', source)
    assert len(whole) >= 10
    nonsense = ("x", "-1", "1_0", "1e3", "\u0663", "0x10", "9" * 30, "NaN", "1 2")
    asked = [(name, value) for name in whole for value in (*nonsense, "1.5")]
    asked += [(name, value) for name in decimal for value in ("x", "-1", "0", "NaN", "Infinity", "9" * 30)]
    answers = read_settings(tmp_path, [REAL | {name: value} for name, value in asked])
    for (name, value), answer in zip(asked, answers, strict=True):
        assert answer.get("refused", "").startswith(f"{name} must be a "), (name, value, answer.get("refused"))
        assert repr(value) in answer["refused"]


def test_a_command_says_a_configuration_error_in_one_line(tmp_path: Path) -> None:
    done = manage("serve", env=environment(REDIS_URL="redis://localhost", INVENTORY_DATA_DIR=tmp_path))
    assert done.returncode == 1
    assert the_one_line(done).startswith("Configuration error: REDIS_URL is set but DATABASE_URL is not")


EXCHANGES = {"order": "order.events", "payment": "payment.events"}
# Variable, value, what else is set, a setting and how it must read then.
EFFECTS: tuple[tuple[str, str, Mapping[str, object], str, Any], ...] = (
    ("DATABASE_URL", "postgres://u:p@db.example:5433/stock", REAL, "EMBEDDED", False),
    (
        "DATABASE_SESSION_URL",
        "postgres://db.example/stock",
        REAL,
        "DATABASE_SESSION_URL",
        "postgres://db.example/stock",
    ),
    ("DATABASE_POOLER", "on", REAL, "DATABASE_POOLER", True),
    ("REDIS_URL", "redis://cache.example/3", REAL, "REDIS_URL", "redis://cache.example/3"),
    ("RABBITMQ_URL", "amqp://mq.example", REAL, "CELERY_BROKER_URL", "amqp://mq.example"),
    ("INVENTORY_HOST", "::1", {}, "INVENTORY_HOST", "::1"),
    ("INVENTORY_PORT", "4006", {}, "INVENTORY_PORT", 4006),
    ("WEB_WORKERS", "7", REAL, "WEB_WORKERS", 7),
    ("WEB_THREADS", "9", {}, "WEB_THREADS", 9),
    ("WEB_MAX_CONNECTIONS", "99", {}, "WEB_MAX_CONNECTIONS", 99),
    ("WEB_MAX_CONNECTIONS_PER_ADDRESS", "99", {}, "WEB_MAX_CONNECTIONS_PER_ADDRESS", 99),
    ("WEB_HEAD_SECONDS", "9", {}, "WEB_HEAD_SECONDS", 9),
    ("WEB_BODY_SECONDS", "9", {}, "WEB_BODY_SECONDS", 9),
    ("WEB_WRITE_SECONDS", "9", {}, "WEB_WRITE_SECONDS", 9),
    ("WEB_KEEPALIVE_SECONDS", "9", {}, "WEB_KEEPALIVE_SECONDS", 9),
    ("GROUP_COMMIT_MAX_BATCH", "16", {}, "GROUP_COMMIT_MAX_BATCH", 16),
    ("INVENTORY_API_AUTH", "on", {}, "API_AUTH_ENABLED", True),
    ("METRICS_TOKEN", "m" * 32, {}, "METRICS_TOKEN", "m" * 32),
    ("INVENTORY_API_DOCS", "off", {}, "API_DOCS", False),
    ("INVENTORY_API_DOCS", "on", REAL | OPEN, "API_DOCS", True),
    ("RATE_LIMIT_PER_SECOND", "50", {}, "RATE_LIMIT_BURST", 500),
    ("RATE_LIMIT_BURST", "50", {}, "RATE_LIMIT_BURST", 50),
    ("MAX_LIVE_ORDERS_PER_TOKEN", "50", {}, "MAX_LIVE_ORDERS_PER_TOKEN", 50),
    ("MAX_LIVE_UNITS_PER_TOKEN", "50", {}, "MAX_LIVE_UNITS_PER_TOKEN", 50),
    ("UNLIMITED_TOKENS", " checkout ,", {}, "UNLIMITED_TOKENS", frozenset({"checkout"})),
    ("SECRET_KEY", "k" * 60, {}, "SECRET_KEY", "k" * 60),
    ("ALLOWED_HOSTS", "a.example, b.example", {}, "ALLOWED_HOSTS", ["a.example", "b.example"]),
    ("INVENTORY_HTTPS", "on", {}, "SECURE_SSL_REDIRECT", True),
    ("CSRF_TRUSTED_ORIGINS", "https://a.example", {}, "CSRF_TRUSTED_ORIGINS", ["https://a.example"]),
    ("RESERVATION_TTL_MAX_MINUTES", "90", {}, "RESERVATION_TTL_MAX_MINUTES", 90),
    ("RESERVATION_EXTEND_MAX_MINUTES", "90", {}, "RESERVATION_EXTEND_MAX_MINUTES", 90),
    ("POSTAL_COUNTRY", "PT", {}, "POSTAL_COUNTRY", "PT"),
    ("RESERVATION_MAX_LINES", "5", {}, "RESERVATION_MAX_LINES", 5),
    ("RESERVATION_MAX_QUANTITY", "5", {}, "RESERVATION_MAX_QUANTITY", 5),
    ("RESERVATION_MAX_UNITS", "5", {}, "RESERVATION_MAX_UNITS", 5),
    ("LOW_STOCK_THRESHOLD", "5", {}, "LOW_STOCK_THRESHOLD", 5),
    ("EXPIRY_INTERVAL_SECONDS", "5", {}, "EXPIRY_INTERVAL_SECONDS", 5),
    ("AUDIT_INTERVAL_SECONDS", "5", {}, "AUDIT_INTERVAL_SECONDS", 5),
    ("AUDIT_GRACE_SECONDS", "5", {}, "AUDIT_GRACE_SECONDS", 5),
    ("AUDIT_FULL_INTERVAL_DAYS", "5", {}, "AUDIT_FULL_INTERVAL_DAYS", 5),
    ("SYNC_INTERVAL_SECONDS", "5", {}, "SYNC_INTERVAL_SECONDS", 5),
    ("SYNC_WORKERS", "10", {}, "SYNC_WORKERS", 10),
    ("WORKER_METRICS_PORT", "9100", REAL, "WORKER_METRICS_PORT", 9100),
    ("RELAY_METRICS_PORT", "9101", REAL, "RELAY_METRICS_PORT", 9101),
    ("CONSUMER_METRICS_PORT", "9102", REAL, "CONSUMER_METRICS_PORT", 9102),
    ("EXPIRY_METRICS_PORT", "9103", REAL, "EXPIRY_METRICS_PORT", 9103),
    ("CONSUMER_BATCH", "64", {}, "CONSUMER_BATCH", 64),
    ("ORDER_EVENTS_EXCHANGE", "shop.orders", {}, "MESSAGE_EXCHANGES", {**EXCHANGES, "order": "shop.orders"}),
    ("PAYMENT_EVENTS_EXCHANGE", "shop.money", {}, "MESSAGE_EXCHANGES", {**EXCHANGES, "payment": "shop.money"}),
    ("EVENT_RETENTION_DAYS", "7", {}, "EVENT_RETENTION_DAYS", 7),
    ("LOG_LEVEL", "ERROR", {}, "LOG_LEVEL", "ERROR"),
    ("STAFF_SECOND_FACTOR", "required", {}, "STAFF_SECOND_FACTOR", "required"),
    ("LOG_FORMAT", "json", {}, "LOG_FORMAT", "json"),
    ("INVENTORY_CRASH_POINT", "reserve.before_commit=kill", {}, "INVENTORY_CRASH_POINT", "reserve.before_commit=kill"),
)
# Their effect is not one plain value; each has an assertion of its own below.
# Shown below, and the passwords by the test of passwords with special characters.
SPECIAL = {"RESERVATION_TTL_MINUTES", "INVENTORY_DATA_DIR", "DATABASE_POOL_SIZE"}
SPECIAL |= {"DATABASE_PASSWORD", "REDIS_PASSWORD", "RABBITMQ_PASSWORD"}


def test_every_variable_has_an_effect(tmp_path: Path) -> None:
    assert {name for name, *_ in EFFECTS} | SPECIAL == set(VARIABLES)
    answers = read_settings(tmp_path, [dict(rest) | {name: value} for name, value, rest, *_ in EFFECTS])
    without = read_settings(
        tmp_path, [{name: v for name, v in rest.items() if name != row} for row, _, rest, *_ in EFFECTS]
    )
    for (name, _, _, setting, expected), answer, default in zip(EFFECTS, answers, without, strict=True):
        assert answer.get(setting) == repr(expected), (name, answer.get("refused"))
        assert default.get(setting) != repr(expected), f"{name} changes nothing"

    folder = tmp_path / "elsewhere"
    ttl, moved, pool = read_settings(
        tmp_path,
        [{"RESERVATION_TTL_MINUTES": "0.05"}, {"INVENTORY_DATA_DIR": folder}, REAL | {"DATABASE_POOL_SIZE": "33"}],
    )
    assert ttl["RESERVATION_TTL_MINUTES"] == "Decimal('0.05')"
    assert str(folder / "inventory.sqlite3") in moved["DATABASES"]
    assert "'max_size': 33" in pool["DATABASES"]


def test_a_postgresql_that_is_gone_without_a_word_is_noticed_and_the_default_fits_it(tmp_path: Path) -> None:
    (real,) = read_settings(tmp_path, [REAL])
    options = ast.literal_eval(real["DATABASES"])["default"]["OPTIONS"]
    expected = {"tcp_user_timeout": 10_000, "keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3}
    assert options.items() >= expected.items()
    workers, threads = int(real["WEB_WORKERS"]), int(real["WEB_THREADS"])
    assert (workers, threads) in {(1, 16), (2, 16), (3, 16), (4, 12)}
    assert options["pool"].items() >= {"min_size": 1, "max_size": threads + 8, "max_idle": 60}.items()
    assert workers * (threads + 8) <= 80  # of the 100 connections of a default PostgreSQL


def test_two_first_starts_at_once_end_with_one_key(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    path.touch(mode=0o644)  # what a start that was cut short left
    reader = "from inventory_project import settings; print(settings.SECRET_KEY)"
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", reader],
            env=environment(INVENTORY_DATA_DIR=tmp_path),
            cwd=settings.BASE_DIR,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    keys = {start.communicate(timeout=PATIENCE_SECONDS)[0].strip() for start in starts}
    assert keys == {path.read_text()}
    assert len(path.read_text()) >= 64
    assert (path.stat().st_mode & 0o777, list(tmp_path.iterdir())) == (0o600, [path])


def test_only_the_owner_may_read_what_sqlite_keeps(tmp_path: Path) -> None:
    env = environment(INVENTORY_DATA_DIR=tmp_path, SECRET_KEY=KEY)
    file = tmp_path / "inventory.sqlite3"

    assert manage("migrate", env=env).returncode == 0

    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    file.chmod(0o644)  # as an earlier version left it
    assert manage("expire_reservations", env=env).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600


# --- two at once, and where the output goes --------------------------------------------------------------------------


def test_of_two_processes_that_migrate_at_once_one_waits_for_the_other(real: dict[str, str]) -> None:
    with psycopg.connect(real["DATABASE_URL"]) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [database.lock_key("migrate")])
        [waiting] = start([["migrate", "--verbosity", "0"]], real)
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "Another process is migrating this database. Waiting for it ...\n"
        assert waiting.poll() is None
    [done] = ends_of([waiting])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_two_migrations_of_a_new_database_at_once_both_succeed(tmp_path: Path) -> None:
    env = environment(INVENTORY_DATA_DIR=tmp_path)
    done = ends_of(start([["migrate", "--verbosity", "0"]] * 2, env))
    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * 2
    assert manage("seed", "--warehouses", env=env).returncode == 0


def test_what_a_command_prints_stands_before_its_error_in_a_file(tmp_path: Path) -> None:
    """As under cron, `>log 2>&1`. Block-buffered, standard output would come after the error."""
    log = tmp_path / "log"
    with log.open("w") as file:
        program = "from django.core.management.base import CommandError; print('first'); raise CommandError('second')"
        subprocess.run(
            [sys.executable, MANAGE, "shell", "--no-imports", "--command", program],
            env=environment(INVENTORY_DATA_DIR=tmp_path),
            stdout=file,
            stderr=file,
            check=False,
        )
    assert log.read_text().splitlines() == ["first", "CommandError: second"]
