"""The contract with callers: statuses, exact members of each answer, codes of refusals, replays."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from inventory_project.foundation.database import database_now
from reservations import lifecycle
from reservations.api.allocation import AllocationOut
from reservations.holds import Hold
from reservations.models import Reservation
from reservations.requests import Cancel, Confirm
from stock import blocking
from stock.models import Product, StockMovement
from tests import factories
from tests.factories import PR, RJ, SP
from warehouses.models import PostalArea, Warehouse

API = "/api/inventory"
JSON = "application/json"


def post(api: Client, path: str, body: dict[str, Any] | None = None) -> Any:
    return api.post(path, body or {}, content_type=JSON)


def reserve(api: Client, product_id: UUID, quantity: int = 2, **more: Any) -> Any:
    items = [{"product_id": str(product_id), "quantity": quantity}]
    return post(api, f"{API}/reservations", {"order_id": str(uuid4()), "items": items} | more)


def act(api: Client, reservation_id: object, verb: str, body: dict[str, Any] | None = None) -> Any:
    return post(api, f"{API}/reservations/{reservation_id}/{verb}", body)


def confirmed(product_id: UUID, quantity: int = 2) -> Hold:
    held = factories.hold(product_id, quantity)
    return lifecycle.one(lifecycle.confirm_many, Confirm(reservation_id=held.id, actor=factories.ACTOR)).hold


def moment(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def refusal(response: Any) -> tuple[int, str]:
    assert response["Content-Type"] == "application/problem+json", response.content
    body = response.json()
    assert body.keys() >= {"type", "title", "status", "detail", "code", "request_id"}
    assert body["status"] == response.status_code
    return response.status_code, body["code"]


def statements(api: Client, path: str, body: dict[str, Any] | None = None) -> int:
    """How many SQL statements the answer took."""
    with CaptureQueriesContext(connection) as captured:
        response = api.get(path) if body is None else post(api, path, body)
    assert response.status_code == 200, response.content
    return len(captured)


# --- reserving -------------------------------------------------------------------------------------------------------


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


# --- confirm, cancel, expire -----------------------------------------------------------------------------------------


def test_confirming_twice_gives_the_same_answer_and_deducts_once(api: Client) -> None:
    product = factories.product({SP: 10})
    held = factories.hold(product.pk, 3)
    first, again = act(api, held.id, "confirm"), act(api, held.id, "confirm")
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    body = first.json()
    assert (body["status"], moment(body["settled_at"]) >= moment(body["created_at"])) == ("CONFIRMED", True)
    assert [(item["quantity"], item["confirmed"], item["returned"]) for item in body["items"]] == [(3, 3, 0)]
    assert factories.numbers(product.pk) == (7, 0, 0)


def test_a_part_is_confirmed_and_the_rest_released(api: Client) -> None:
    product = factories.product({SP: 10})
    held = factories.hold(product.pk, 5)
    part = {"items": [{"product_id": str(product.pk), "quantity": 2}]}
    first = act(api, held.id, "confirm", part)
    assert first.status_code == 200
    [item] = first.json()["items"]
    assert (item["quantity"], item["confirmed"], item["released"], item["returned"]) == (5, 2, 3, 0)
    assert factories.numbers(product.pk) == (8, 0, 0)
    for replay in (part, {}):
        again = act(api, held.id, "confirm", replay)
        assert (again.status_code, again.json()) == (200, first.json())
    other = {"items": [{"product_id": str(product.pk), "quantity": 3}]}
    assert refusal(act(api, held.id, "confirm", other)) == (409, "reservation_confirmed")


def test_no_more_can_be_confirmed_than_is_held(api: Client) -> None:
    product = factories.product({SP: 10})
    held = factories.hold(product.pk, 2)
    for items in (
        [{"product_id": str(product.pk), "quantity": 3}],
        [{"product_id": str(product.pk), "quantity": 1, "warehouse_id": RJ}],
        [{"product_id": str(uuid4()), "quantity": 1}],
    ):
        assert refusal(act(api, held.id, "confirm", {"items": items})) == (409, "exceeds_reservation")
    assert factories.numbers(product.pk) == (8, 2, 0)


def test_cancelling_twice_releases_once(api: Client) -> None:
    product = factories.product({SP: 10})
    held = factories.hold(product.pk, 3)
    first, again = act(api, held.id, "cancel"), act(api, held.id, "cancel")
    assert (first.status_code, again.status_code, first.json()["status"]) == (200, 200, "CANCELLED")
    assert first.json() == again.json()
    assert factories.numbers(product.pk) == (10, 0, 0)


def test_expiring_twice_releases_once_due_or_not(api: Client) -> None:
    product = factories.product({SP: 10})
    held = factories.hold(product.pk, 3)
    path = f"/admin/reservations/{held.id}/expire"
    first, again = post(api, path), post(api, path)
    assert (first.status_code, again.status_code, first.json()["status"]) == (200, 200, "EXPIRED")
    assert first.json() == again.json()
    assert factories.numbers(product.pk) == (10, 0, 0)


@pytest.mark.parametrize(
    ("settled_by", "code"),
    [
        ("confirm", "reservation_confirmed"),
        ("cancel", "reservation_cancelled"),
        ("expire", "reservation_expired"),
    ],
)
def test_what_is_settled_one_way_is_409_the_other_way(api: Client, settled_by: str, code: str) -> None:
    product = factories.product({SP: 10})
    held = factories.hold(product.pk, 3)
    paths = {verb: f"{API}/reservations/{held.id}/{verb}" for verb in ("confirm", "cancel", "extend")}
    paths["expire"] = f"/admin/reservations/{held.id}/expire"
    settled = post(api, paths[settled_by]).json()
    numbers = factories.numbers(product.pk)
    for verb in paths.keys() - {settled_by}:
        body = {"minutes": 1, "reference": "e"} if verb == "extend" else {}
        assert refusal(post(api, paths[verb], body)) == (409, code), verb
    assert api.get(f"{API}/reservations/{held.id}").json() == settled
    assert factories.numbers(product.pk) == numbers


def test_a_hold_past_its_time_shows_active_but_cannot_be_confirmed_or_extended(api: Client) -> None:
    held = factories.hold(factories.product({SP: 10}).pk, 3)
    factories.make_overdue(held)
    assert api.get(f"{API}/reservations/{held.id}").json()["status"] == "ACTIVE"
    assert refusal(act(api, held.id, "confirm")) == (409, "reservation_expired")
    assert refusal(act(api, held.id, "extend", {"minutes": 1, "reference": "e"})) == (409, "reservation_expired")


# --- extend ----------------------------------------------------------------------------------------------------------


def test_minutes_are_added_once_for_a_reference(api: Client) -> None:
    held = factories.hold(factories.product({SP: 10}).pk)
    body = {"minutes": 10, "reference": "3-D Secure"}
    first, again = act(api, held.id, "extend", body), act(api, held.id, "extend", body)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert moment(first.json()["expires_at"]) == held.expires_at + timedelta(minutes=10)
    assert refusal(act(api, held.id, "extend", body | {"minutes": 11})) == (409, "reference_conflict")
    more = act(api, held.id, "extend", {"minutes": 1, "reference": "next"})
    assert moment(more.json()["expires_at"]) == held.expires_at + timedelta(minutes=11)


def test_a_moment_extends_and_never_shortens(api: Client) -> None:
    held = factories.hold(factories.product({SP: 10}).pk)
    later = held.expires_at + timedelta(minutes=20)
    first = act(api, held.id, "extend", {"expires_at": later.isoformat()})
    assert moment(first.json()["expires_at"]) == later
    earlier = act(api, held.id, "extend", {"expires_at": held.expires_at.isoformat()})
    assert (earlier.status_code, moment(earlier.json()["expires_at"])) == (200, later)


def test_a_hold_lasts_two_hours_at_most(api: Client, settings: Settings) -> None:
    held = factories.hold(factories.product({SP: 10}).pk)
    limit = held.created_at + timedelta(minutes=settings.RESERVATION_EXTEND_MAX_MINUTES)
    assert settings.RESERVATION_EXTEND_MAX_MINUTES == 120
    response = act(api, held.id, "extend", {"expires_at": (limit + timedelta(seconds=1)).isoformat()})
    assert refusal(response) == (409, "extension_limit")
    assert datetime.fromisoformat(response.json()["limit"]) == limit
    assert act(api, held.id, "extend", {"expires_at": limit.isoformat()}).status_code == 200


def test_a_blocked_product_is_confirmed_but_not_extended(api: Client) -> None:
    product = factories.product({SP: 10})
    held = factories.hold(product.pk)
    blocking.block_product(product.pk, reason="recall", actor=factories.ACTOR)
    response = act(api, held.id, "extend", {"minutes": 1, "reference": "e"})
    assert refusal(response) == (409, "sales_blocked")
    assert response.json()["product_ids"] == [str(product.pk)]
    assert act(api, held.id, "confirm").status_code == 200


# --- return ----------------------------------------------------------------------------------------------------------


def test_goods_come_back_in_parts_once_for_each_reference(api: Client) -> None:
    product = factories.product({SP: 10})
    sold = confirmed(product.pk, 5)
    part = {"reference": "b-1", "items": [{"product_id": str(product.pk), "quantity": 2}]}
    first, again = act(api, sold.id, "return", part), act(api, sold.id, "return", part)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert [(item["confirmed"], item["returned"]) for item in first.json()["items"]] == [(5, 2)]
    assert factories.numbers(product.pk) == (7, 0, 0)
    other = part | {"items": [{"product_id": str(product.pk), "quantity": 1}]}
    assert refusal(act(api, sold.id, "return", other)) == (409, "reference_conflict")
    too_many = {"reference": "b-2", "items": [{"product_id": str(product.pk), "quantity": 4}]}
    assert refusal(act(api, sold.id, "return", too_many)) == (409, "exceeds_reservation")
    assert factories.numbers(product.pk) == (7, 0, 0)


def test_after_a_full_return_the_reservation_stays_confirmed_and_the_order_may_reserve_anew(api: Client) -> None:
    product = factories.product({SP: 10})
    sold = confirmed(product.pk, 5)
    assert refusal(reserve(api, product.pk, 1, order_id=str(sold.order_id))) == (409, "order_conflict")
    back = act(api, sold.id, "return", {"reference": "b-1"}).json()
    assert (back["status"], back["items"][0]["returned"]) == ("CONFIRMED", 5)
    assert factories.numbers(product.pk) == (10, 0, 0)
    assert refusal(act(api, sold.id, "return", {"reference": "b-2"})) == (409, "exceeds_reservation")
    assert reserve(api, product.pk, 1, order_id=str(sold.order_id)).status_code == 201


def test_only_confirmed_goods_come_back(api: Client) -> None:
    product = factories.product({SP: 10})
    held = factories.hold(product.pk)
    assert refusal(act(api, held.id, "return", {"reference": "b"})) == (409, "reservation_active")
    act(api, held.id, "cancel")
    assert refusal(act(api, held.id, "return", {"reference": "b"})) == (409, "reservation_cancelled")


# --- reading reservations --------------------------------------------------------------------------------------------


def product_in_known_places() -> Product:
    """10, 20 and 30 units where postal codes with 01 are near, far and not served; of the last the place is unknown.

    One unit is held: what reads keep in memory of the places is then as new as that hold.
    """
    factories.warehouse(SP, priority=1)
    factories.warehouse(RJ, priority=2)
    factories.warehouse(PR, region="south", priority=1)
    Warehouse.objects.filter(pk=SP).update(latitude=-23.5505, longitude=-46.6333)
    Warehouse.objects.filter(pk=RJ).update(latitude=-22.9035, longitude=-43.1764)
    Warehouse.objects.filter(pk=PR).update(served_regions=["south"])
    PostalArea.objects.create(
        country="BR", prefix="01", latitude=-23.5521, longitude=-46.6453, name="Sao Paulo, SP", region="southeast"
    )
    product = factories.product({SP: 10, RJ: 20, PR: 30})
    factories.hold(product.pk, 1, SP)
    return product


def test_the_allocation_says_why_these_warehouses(api: Client) -> None:
    product = product_in_known_places()
    held = factories.hold(product.pk, 2, delivery_postal_code="01310-100")
    response = api.get(f"{API}/reservations/{held.id}/allocation")
    assert response.status_code == 200
    product_id = str(product.pk)
    assert response.json() == {
        "reservation_id": str(held.id),
        "order_id": str(held.order_id),
        "delivery_postal_code": "01310-100",
        "allocation": {
            "version": 2,
            "sentence": f"{SP} (1 km away) serves the order: it is the nearest (before {RJ}). "
            f"Not serving southeast: {PR}.",
            "strategy": "one_warehouse",
            "tie_break": "nearest",
            "policy": {
                "region": "",
                "preferences": ["fewest_parcels", "nearest", "priority", "balance"],
                "tolerance_km": 50.0,
                "split": "fewest_parcels",
                "most_parcels": None,
                "is_built_in": True,
            },
            "allow_split": True,
            "delivery": {"area": "BR 01", "name": "Sao Paulo, SP", "precision": "prefix", "region": "southeast"},
            "notes": [],
            "steps": 0,
            "candidates": [
                {
                    "warehouse_id": SP,
                    "region": "southeast",
                    "priority": 1,
                    "distance_km": 1.2,
                    "lost_by": None,
                    "available": {product_id: 9},
                    "share_taken": {product_id: 0.1},
                },
                {
                    "warehouse_id": RJ,
                    "region": "southeast",
                    "priority": 2,
                    "distance_km": 361.7,
                    "lost_by": "nearest",
                    "available": {product_id: 20},
                    "share_taken": {product_id: 0.0},
                },
            ],
            "candidates_left_out": 0,
            "rejected": [{"warehouse_id": PR, "product_id": product_id, "reason": "not_served"}],
            "chosen": [
                {
                    "strategy": "one_warehouse",
                    "tie_break": "nearest",
                    "said": [
                        {"preference": "fewest_parcels", "best": 1, "left": 2},
                        {"preference": "nearest", "best": 1.2, "left": 1},
                    ],
                    "parts": [{"product_id": product_id, "warehouse_id": SP, "quantity": 2}],
                }
            ],
        },
    }
    assert_described(response)


def assert_described(response: Any) -> None:
    """Each member and value of the answer is as the OpenAPI document has it."""
    described = AllocationOut(data=response.json())
    described.is_valid(raise_exception=True)
    assert described.validated_data.keys() == response.json().keys()
    allocation = response.json()["allocation"]
    assert allocation is None or described.validated_data["allocation"].keys() == allocation.keys()


def test_an_allocation_that_the_first_version_kept_is_told_too(api: Client) -> None:
    product = factories.product({SP: 10})
    held = factories.hold(product.pk, 2)
    part = {"product_id": str(product.pk), "warehouse_id": SP, "quantity": 2}
    decision = {"strategy": "one_warehouse", "tie_break": "stock", "parts": [part]}
    candidates = [
        {"warehouse_id": key, "region": "southeast", "priority": 1, "available": {str(product.pk): units}}
        for key, units in ((RJ, 4), (SP, 10))
    ]
    rejected = [{"warehouse_id": PR, "product_id": str(product.pk), "reason": "closed"}]
    kept = {
        "version": 1,
        "strategy": "one_warehouse",
        "tie_break": "stock",
        "candidates": candidates,
        "candidates_left_out": 0,
        "rejected": rejected,
        "chosen": [decision],
    }
    Reservation.objects.filter(pk=held.id).update(allocation=kept)
    response = api.get(f"{API}/reservations/{held.id}/allocation")
    assert response.json()["allocation"] == {
        **kept,
        "sentence": f"{SP} serves the order: of equally good ones, it had the most stock.",
        "policy": None,
        "allow_split": None,
        "delivery": None,
        "notes": [],
        "steps": None,
        "candidates": [{**one, "distance_km": None, "lost_by": None, "share_taken": {}} for one in candidates],
        "chosen": [{**decision, "said": []}],
    }
    assert_described(response)


def test_an_allocation_that_a_newer_version_kept_is_null(api: Client) -> None:
    held = factories.hold(factories.product({SP: 10}).pk, 2, delivery_postal_code="01310-100")
    Reservation.objects.filter(pk=held.id).update(allocation={"version": 3, "of": "another form"})
    response = api.get(f"{API}/reservations/{held.id}/allocation")
    assert response.status_code == 200
    assert response.json() == {
        "reservation_id": str(held.id),
        "order_id": str(held.order_id),
        "delivery_postal_code": "01310-100",
        "allocation": None,
    }
    assert_described(response)


def test_reservations_are_listed_newest_first_and_filtered(api: Client) -> None:
    product, other = factories.product({SP: 10}), factories.product({SP: 10})
    first, second, third = factories.hold(product.pk), factories.hold(other.pk), factories.hold(product.pk)
    lifecycle.cancel_many([Cancel(reservation_id=first.id, actor=factories.ACTOR)])

    def listed(**query: Any) -> list[str]:
        body = api.get(f"{API}/reservations", query).json()
        assert body.keys() == {"next", "previous", "results"}
        return [row["id"] for row in body["results"]]

    assert listed() == [str(third.id), str(second.id), str(first.id)]
    assert listed(product_id=product.pk) == [str(third.id), str(first.id)]
    assert listed(product_id=product.pk, status="ACTIVE") == [str(third.id)]
    assert listed(status="CANCELLED") == [str(first.id)]
    assert listed(order_id=second.order_id) == [str(second.id)]
    assert listed(order_id=uuid4()) == []


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


def test_one_and_many_products_are_answered_alike(api: Client) -> None:
    product = product_in_known_places()
    one = api.get(f"{API}/products/{product.pk}/availability", {"postal_code": "01310-100"}).json()
    body = {"product_ids": [str(product.pk)] * 2, "postal_code": "01310-100"}
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
