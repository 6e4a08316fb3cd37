"""Whatever stands in Redis under the service's keys: everybody is answered as usual, and a sync repairs it."""

from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from pytest_django import Settings
from redis import Redis

from stock import availability
from stock.counters import allowances, copies, sync
from tests import factories
from tests.db.http import clients
from tests.db.http.calls import API, post
from tests.factories import ACTOR, RJ, SP

pytestmark = pytest.mark.usefixtures("patient", "transactional_db")

MARK = "inventory:1:sync-marker"
KINDS = {"stock", "probe", "reservation", "allowance", "inventory"}  # the first words of all keys
FAR = "9999-12-31T23:59:59+00:00"

Spoil = Callable[[Redis, str], object]


def text(value: str | bytes) -> Spoil:
    return lambda client, key: client.set(key, value)


def other_type(command: str, *arguments: Any) -> Spoil:
    return lambda client, key: (client.delete(key), client.execute_command(command, key, *arguments))  # type: ignore[no-untyped-call]


NONSENSE: dict[str, Spoil] = {
    "a word": text("abc"),
    "nothing": text(""),
    "a huge number": text("9" * 5_000),
    "a large number": text("999999999999999999"),
    "a negative number": text("-5"),
    "no number": text("NaN"),
    "numbers": text("-1:-1"),
    "large numbers": text("999999999999999:999999999999999"),
    "bytes that are no UTF-8": text(b"\xff\xfe\x00"),
    "JSON of a list": text('[1, {"since": []}]'),
    "JSON with other types": text('{"since": 5, "runs": "x"}'),
    "JSON of a mark in the future": text(f'{{"since": "{FAR}", "runs": 1}}'),
    "JSON of a mark without an offset": text('{"since": "2026-01-01T00:00:00", "runs": 1}'),
    "JSON of a mark before all time": text('{"since": "0001-01-01T00:00:00+14:00", "runs": 1}'),
    "JSON of half a run": text('{"since": "2026-01-01T00:00:00+00:00", "runs": 0.5}'),
    "JSON that never ends": text("[" * 100_000),
    "a list": other_type("RPUSH", "abc"),
    "a set": other_type("SADD", "abc"),
    "a hash": other_type("HSET", "abc", "def"),
    "a hash of nonsense": other_type("HSET", "_", b"\xff", b"\xfe", "5", SP, "abc", RJ, "1:-5:0:0:1:5"),
    "a hash of large numbers": other_type("HSET", "_", "999999999999999:0:0:1", SP, "9" * 5_000),
    "a stream": other_type("XADD", "*", "abc", "def"),
}


@pytest.fixture
def there(client: Redis) -> UUID:
    return factories.product({SP: 1_000, RJ: 1_000}).pk


@pytest.fixture
def gone(client: Redis) -> UUID:
    """A product of which everything is held."""
    product_id = factories.product({SP: 1}).pk
    factories.hold(product_id)
    return product_id


@pytest.fixture
def fast(settings: Settings) -> clients.FastClient:
    settings.API_AUTH_ENABLED, settings.SECURE_SSL_REDIRECT = False, False
    return clients.FastClient(is_fast=True, raise_request_exception=False)


def asked(api: Client, there: UUID, gone: UUID) -> dict[str, int]:
    """The status of each kind of request that reads Redis or writes to it."""

    def order(product_id: UUID) -> dict[str, Any]:
        return {"order_id": str(uuid4()), "items": [{"product_id": str(product_id), "quantity": 1}]}

    reserved = post(api, f"{API}/reservations", order(there))
    held = f"{API}/reservations/{reserved.json()['id']}"
    other = f"{API}/reservations/{post(api, f'{API}/reservations', order(there)).json()['id']}"
    answers = {
        "availability": api.get(f"{API}/products/{there}/availability"),
        "availability of many": post(api, f"{API}/availability", {"product_ids": [str(there), str(gone)]}),
        "reserve": reserved,
        "reserve what is gone": post(api, f"{API}/reservations", order(gone)),
        "reserve what is gone again": post(api, f"{API}/reservations", order(gone)),
        "reserve in bulk": post(api, f"{API}/reservations/bulk", {"orders": [order(there), order(gone)]}),
        "extend": post(api, f"{held}/extend", {"minutes": 1, "reference": "r"}),
        "confirm": post(api, f"{held}/confirm"),
        "return": post(api, f"{held}/return", {"reference": "r"}),
        "cancel": post(api, f"{other}/cancel"),
        "debug": api.get(f"/admin/inventory/products/{there}/debug"),
        "reset": post(api, f"/admin/inventory/products/{there}/reset-counter"),
        "sync of some": post(api, "/admin/inventory/sync", {"product_ids": [str(there), str(gone)]}),
        "sync": post(api, "/admin/inventory/sync"),
        "health": api.get("/health"),
    }
    return {name: answer.status_code for name, answer in answers.items()}


def keys_written(client: Redis, api: Client, there: UUID, gone: UUID) -> list[str]:
    """One key of each kind that the service has written by now."""
    sync.run_periodic()
    asked(api, there, gone)
    copies.probe({gone})
    allowances.take(ACTOR, per_second=10, burst=100, least=1, more=1)
    found = {key.partition(":")[0]: key for key in client.scan_iter()}
    assert found.keys() == KINDS
    assert found["inventory"] == MARK
    return [*found.values(), f"stock:{there}", f"stock:{gone}", f"probe:{gone}"]


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_in_redis_counts_as_absent_and_a_sync_repairs_it(
    client: Redis, fast: clients.FastClient, there: UUID, gone: UUID, nonsense: str
) -> None:
    spoil = NONSENSE[nonsense]
    keys = keys_written(client, fast, there, gone)
    usual = asked(fast, there, gone)
    assert max(usual.values()) < 500

    for key in keys:
        spoil(client, key)
        assert asked(fast, there, gone) == usual, key
        spoil(client, key)
        assert allowances.take(ACTOR, per_second=10, burst=100, least=1, more=1) is not None, key
        report = sync.run_periodic()
        assert report is not None
        assert report.kind == "full" or key != MARK, key
        spoil(client, key)
        with suppress(CommandError):  # it reports wrong counters so
            call_command("audit_stock", "--counters", stdout=StringIO())
        call_command("sync_counters", stdout=StringIO())
        assert copies.read([there, gone]) == availability.views_of([there, gone]), key
        assert sync.sync().repaired == 0, key
    assert fast.answered > len(keys)
    assert factories.broken_invariants() == []


def test_a_probe_that_never_ends_is_gone_after_a_repair(client: Redis, there: UUID) -> None:
    sync.sync()
    client.set(f"probe:{there}", "1")
    client.hset(f"stock:{there}", SP, "999999:0:0:0:1:5")
    assert copies.probe([there]) == set()

    sync.sync()

    assert copies.probe([there]) == {there}
