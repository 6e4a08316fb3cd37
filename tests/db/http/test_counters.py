"""Sync, reset-counter and debug over HTTP where there is no Redis; tests/integration/sync has the rest."""

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from reservations.requests import Item, Reserve
from stock import blocking
from tests import factories
from tests.db.reservations import verbs
from tests.factories import ACTOR, RJ, SP

NOBODY = uuid4()


def post(api: Client, path: str, body: Any) -> Any:
    return api.post(path, body, content_type="application/json")


def test_without_redis_there_is_nothing_to_sync(api: Client) -> None:
    product = factories.product({SP: 5}).pk
    for path in ("/admin/inventory/sync", f"/admin/inventory/products/{product}/reset-counter"):
        answer = post(api, path, {})
        assert (answer.status_code, answer.json()["code"]) == (409, "no_counters"), path
        assert answer.json()["detail"] == "There are no counters here: REDIS_URL is not set."


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"warehouse_id": 5}, "warehouse_id"),
        ({"warehouse_id": "WH 1"}, "warehouse_id"),
        ({"product_ids": []}, "product_ids"),
        ({"product_ids": ["5"]}, "product_ids[0]"),
        ({"product_ids": [str(uuid4())] * 501}, "product_ids"),
        ({"warehouse": SP}, "warehouse"),
    ],
)
def test_what_makes_no_sense_is_400(api: Client, body: dict[str, Any], field: str) -> None:
    answer = post(api, "/admin/inventory/sync", body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("body", "unknown"),
    [
        ({"product_ids": [str(NOBODY)]}, {"product_ids": [str(NOBODY)], "warehouse_ids": []}),
        ({"warehouse_id": "wh-none"}, {"product_ids": [], "warehouse_ids": ["wh-none"]}),
    ],
)
def test_what_does_not_exist_is_422_and_named(
    api: Client, settings: Settings, body: dict[str, Any], unknown: dict[str, list[str]]
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"  # it is refused before anybody is asked there
    answer = post(api, "/admin/inventory/sync", body)
    assert (answer.status_code, answer.json()["unknown"]) == (422, unknown)


def test_a_warehouse_together_with_products_is_400(api: Client, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    product = factories.product({SP: 5}).pk
    answer = post(api, "/admin/inventory/sync", {"warehouse_id": SP, "product_ids": [str(product)]})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_an_unknown_product_is_404(api: Client, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert api.get(f"/admin/inventory/products/{NOBODY}/debug").status_code == 404
    assert post(api, f"/admin/inventory/products/{NOBODY}/reset-counter", {}).status_code == 404


def test_debug_without_redis_shows_the_books(api: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    product = factories.product({SP: 5, RJ: 7}, low_stock_threshold=3)
    factories.hold(product.pk, 2, SP)
    factories.hold(product.pk, 1, SP)
    blocking.block_product(product.pk, reason="recall", actor=ACTOR)
    with django_assert_num_queries(5):  # the product; the savepoint, its time-out, all sides at once, and its end
        answer = api.get(f"/admin/inventory/products/{product.pk}/debug")
    assert answer.json() == {
        "product_id": str(product.pk),
        "is_blocked": True,
        "low_stock_threshold": 3,
        "counters": "none",
        "summary_text": None,
        "warehouses": [
            {
                "warehouse_id": RJ,
                "counter": None,
                "counter_text": None,
                "database": {
                    "version": 2, "available": 7, "reserved": 0, "incoming": 0, "replenished": 7,
                    "is_blocked": True, "is_closed": False,
                },
                "ledger": {"available": 7, "reserved": 0, "incoming": 0},
                "active_holds": {"lines": 0, "units": 0},
                "drift": None,
            },
            {
                "warehouse_id": SP,
                "counter": None,
                "counter_text": None,
                "database": {
                    "version": 4, "available": 2, "reserved": 3, "incoming": 0, "replenished": 5,
                    "is_blocked": True, "is_closed": False,
                },
                "ledger": {"available": 2, "reserved": 3, "incoming": 0},
                "active_holds": {"lines": 2, "units": 3},
                "drift": None,
            },
        ],
    }  # fmt: skip


def test_debug_shows_of_a_hold_what_it_has_not_given_up(api: Client) -> None:
    product = factories.product({SP: 5})
    for units in (2, 3):
        held = factories.hold(product.pk, units)
        verbs.call_off(held.order_id, Item(product.pk, 1))
    [place] = api.get(f"/admin/inventory/products/{product.pk}/debug").json()["warehouses"]
    assert (place["active_holds"], place["database"]["reserved"]) == ({"lines": 2, "units": 3}, 3)
    other = factories.product({SP: 5})
    items = (Item(product.pk, 1), Item(other.pk, 1))
    held = verbs.reserve(Reserve(order_id=uuid4(), items=items, actor=ACTOR)).hold
    verbs.call_off(held.order_id, Item(product.pk, 1))
    [place] = api.get(f"/admin/inventory/products/{product.pk}/debug").json()["warehouses"]
    assert place["active_holds"] == {"lines": 2, "units": 3}


def test_debug_of_a_product_that_is_nowhere_is_empty(api: Client) -> None:
    assert api.get(f"/admin/inventory/products/{factories.product().pk}/debug").json()["warehouses"] == []
