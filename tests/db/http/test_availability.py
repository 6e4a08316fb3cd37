"""The contract with callers of availability: exact members, states, distances, and the cost of reading."""

from typing import Any
from uuid import UUID

from django.test import Client

from inventory_project.foundation.database import database_now
from reservations import lifecycle
from reservations.requests import Confirm
from stock import blocking
from tests import factories
from tests.db.http.calls import API, moment, post, product_in_known_places, statements
from tests.factories import PR, RJ, SP

# --- availability ----------------------------------------------------------------------------------------------------


def test_availability_has_exactly_these_members(api: Client) -> None:
    product = factories.product({SP: 30, RJ: 20})
    factories.hold(product.pk, 4, RJ)
    response = api.get(f"{API}/products/{product.pk}/availability")
    assert response.status_code == 200
    body = response.json()
    assert moment(body.pop("as_of")) <= database_now()
    assert body == {
        "product_id": str(product.pk),
        "available": 46,
        "state": "in_stock",
        "incoming": 0,
        "warehouses": [
            {"warehouse_id": RJ, "available": 16, "reserved": 4, "incoming": 0, "distance_km": None},
            {"warehouse_id": SP, "available": 30, "reserved": 0, "incoming": 0, "distance_km": None},
        ],
        "source": "database",
    }


def test_availability_answers_for_a_quantity_a_warehouse_and_a_postal_code(api: Client) -> None:
    product = factories.product({SP: 30, RJ: 20})
    path = f"{API}/products/{product.pk}/availability"
    for quantity, is_sufficient in (("50", True), ("51", False)):
        assert api.get(path, {"quantity": quantity}).json()["is_sufficient"] is is_sufficient
    at_rj = api.get(path, {"warehouse_id": RJ, "quantity": "21", "postal_code": "01310-100"}).json()
    assert (at_rj["available"], at_rj["is_sufficient"]) == (20, False)
    assert [place["warehouse_id"] for place in at_rj["warehouses"]] == [RJ]
    factories.warehouse(PR)
    nowhere = api.get(path, {"warehouse_id": PR}).json()
    assert (nowhere["available"], nowhere["state"], nowhere["warehouses"]) == (0, "out_of_stock", [])


def test_each_state_of_availability(api: Client) -> None:
    rich, poor, held, empty, blocked = (factories.product({SP: units}) for units in (10, 9, 1, 1, 50))
    factories.hold(held.pk)
    lifecycle.confirm_many([Confirm(reservation_id=factories.hold(empty.pk).id, actor=factories.ACTOR)])
    blocking.block_product(blocked.pk, reason="recall", actor=factories.ACTOR)
    new = factories.product()
    products = [rich, poor, held, empty, new, blocked]
    answer = post(api, f"{API}/availability", {"product_ids": [str(product.pk) for product in products]})
    assert answer.status_code == 200
    assert answer.json().keys() == {"products"}
    assert [(row["product_id"], row["state"], row["available"]) for row in answer.json()["products"]] == [
        (str(rich.pk), "in_stock", 10),
        (str(poor.pk), "low_stock", 9),
        (str(held.pk), "reserved", 0),
        (str(empty.pk), "out_of_stock", 0),
        (str(new.pk), "out_of_stock", 0),
        (str(blocked.pk), "blocked", 0),
    ]


def test_units_held_at_a_closed_warehouse_are_not_said_to_come_back(api: Client) -> None:
    product = factories.product({SP: 5, RJ: 5})
    factories.hold(product.pk, 5, SP)
    path = f"{API}/products/{product.pk}/availability"

    def state() -> tuple[str, int, list[int]]:
        body = api.get(path).json()
        return body["state"], body["available"], [place["reserved"] for place in body["warehouses"]]

    blocking.close_warehouse(SP, actor=factories.ACTOR)
    assert state() == ("low_stock", 5, [0, 5])
    blocking.close_warehouse(RJ, actor=factories.ACTOR)
    assert state() == ("out_of_stock", 0, [0, 5])
    blocking.reopen_warehouse(SP, actor=factories.ACTOR)
    assert state() == ("reserved", 0, [0, 5])


def test_a_product_that_is_asked_for_twice_is_answered_twice_in_its_places(api: Client) -> None:
    one, other = factories.product({SP: 5}), factories.product({SP: 7})
    asked = [str(product.pk) for product in (one, one, other, one)]

    rows = post(api, f"{API}/availability", {"product_ids": asked}).json()["products"]

    assert [(row["product_id"], row["available"]) for row in rows] == list(zip(asked, [5, 5, 7, 5], strict=True))


def test_a_quantity_that_no_order_may_have_is_refused(api: Client) -> None:
    product = factories.product({SP: 60_000})
    path = f"{API}/products/{product.pk}/availability"

    refused = api.get(path, {"quantity": "10001"})

    assert api.get(path, {"quantity": "10000"}).json()["is_sufficient"] is True
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
    assert [(error["field"], error["code"]) for error in refused.json()["errors"]] == [("quantity", "max_value")]


def test_one_and_many_products_are_answered_alike(api: Client) -> None:
    product = product_in_known_places()
    one = api.get(f"{API}/products/{product.pk}/availability", {"postal_code": "01310-100"}).json()
    body = {"product_ids": [str(product.pk)], "postal_code": "01310-100"}
    (many,) = post(api, f"{API}/availability", body).json()["products"]
    assert one | {"as_of": None} == many | {"as_of": None}


def test_a_postal_code_gives_distances_and_says_who_would_serve(api: Client) -> None:
    product = product_in_known_places()

    def read(**query: Any) -> tuple[dict[str, float | None], list[dict[str, Any]] | None]:
        body = api.get(f"{API}/products/{product.pk}/availability", query).json()
        return {place["warehouse_id"]: place["distance_km"] for place in body["warehouses"]}, body.get("served_by")

    known, unknown = {SP: 1.2, RJ: 361.7, PR: None}, {SP: None, RJ: None, PR: None}
    near = {"warehouse_id": SP, "quantity": 1, "distance_km": 1.2}
    assert read(postal_code="01310-100") == (known, [near])
    both = [{"warehouse_id": RJ, "quantity": 16, "distance_km": 361.7}, near | {"quantity": 9}]
    assert read(postal_code="01310-100", quantity=25) == (known, both)
    assert read(postal_code="01310-100", quantity=30) == (known, [])  # the third does not serve the region
    assert read(postal_code="99999") == (unknown, [{"warehouse_id": PR, "quantity": 1, "distance_km": None}])
    assert read() == (unknown, None)


# --- cost ------------------------------------------------------------------------------------------------------------


def test_reading_takes_the_same_number_of_statements_however_much_there_is(api: Client) -> None:
    def cost(product_ids: list[str], reservation_id: UUID) -> dict[str, int]:
        one = product_ids[0]
        return {
            "availability": statements(api, f"{API}/products/{one}/availability"),
            "bulk": statements(api, f"{API}/availability", {"product_ids": product_ids}),
            "products": statements(api, f"{API}/products"),
            "product": statements(api, f"{API}/products/{one}"),
            "reservations": statements(api, f"{API}/reservations"),
            "reservation": statements(api, f"{API}/reservations/{reservation_id}"),
            "allocation": statements(api, f"{API}/reservations/{reservation_id}/allocation"),
            "warehouses": statements(api, f"{API}/warehouses"),
            "stock-levels": statements(api, f"{API}/stock-levels"),
            "movements": statements(api, f"{API}/movements"),
        }

    first = factories.product({SP: 10})
    few = cost([str(first.pk)], factories.hold(first.pk).id)
    products = [factories.product({SP: 10, RJ: 10, PR: 10}) for _ in range(10)]
    for product in products:
        factories.hold(product.pk, 25)
    many = cost([str(product.pk) for product in products], factories.hold(products[0].pk, 4).id)
    assert many == few
    assert few == {
        "availability": 2,  # the clock, the rows
        "bulk": 2,
        "products": 1,
        "product": 1,
        "reservations": 2,  # and their items
        "reservation": 2,
        "allocation": 2,
        "warehouses": 1,
        "stock-levels": 1,
        "movements": 1,
    }
