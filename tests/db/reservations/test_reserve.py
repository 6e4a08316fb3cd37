"""Reserving: what is granted, what is refused and how exactly, and that a refusal leaves no trace."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import Settings

from inventory_project.foundation.errors import Invalid
from reservations import lifecycle
from reservations.models import Reservation
from reservations.requests import Item, OrderConflict, Outcome, Reserve, SalesBlocked
from stock import blocking, ledger
from stock.models import Product, StockLevel, StockMovement
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, PR, RJ, SP, reserve_request
from warehouses.allocation import explanation

pytestmark = pytest.mark.usefixtures("books")


def order(*items: Item, **options: Any) -> Reserve:
    return Reserve(**{"order_id": uuid4(), "items": items, "actor": ACTOR, **options})


def shortage(product: Product, warehouse_id: str | None, requested: int, available: int) -> dict[str, Any]:
    return {
        "product_id": str(product.pk),
        "warehouse_id": warehouse_id,
        "requested": requested,
        "available": available,
    }


def assert_short(request: Reserve, *shortages: dict[str, Any], lacking: str = "stock") -> None:
    """The request is refused for exactly these shortages, without a trace."""
    with records.no_trace(), pytest.raises(ledger.InsufficientStock) as refusal:
        verbs.reserve(request)
    assert refusal.value.code == "insufficient_stock"
    assert refusal.value.extra == {"shortages": list(shortages), "lacking": lacking}


# --- granted -------------------------------------------------------------------------------------------------------


def test_a_reservation_holds_its_units_for_as_long_as_the_setting_says(settings: Settings) -> None:
    settings.RESERVATION_TTL_MINUTES = Decimal("0.5")
    product = factories.product({SP: 5})
    request = reserve_request(product.pk, 2, SP, delivery_postal_code="01310-100")
    answer = verbs.reserve(request)
    held = answer.hold
    assert answer.is_replay is False
    assert (held.order_id, held.status, held.is_live, held.settled_at) == (request.order_id, "ACTIVE", True, None)
    assert held.expires_at - held.created_at == timedelta(seconds=30)
    assert verbs.places(held) == [(product.pk, SP, 2)]
    assert factories.numbers(product.pk) == (3, 2, 0)
    assert records.movements(product.pk)[1:] == [("RESERVE", SP, -2, 2, "")]
    row = Reservation.objects.get()
    assert (row.pk, row.order_id, row.status, row.is_live) == (held.id, held.order_id, "ACTIVE", True)
    assert (row.expires_at, row.created_at, row.settled_at) == (held.expires_at, held.created_at, None)
    assert (row.delivery_postal_code, row.actor, row.replaces_id) == ("01310-100", ACTOR, None)
    assert row.allocation == held.allocation
    assert explanation.explain(row.allocation)["strategy"] == "named"
    assert verbs.lines(held) == [(SP, 2, 0, 0, 0)]
    assert StockMovement.objects.get(kind="RESERVE").line_id == held.lines[0].id


def test_a_time_to_live_of_its_own_rules_before_the_setting() -> None:
    held = factories.hold(factories.product({SP: 5}).pk, ttl_minutes=7)
    assert held.expires_at - held.created_at == timedelta(minutes=7)


def test_the_last_unit_can_be_reserved() -> None:
    product = factories.product({SP: 5})
    factories.hold(product.pk, 5)
    assert factories.numbers(product.pk) == (0, 5, 0)


def test_equal_lines_are_merged_into_one() -> None:
    product = factories.product({SP: 5})
    held = verbs.reserve(order(Item(product.pk, 1), Item(product.pk, 2), Item(product.pk, 1, SP))).hold
    assert verbs.places(held) == [(product.pk, SP, 4)]
    assert records.movements(product.pk)[1:] == [("RESERVE", SP, -4, 4, "")]


def test_a_named_warehouse_is_obeyed_though_another_is_preferred() -> None:
    factories.warehouse(RJ, priority=9)
    product = factories.product({SP: 50, RJ: 5})
    assert verbs.places(factories.hold(product.pk, 5, RJ)) == [(product.pk, RJ, 5)]


def test_without_a_named_warehouse_the_lower_priority_number_serves() -> None:
    factories.warehouse(SP, priority=2)
    factories.warehouse(RJ, priority=1)
    product = factories.product({SP: 50, RJ: 5})
    assert verbs.places(factories.hold(product.pk, 5)) == [(product.pk, RJ, 5)]


def test_an_order_is_split_over_warehouses_where_none_has_all_of_it() -> None:
    product = factories.product({SP: 5, RJ: 4, PR: 1})
    held = factories.hold(product.pk, 8)
    assert verbs.places(held) == [(product.pk, RJ, 4), (product.pk, SP, 4)]
    assert factories.numbers(product.pk, SP) == (1, 4, 0)
    assert factories.numbers(product.pk, RJ) == (0, 4, 0)
    assert factories.numbers(product.pk, PR) == (1, 0, 0)


# --- replays -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settled", [False, True])
def test_the_same_order_gets_its_live_reservation_again(settled: bool) -> None:
    product = factories.product({SP: 5})
    request = reserve_request(product.pk, 2)
    held = verbs.reserve(request).hold
    if settled:
        verbs.confirm(held)
    with records.no_trace():
        again = verbs.reserve(request)
    assert again.is_replay is True
    assert (again.hold.id, again.hold.expires_at, again.hold.lines[0].id) == (
        held.id,
        held.expires_at,
        held.lines[0].id,
    )
    assert again.hold.status == ("CONFIRMED" if settled else "ACTIVE")


def test_a_replay_is_answered_though_nothing_is_left() -> None:
    product = factories.product({SP: 2})
    request = reserve_request(product.pk, 2)
    verbs.reserve(request)
    blocking.block_product(product.pk, reason="recall", actor=ACTOR)
    with records.no_trace():
        assert verbs.reserve(request).is_replay is True


def test_postal_code_time_to_live_and_splitting_are_no_content() -> None:
    product = factories.product({SP: 5, RJ: 5})
    held = factories.hold(product.pk, 3)
    warehouse_id = held.lines[0].warehouse_id
    again = order(
        Item(product.pk, 1),
        Item(product.pk, 2, warehouse_id),
        order_id=held.order_id,
        delivery_postal_code="80010-000",
        ttl_minutes=3,
        allow_split=False,
    )
    with records.no_trace():
        assert verbs.reserve(again).hold.id == held.id


@pytest.mark.parametrize("change", ["quantity", "product", "more", "warehouse"])
def test_the_same_order_with_other_content_is_refused_and_names_the_reservation(change: str) -> None:
    product, other = factories.product({SP: 5, RJ: 5}), factories.product({SP: 5})
    held = factories.hold(product.pk, 2, SP)
    items = {
        "quantity": (Item(product.pk, 3),),
        "product": (Item(other.pk, 2),),
        "more": (Item(product.pk, 2), Item(other.pk, 1)),
        "warehouse": (Item(product.pk, 2, RJ),),
    }
    with records.no_trace(), pytest.raises(OrderConflict) as refusal:
        verbs.reserve(order(*items[change], order_id=held.order_id))
    assert refusal.value.code == "order_conflict"
    assert refusal.value.extra == {"reservation_id": str(held.id)}


@pytest.mark.parametrize("end", [verbs.cancel, verbs.expire])
def test_an_order_whose_hold_was_released_may_reserve_anew(end: verbs.Ending) -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 2)
    end(held)
    again = verbs.reserve(reserve_request(product.pk, 5, order_id=held.order_id))
    assert again.is_replay is False
    assert again.hold.id != held.id
    assert factories.numbers(product.pk) == (0, 5, 0)


# --- refused -------------------------------------------------------------------------------------------------------


def test_a_refused_reservation_leaves_no_trace_and_lists_every_shortage() -> None:
    split, named, nowhere, ample = (
        factories.product({SP: 2, RJ: 3}),
        factories.product({SP: 1, RJ: 9}),
        factories.product(),
        factories.product({SP: 9}),
    )
    factories.hold(named.pk, 1, SP)
    request = order(
        Item(split.pk, 6), Item(named.pk, 2, SP), Item(ample.pk, 9), Item(nowhere.pk, 1), Item(ample.pk, 1, RJ)
    )
    assert_short(
        request,
        shortage(named, SP, 2, 0),
        shortage(ample, RJ, 1, 0),
        shortage(split, None, 6, 5),
        shortage(nowhere, None, 1, 0),
    )


def test_what_a_named_line_takes_is_gone_for_a_free_one() -> None:
    product = factories.product({SP: 4, RJ: 1})
    assert_short(order(Item(product.pk, 3, SP), Item(product.pk, 3)), shortage(product, None, 3, 2))
    held = verbs.reserve(order(Item(product.pk, 3, SP), Item(product.pk, 2))).hold
    assert verbs.places(held) == [(product.pk, RJ, 1), (product.pk, SP, 4)]


def test_an_order_that_may_not_be_split_is_refused_with_what_the_nearest_warehouse_lacks() -> None:
    first, second = factories.product({SP: 5, RJ: 2}), factories.product({SP: 1, RJ: 5})
    request = order(Item(first.pk, 3), Item(second.pk, 4), allow_split=False)
    assert_short(request, shortage(first, None, 3, 2), lacking="parcels")
    held = verbs.reserve(order(Item(first.pk, 2), Item(second.pk, 4), allow_split=False)).hold
    assert {line.warehouse_id for line in held.lines} == {RJ}


def test_unknown_products_and_warehouses_are_all_listed() -> None:
    product = factories.product({SP: 5})
    unknown = [uuid4(), uuid4(), uuid4()]
    items = [Item(product.pk, 1), Item(product.pk, 1, "wh-none"), Item(unknown[0], 1, "wh-nil")]
    request = order(*items, Item(unknown[1], 1, SP), Item(unknown[2], 99))
    with records.no_trace(), pytest.raises(Invalid) as refusal:
        verbs.reserve(request)
    assert refusal.value.code == "unknown_ids"
    assert refusal.value.extra == {
        "unknown": {"product_ids": sorted(map(str, unknown)), "warehouse_ids": ["wh-nil", "wh-none"]}
    }


def test_blocked_products_are_named_before_any_shortage() -> None:
    first, second, short = (factories.product({SP: 5}) for _ in range(3))
    for product in (first, second):
        blocking.block_product(product.pk, reason="recall", actor=ACTOR)
    with records.no_trace(), pytest.raises(SalesBlocked) as refusal:
        verbs.reserve(order(Item(first.pk, 1), Item(short.pk, 6), Item(second.pk, 99)))
    assert refusal.value.code == "sales_blocked"
    assert refusal.value.extra == {"product_ids": sorted([str(first.pk), str(second.pk)])}


def test_a_closed_warehouse_sells_nothing_and_the_others_go_on() -> None:
    product = factories.product({SP: 50, RJ: 2})
    blocking.close_warehouse(SP, actor=ACTOR)
    assert_short(reserve_request(product.pk, 1, SP), shortage(product, SP, 1, 0))
    assert_short(reserve_request(product.pk, 3), shortage(product, None, 3, 2))
    assert verbs.places(factories.hold(product.pk, 2)) == [(product.pk, RJ, 2)]


# --- overdue holds -------------------------------------------------------------------------------------------------


def test_a_reserve_that_lacks_stock_first_releases_what_is_overdue() -> None:
    product = factories.product({SP: 5})
    overdue, current = factories.hold(product.pk, 3), factories.hold(product.pk, 2)
    factories.make_overdue(overdue)
    factories.hold(product.pk, 3)
    assert verbs.status(overdue) == ("EXPIRED", False)
    assert verbs.status(current) == ("ACTIVE", True)
    assert factories.numbers(product.pk) == (0, 5, 0)
    release = StockMovement.objects.get(kind="RELEASE")
    assert (release.available_delta, release.reserved_delta) == (3, -3)
    assert (release.actor, release.reason) == ("system:expiry", "expired")


def test_overdue_holds_are_released_even_where_that_does_not_suffice() -> None:
    product = factories.product({SP: 5})
    overdue = factories.hold(product.pk, 3)
    factories.make_overdue(overdue)
    with pytest.raises(ledger.InsufficientStock) as refusal:
        verbs.reserve(reserve_request(product.pk, 6))
    assert refusal.value.extra == {"shortages": [shortage(product, None, 6, 5)], "lacking": "stock"}
    assert verbs.status(overdue) == ("EXPIRED", False)
    assert factories.numbers(product.pk) == (5, 0, 0)


def test_overdue_holds_are_left_alone_where_nothing_lacks_and_where_another_product_lacks() -> None:
    product, other = factories.product({SP: 5}), factories.product({SP: 1})
    overdue = factories.hold(product.pk, 3)
    factories.make_overdue(overdue)
    factories.hold(product.pk, 2)
    assert_short(reserve_request(other.pk, 2), shortage(other, None, 2, 1))
    assert verbs.status(overdue) == ("ACTIVE", True)


@pytest.mark.parametrize("quantity", [3, 4])
def test_an_overdue_hold_of_the_same_order_is_released_and_the_order_reserves_anew(quantity: int) -> None:
    product = factories.product({SP: 9})
    overdue = factories.hold(product.pk, 3)
    factories.make_overdue(overdue)
    answer = verbs.reserve(reserve_request(product.pk, quantity, order_id=overdue.order_id))
    assert answer.is_replay is False
    assert verbs.status(overdue) == ("EXPIRED", False)
    assert verbs.status(answer.hold) == ("ACTIVE", True)
    assert factories.numbers(product.pk) == (9 - quantity, quantity, 0)


def test_an_overdue_hold_of_the_same_order_is_released_though_it_is_on_another_product() -> None:
    product, other = factories.product({SP: 5}), factories.product({SP: 5})
    overdue = factories.hold(product.pk, 3)
    factories.make_overdue(overdue)
    verbs.reserve(reserve_request(other.pk, 1, order_id=overdue.order_id))
    assert factories.numbers(product.pk) == (5, 0, 0)
    assert factories.numbers(other.pk) == (4, 1, 0)


# --- batches -------------------------------------------------------------------------------------------------------


def test_an_empty_batch_has_no_answers() -> None:
    with records.no_trace():
        assert lifecycle.reserve_many([]) == []


def test_a_refused_request_does_not_fail_its_neighbours() -> None:
    product, blocked = factories.product({SP: 5}), factories.product({SP: 5})
    blocking.block_product(blocked.pk, reason="recall", actor=ACTOR)
    live = factories.hold(product.pk, 1)
    requests = [
        reserve_request(product.pk, 1),
        reserve_request(product.pk, 9),
        reserve_request(uuid4(), 1),
        reserve_request(product.pk, 0),
        reserve_request(blocked.pk, 1),
        reserve_request(product.pk, 2, order_id=live.order_id),
        reserve_request(product.pk, 1, order_id=live.order_id),
        reserve_request(product.pk, 3),
        reserve_request(product.pk, 1),
    ]
    assert verbs.codes(lifecycle.reserve_many, *requests) == [
        "new",
        "insufficient_stock",
        "unknown_ids",
        "invalid",
        "sales_blocked",
        "order_conflict",
        "replay",
        "new",
        "insufficient_stock",
    ]
    assert factories.numbers(product.pk) == (0, 5, 0)
    assert Reservation.objects.count() == 3


def test_the_last_unit_goes_to_the_first_of_a_batch() -> None:
    product = factories.product({SP: 1})
    requests = [reserve_request(product.pk) for _ in range(3)]
    assert verbs.codes(lifecycle.reserve_many, *requests) == ["new", "insufficient_stock", "insufficient_stock"]
    assert Reservation.objects.get().order_id == requests[0].order_id


def test_of_twins_in_one_batch_the_first_decides_and_the_others_get_its_answer() -> None:
    product = factories.product({SP: 5})
    request = reserve_request(product.pk, 2)
    answers = lifecycle.reserve_many([request, request, reserve_request(product.pk, 3, order_id=request.order_id)])
    first, second, third = answers
    assert isinstance(first, Outcome)
    assert isinstance(second, Outcome)
    assert (first.is_replay, second.is_replay) == (False, True)
    assert first.hold.id == second.hold.id
    assert isinstance(third, OrderConflict)
    assert third.extra == {"reservation_id": str(first.hold.id)}
    assert factories.numbers(product.pk) == (3, 2, 0)


def test_a_batch_whose_requests_lack_what_is_overdue_is_served_in_the_order_of_arrival() -> None:
    product = factories.product({SP: 3})
    overdue = factories.hold(product.pk, 3)
    factories.make_overdue(overdue)
    requests = [reserve_request(product.pk, 2), reserve_request(product.pk, 2), reserve_request(product.pk, 1)]
    assert verbs.codes(lifecycle.reserve_many, *requests) == ["new", "insufficient_stock", "new"]
    assert factories.numbers(product.pk) == (0, 3, 0)


def test_every_change_of_a_level_raises_its_version_once_for_a_batch() -> None:
    product = factories.product({SP: 5})
    lifecycle.reserve_many([reserve_request(product.pk) for _ in range(4)])
    assert StockLevel.objects.get().version == 2


def test_a_blocked_product_is_blocked_though_it_is_stocked_nowhere() -> None:
    product = factories.product()
    blocking.block_product(product.pk, reason="recall", actor=factories.ACTOR)
    with records.no_trace():
        [refusal] = lifecycle.reserve_many([reserve_request(product.pk)])
    assert isinstance(refusal, SalesBlocked)
    assert refusal.extra == {"product_ids": [str(product.pk)]}
