"""Sync, reset-counter and debug over HTTP, with a Redis that is there, wrong, or away."""

from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings
from redis import Redis

from inventory_project.foundation.breaker import Breaker
from stock.counters import copies, sync
from stock.models import StockLevel
from tests import factories
from tests.factories import PR, RJ, SP
from tests.servers import Redis as Server


@pytest.fixture
def api(settings: Settings) -> Client:
    """A caller where no token is asked for."""
    settings.API_AUTH_ENABLED, settings.SECURE_SSL_REDIRECT = False, False
    return Client(enforce_csrf_checks=True, raise_request_exception=False)


def post(api: Client, path: str, body: Any = None) -> tuple[int, Any]:
    answer = api.post(path, {} if body is None else body, content_type="application/json")
    return answer.status_code, answer.json()


def debugged(api: Client, product_id: UUID) -> Any:
    answer = api.get(f"/admin/inventory/products/{product_id}/debug")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_sync_answers_what_was_checked_and_repaired_and_how_long(api: Client, product: UUID, client: Redis) -> None:
    sync.sync()
    other = factories.product({SP: 1}).pk
    client.delete(f"stock:{other}")
    client.hset(f"stock:{product}", SP, "1:12:0:0:1:5")
    status, report = post(api, "/admin/inventory/sync")
    seconds = report.pop("seconds")
    assert 0 < seconds < 5
    drifts = report.pop("drifts")
    assert (status, report) == (
        200,
        {
            "products_checked": 2, "levels_checked": 4, "missing": 1, "wrong": 1, "repaired": 2, "drift_units": 7,
        },
    )  # fmt: skip
    assert {"product_id": str(product), "field": SP, "counter": "1:12:0:0:1:5", "database": "1:5:0:0:1:5"} in drifts
    assert {"product_id": str(other), "field": SP, "counter": None, "database": "1:1:0:0:1:1"} in drifts
    status, report = post(api, "/admin/inventory/sync")
    assert (status, report["repaired"], report["drifts"]) == (200, 0, [])


def test_a_sync_without_a_body_is_one_of_everything(api: Client, product: UUID) -> None:
    answer = api.generic("POST", "/admin/inventory/sync")
    assert (answer.status_code, answer.json()["products_checked"]) == (200, 1)


@pytest.mark.parametrize(
    ("part", "products", "levels"), [({"warehouse_id": PR}, 1, 3), ({"product_ids": ["{other}"]}, 1, 1)]
)
def test_a_part_can_be_named(api: Client, product: UUID, part: dict[str, Any], products: int, levels: int) -> None:
    other = factories.product({SP: 1}).pk
    if "product_ids" in part:
        part = {"product_ids": [str(other)]}
    status, report = post(api, "/admin/inventory/sync", part)
    assert (status, report["products_checked"], report["levels_checked"]) == (200, products, levels)


def test_every_example_of_the_page_succeeds_on_the_seeded_service(
    api: Client, client: Redis, transactional_db: None
) -> None:
    call_command("seed", "--warehouses", "--products", stdout=StringIO())
    document = api.get("/api/schema", headers={"Accept": "application/json"}).json()
    content = document["paths"]["/admin/inventory/sync"]["post"]["requestBody"]["content"]["application/json"]
    examples = {name: example["value"] for name, example in content["examples"].items()}
    assert len(examples) == 3
    for name, body in examples.items():
        assert post(api, "/admin/inventory/sync", body)[0] == 200, name


@pytest.mark.parametrize("verb", ["sync", "reset-counter"])
def test_without_an_answer_of_redis_it_is_503_and_may_be_repeated(
    api: Client, product: UUID, redis_server: Server, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(copies, "breaker", Breaker("Redis", open_seconds=0.01))
    path = "/admin/inventory/sync" if verb == "sync" else f"/admin/inventory/products/{product}/reset-counter"
    redis_server.stop()
    answer = api.post(path, {}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "redis_unavailable", "1")
    redis_server.start()
    redis_server.wait_until_ready()
    assert post(api, path)[0] == 200


def test_a_reset_answers_the_fields_before_and_after(api: Client, product: UUID, client: Redis) -> None:
    sync.sync()
    client.hset(f"stock:{product}", SP, "900000:999999:0:0:1:5")
    right = {"_": "6::0:3", PR: "1:5:0:0:1:5", RJ: "1:5:0:0:1:5", SP: "1:5:0:0:1:5"}
    assert post(api, f"/admin/inventory/products/{product}/reset-counter") == (
        200,
        {"product_id": str(product), "before": right | {SP: "900000:999999:0:0:1:5"}, "after": right},
    )
    assert client.hgetall(f"stock:{product}") == right


def test_debug_shows_counter_level_ledger_and_holds_side_by_side(api: Client, product: UUID, client: Redis) -> None:
    factories.hold(product, 2, SP)
    sync.sync()
    client.hset(f"stock:{product}", SP, "2:9:2:0:1:12")
    StockLevel.objects.filter(product_id=product, warehouse_id=RJ).update(available=4)
    shown = debugged(api, product)
    StockLevel.objects.filter(product_id=product, warehouse_id=RJ).update(available=5)
    assert {name: shown[name] for name in shown if name != "warehouses"} == {
        "product_id": str(product),
        "is_blocked": False,
        "low_stock_threshold": None,
        "counters": "sound",
        "summary_text": client.hget(f"stock:{product}", "_"),
    }
    at_pr, at_rj, at_sp = shown["warehouses"]
    assert at_sp == {
        "warehouse_id": SP,
        "counter": {
            "version": 2, "available": 9, "reserved": 2, "incoming": 0, "is_sellable": True, "replenished": 12,
        },
        "counter_text": "2:9:2:0:1:12",
        "database": {
            "version": 2, "available": 3, "reserved": 2, "incoming": 0, "replenished": 5,
            "is_blocked": False, "is_closed": False,
        },
        "ledger": {"available": 3, "reserved": 2, "incoming": 0},
        "active_holds": {"lines": 1, "units": 2},
        "drift": 6,
    }  # fmt: skip
    assert (at_rj["drift"], at_rj["database"]["available"], at_rj["ledger"]["available"]) == (1, 4, 5)
    assert (at_pr["drift"], at_pr["active_holds"]) == (0, {"lines": 0, "units": 0})


def test_debug_of_odd_counters_shows_what_stands_there_and_uses_none_of_it(
    api: Client, product: UUID, client: Redis
) -> None:
    sync.sync()
    client.hset(f"stock:{product}", mapping={SP: "abc", "wh-none": "1:5:0:0:1:5"})
    shown = debugged(api, product)
    assert shown["counters"] == "odd"
    assert [(at["warehouse_id"], at["counter"], at["counter_text"], at["drift"]) for at in shown["warehouses"]] == [
        ("wh-none", None, "1:5:0:0:1:5", None),
        (PR, None, "1:5:0:0:1:5", None),
        (RJ, None, "1:5:0:0:1:5", None),
        (SP, None, "abc", None),
    ]
    assert shown["warehouses"][0]["database"] is None


def test_debug_works_while_redis_is_away(api: Client, product: UUID, client: Redis, redis_server: Server) -> None:
    client.flushall()
    assert debugged(api, product)["counters"] == "missing"
    redis_server.stop()
    shown = debugged(api, product)
    assert (shown["counters"], shown["summary_text"]) == ("away", None)
    assert [(at["counter"], at["counter_text"], at["drift"]) for at in shown["warehouses"]] == [(None, None, None)] * 3
    assert [at["database"]["available"] for at in shown["warehouses"]] == [5, 5, 5]
