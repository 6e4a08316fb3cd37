"""The contract with callers of confirm, cancel, expire, extend and return."""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.test import Client
from pytest_django import Settings

from stock import blocking
from tests import factories
from tests.db.http.calls import API, act, confirmed, moment, post, refusal, reserve
from tests.factories import RJ, SP

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


def test_the_items_of_an_order_that_was_split_can_be_confirmed_and_returned_as_they_were_answered(api: Client) -> None:
    products = [factories.product({SP: 1, RJ: 1}).pk for _ in range(60)]
    lines = [{"product_id": str(product_id), "quantity": 2} for product_id in products]
    made = post(api, f"{API}/reservations", {"order_id": str(uuid4()), "items": lines}).json()
    items = [{name: item[name] for name in ("product_id", "warehouse_id", "quantity")} for item in made["items"]]
    assert len(items) == 120

    done = act(api, made["id"], "confirm", {"items": items})
    back = act(api, made["id"], "return", {"reference": "rma-1", "items": items})

    assert [(item["confirmed"], item["released"]) for item in done.json()["items"]] == [(1, 0)] * 120
    assert [item["returned"] for item in back.json()["items"]] == [1] * 120
    assert {factories.numbers(product_id, place) for product_id in products for place in (SP, RJ)} == {(1, 0, 0)}


def test_an_item_of_two_full_lines_can_be_confirmed_and_returned_as_it_was_answered(api: Client) -> None:
    product = factories.product({SP: 20_000})
    line = {"product_id": str(product.pk), "quantity": 10_000}
    wanted = {"order_id": str(uuid4()), "items": [line, line | {"warehouse_id": SP}]}
    made = post(api, f"{API}/reservations", wanted).json()
    assert [item["quantity"] for item in made["items"]] == [20_000]
    items = [line | {"quantity": 20_000}]

    done = act(api, made["id"], "confirm", {"items": items})
    back = act(api, made["id"], "return", {"reference": "rma-1", "items": items})

    assert [item["confirmed"] for item in done.json()["items"]] == [20_000]
    assert [item["returned"] for item in back.json()["items"]] == [20_000]
    assert factories.numbers(product.pk) == (20_000, 0, 0)


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
