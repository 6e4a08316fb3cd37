"""The contract with callers of products, levels, movements, warehouses, documents and sales blocks."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from inventory_project.foundation.database import database_now
from reservations import lifecycle
from reservations.requests import Cancel
from stock.models import StockMovement
from tests import factories
from tests.db.http.calls import API, JSON, moment, post, refusal, reserve
from tests.factories import PR, RJ, SP

# --- products, levels, movements, warehouses -------------------------------------------------------------------------


def test_a_product_is_made_changed_and_read(api: Client) -> None:
    path = f"{API}/products/{uuid4()}"
    made = api.put(path, {"sku": "CUP", "name": "Cup"}, content_type=JSON)
    assert made.status_code == 201
    body = made.json()
    assert body.keys() == {
        "id", "sku", "name", "low_stock_threshold", "is_blocked", "created_at", "updated_at"
    }  # fmt: skip
    assert (body["sku"], body["low_stock_threshold"], body["is_blocked"]) == ("CUP", None, False)
    changed = api.put(path, {"sku": "CUP", "name": "Big cup", "low_stock_threshold": 5}, content_type=JSON)
    assert (changed.status_code, changed.json()["low_stock_threshold"]) == (200, 5)
    assert api.get(path).json() == changed.json()
    assert api.get(f"{API}/products", {"sku": "CUP"}).json()["results"] == [changed.json()]
    other = api.put(f"{API}/products/{uuid4()}", {"sku": "CUP", "name": "Other"}, content_type=JSON)
    assert refusal(other) == (409, "sku_conflict")


def test_a_new_threshold_decides_at_once_what_is_low(api: Client) -> None:
    product = factories.product({SP: 10})
    path = f"{API}/stock-levels?low=true&product_id={product.pk}"
    assert api.get(path).json()["results"] == []
    body = {"sku": product.sku, "name": product.name, "low_stock_threshold": 11}
    api.put(f"{API}/products/{product.pk}", body, content_type=JSON)
    assert [row["is_low"] for row in api.get(path).json()["results"]] == [True]


def test_stock_levels_show_what_lies_where(api: Client) -> None:
    product = factories.product({SP: 5, RJ: 50})
    held = factories.hold(product.pk, 2, RJ)
    assert held.lines
    (row,) = api.get(f"{API}/stock-levels", {"product_id": str(product.pk), "warehouse_id": RJ}).json()["results"]
    assert moment(row.pop("updated_at")) <= database_now()
    assert row == {
        "product_id": str(product.pk),
        "warehouse_id": RJ,
        "available": 48,
        "reserved": 2,
        "incoming": 0,
        "replenished": 50,
        "is_blocked": False,
        "is_closed": False,
        "is_low": False,
        "version": row["version"],
    }
    low = api.get(f"{API}/stock-levels", {"low": "true"}).json()["results"]
    assert [(level["warehouse_id"], level["available"]) for level in low] == [(SP, 5)]


def test_movements_are_the_ledger_newest_first(api: Client) -> None:
    product = factories.product({SP: 5})
    begun = database_now()
    held = factories.hold(product.pk, 2)
    lifecycle.cancel_many([Cancel(reservation_id=held.id, actor="token:shop")])

    def listed(**query: Any) -> list[str]:
        return [
            row["kind"]
            for row in api.get(f"{API}/movements", {"product_id": str(product.pk)} | query).json()["results"]
        ]

    assert listed() == ["RELEASE", "RESERVE", "RECEIPT"]
    assert listed(kind="RESERVE") == ["RESERVE"]
    assert listed(warehouse_id=RJ) == []
    assert listed(since=begun.isoformat()) == ["RELEASE", "RESERVE"]
    assert listed(until=begun.isoformat()) == ["RECEIPT"]
    assert listed(reference="none") == []
    newest = api.get(f"{API}/movements", {"page_size": "1"}).json()["results"][0]
    assert moment(newest.pop("created_at")) <= database_now()
    assert UUID(newest.pop("id")).version == 7
    assert newest == {
        "product_id": str(product.pk),
        "warehouse_id": SP,
        "kind": "RELEASE",
        "available_delta": 2,
        "reserved_delta": -2,
        "incoming_delta": 0,
        "number": 3,
        "available_after": 5,
        "reserved_after": 0,
        "incoming_after": 0,
        "line_id": str(held.lines[0].id),
        "reference": "",
        "actor": "token:shop",
        "reason": "cancelled",
    }


@pytest.mark.parametrize("path", ["products", "stock-levels", "movements", "reservations", "warehouses"])
def test_every_list_is_walked_page_by_page(api: Client, path: str) -> None:
    for place in (SP, RJ, PR):
        product = factories.product({place: 5})
        factories.hold(product.pk)
    whole = api.get(f"{API}/{path}").json()
    assert (whole["next"], whole["previous"]) == (None, None)
    seen: list[Any] = []
    url = f"{API}/{path}?page_size=2"
    while url:
        page = api.get(url).json()
        assert len(page["results"]) <= 2
        seen += page["results"]
        url = page["next"]
    assert seen == whole["results"]
    assert len(seen) >= 3


# --- receipts and adjustments ----------------------------------------------------------------------------------------


def test_a_receipt_is_booked_once_and_makes_the_level(api: Client) -> None:
    factories.warehouse(SP)
    product, other = factories.product(), factories.product()
    items = [{"product_id": str(one.pk), "quantity": units} for one, units in ((product, 5), (other, 7))]
    body = {"reference": "PO-1", "warehouse_id": SP, "items": items}
    first, again = post(api, f"{API}/receipts", body), post(api, f"{API}/receipts", body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json() == body | {"created_at": first.json()["created_at"]}
    assert factories.numbers(product.pk) == (5, 0, 0)
    changed = body | {"items": items[:1]}
    assert refusal(post(api, f"{API}/receipts", changed)) == (409, "reference_conflict")
    assert StockMovement.objects.filter(reference="PO-1").count() == 2


def test_an_adjustment_corrects_what_is_free_and_no_more(api: Client) -> None:
    product = factories.product({SP: 10})
    factories.hold(product.pk, 4)
    body = {
        "reference": "A-1",
        "warehouse_id": SP,
        "reason": "broken",
        "items": [{"product_id": str(product.pk), "delta": -2}],
    }
    first, again = post(api, f"{API}/adjustments", body), post(api, f"{API}/adjustments", body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json() == body | {"created_at": first.json()["created_at"]}
    assert factories.numbers(product.pk) == (4, 4, 0)
    too_much = body | {"reference": "A-2", "items": [{"product_id": str(product.pk), "delta": -5}]}
    response = post(api, f"{API}/adjustments", too_much)
    assert refusal(response) == (409, "insufficient_stock")
    shortage = {"product_id": str(product.pk), "warehouse_id": SP, "requested": 5, "available": 4}
    assert response.json()["shortages"] == [shortage]
    assert factories.numbers(product.pk) == (4, 4, 0)


def test_a_receipt_and_an_adjustment_may_share_a_reference(api: Client) -> None:
    product = factories.product({SP: 10})
    receipt = {"reference": "X", "warehouse_id": SP, "items": [{"product_id": str(product.pk), "quantity": 1}]}
    adjustment = receipt | {"reason": "found", "items": [{"product_id": str(product.pk), "delta": 1}]}
    assert post(api, f"{API}/receipts", receipt).status_code == 201
    assert post(api, f"{API}/adjustments", adjustment).status_code == 201


# --- blocking --------------------------------------------------------------------------------------------------------


def test_sales_are_blocked_and_unblocked_once_with_who_when_and_why(api: Client) -> None:
    product = factories.product({SP: 10})
    path = f"/admin/products/{product.pk}"
    untouched = post(api, f"{path}/unblock-sales", {"reason": "nothing to lift"}).json()
    nobody = {"reason": None, "actor": None, "at": None}
    assert untouched == {"product_id": str(product.pk), "is_blocked": False} | nobody

    first = post(api, f"{path}/block-sales", {"reason": "recall"})
    again = post(api, f"{path}/block-sales", {"reason": "another"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    body = first.json()
    assert moment(body.pop("at")) <= database_now()
    assert body == {"product_id": str(product.pk), "is_blocked": True, "reason": "recall", "actor": "anonymous"}
    assert refusal(reserve(api, product.pk)) == (409, "sales_blocked")

    lifted = post(api, f"{path}/unblock-sales", {"reason": "checked"}).json()
    assert (lifted["is_blocked"], lifted["reason"], lifted["actor"]) == (False, "checked", "anonymous")
    assert reserve(api, product.pk).status_code == 201
