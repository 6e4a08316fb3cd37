"""The contract with callers of reserving: statuses, exact members, codes of refusals, replays."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from inventory_project.foundation.database import database_now
from reservations.models import Reservation
from stock import blocking
from tests import factories
from tests.db.http.calls import API, act, moment, post, refusal, reserve
from tests.factories import RJ, SP


def test_a_reservation_is_201_with_its_location_and_exactly_these_members(api: Client) -> None:
    product = factories.product({SP: 10})
    order = uuid4()
    before = database_now()
    response = reserve(api, product.pk, 2, order_id=str(order), delivery_postal_code="01310-100")
    assert response.status_code == 201
    body = response.json()
    assert response["Location"] == f"{API}/reservations/{body['id']}"
    assert api.get(response["Location"]).json() == body
    assert UUID(body["id"]).version == 7
    expires_at, created_at = moment(body.pop("expires_at")), moment(body.pop("created_at"))
    assert before <= created_at <= database_now()
    assert expires_at - created_at == timedelta(minutes=15)
    assert body == {
        "id": body["id"],
        "order_id": str(order),
        "status": "ACTIVE",
        "settled_at": None,
        "replaces_id": None,
        "items": [
            {"product_id": str(product.pk), "warehouse_id": SP, "quantity": 2, "confirmed": 0}
            | {"released": 0, "returned": 0}
        ],
    }
    assert factories.numbers(product.pk) == (8, 2, 0)


def test_the_same_order_with_the_same_content_gets_its_reservation_again(api: Client) -> None:
    product = factories.product({SP: 10})
    order = str(uuid4())
    first = reserve(api, product.pk, 2, order_id=order)
    halves = [{"product_id": str(product.pk).upper(), "quantity": 1, "warehouse_id": SP}] * 2
    again = post(api, f"{API}/reservations", {"order_id": order.upper(), "items": halves, "ttl_minutes": 5})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert "Location" not in again
    assert factories.numbers(product.pk) == (8, 2, 0)


@pytest.mark.parametrize(
    ("code", "kept", "note"),
    [
        (None, "", "no_postal_code"),
        ("", "", "no_postal_code"),
        ("  ", "", "no_postal_code"),
        ("N/A", "N/A", "unknown_postal_code"),
        ("-", "-", "unknown_postal_code"),
        (" 01.310-100 ", "01.310-100", "unknown_postal_code"),  # no postal area is loaded here
        ("Åland 22", "Åland 22", "unknown_postal_code"),
    ],
)
def test_no_order_is_refused_for_what_stands_in_place_of_a_postal_code(
    api: Client, code: str | None, kept: str, note: str
) -> None:
    product = factories.product({SP: 10})

    made = reserve(api, product.pk, 2, delivery_postal_code=code)

    assert made.status_code == 201
    why = api.get(f"{API}/reservations/{made.json()['id']}/allocation").json()
    assert (why["delivery_postal_code"], [each["code"] for each in why["allocation"]["notes"]]) == (kept, [note])


@pytest.mark.parametrize("warehouse_id", [None, "", " "])
def test_a_line_whose_warehouse_is_null_or_empty_is_served_from_any(api: Client, warehouse_id: str | None) -> None:
    product = factories.product({RJ: 10})
    items = [{"product_id": str(product.pk), "quantity": 2, "warehouse_id": warehouse_id}]

    made = post(api, f"{API}/reservations", {"order_id": str(uuid4()), "items": items})

    assert (made.status_code, [item["warehouse_id"] for item in made.json()["items"]]) == (201, [RJ])


def test_the_same_order_with_other_content_is_409_order_conflict(api: Client) -> None:
    product = factories.product({SP: 10})
    order = str(uuid4())
    first = reserve(api, product.pk, 2, order_id=order).json()
    response = reserve(api, product.pk, 3, order_id=order)
    assert refusal(response) == (409, "order_conflict")
    assert response.json()["reservation_id"] == first["id"]
    assert factories.numbers(product.pk) == (8, 2, 0)


def test_ttl_minutes_and_a_named_warehouse_are_obeyed(api: Client) -> None:
    product = factories.product({SP: 10, RJ: 10})
    items = [{"product_id": str(product.pk), "quantity": 1, "warehouse_id": RJ}]
    body = post(api, f"{API}/reservations", {"order_id": str(uuid4()), "items": items, "ttl_minutes": 60}).json()
    assert body["items"][0]["warehouse_id"] == RJ
    assert moment(body["expires_at"]) - moment(body["created_at"]) == timedelta(minutes=60)


def test_lacking_stock_is_409_with_every_shortage_and_takes_nothing(api: Client) -> None:
    one, two, three = (factories.product({SP: units}) for units in (1, 5, 2))
    items: list[dict[str, Any]] = [
        {"product_id": str(one.pk), "quantity": 2},
        {"product_id": str(two.pk), "quantity": 5},
        {"product_id": str(three.pk), "quantity": 9, "warehouse_id": SP},
    ]
    response = post(api, f"{API}/reservations", {"order_id": str(uuid4()), "items": items})
    assert refusal(response) == (409, "insufficient_stock")
    shortages = sorted(response.json()["shortages"], key=lambda shortage: shortage["requested"])
    assert shortages == [
        {"product_id": str(one.pk), "warehouse_id": None, "requested": 2, "available": 1},
        {"product_id": str(three.pk), "warehouse_id": SP, "requested": 9, "available": 2},
    ]
    assert [factories.numbers(product.pk)[1] for product in (one, two, three)] == [0, 0, 0]
    assert Reservation.objects.count() == 0


def test_without_allow_split_one_warehouse_must_serve_the_order(api: Client) -> None:
    product = factories.product({SP: 3, RJ: 3})
    assert refusal(reserve(api, product.pk, 5, allow_split=False)) == (409, "insufficient_stock")
    split = reserve(api, product.pk, 5).json()["items"]
    assert sorted((item["warehouse_id"], item["quantity"]) for item in split) == [(RJ, 3), (SP, 2)]


def test_a_blocked_product_is_409_and_named(api: Client) -> None:
    product, other = factories.product({SP: 3}), factories.product({SP: 3})
    blocking.block_product(product.pk, reason="recall", actor=factories.ACTOR)
    items = [{"product_id": str(one.pk), "quantity": 1} for one in (product, other)]
    response = post(api, f"{API}/reservations", {"order_id": str(uuid4()), "items": items})
    assert refusal(response) == (409, "sales_blocked")
    assert response.json()["product_ids"] == [str(product.pk)]
    assert factories.numbers(other.pk) == (3, 0, 0)


def test_an_order_may_reserve_anew_once_its_hold_is_cancelled(api: Client) -> None:
    product = factories.product({SP: 10})
    order = str(uuid4())
    first = reserve(api, product.pk, 2, order_id=order).json()
    act(api, first["id"], "cancel")
    second = reserve(api, product.pk, 2, order_id=order)
    assert second.status_code == 201
    assert second.json()["id"] != first["id"]
