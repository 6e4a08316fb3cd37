"""Calling off: an order that is not wanted any more, whole or in part, frees its goods once, held or confirmed."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from inventory_project.foundation.errors import Conflict, Invalid, NotFound
from reservations import lifecycle
from reservations.holds import Hold
from reservations.models import Reservation, ReservationItem
from reservations.requests import (
    CallOff,
    ExceedsReservation,
    Item,
    OrderChanged,
    Outcome,
    ReservationCancelled,
    ReservationConfirmed,
    ReservationExpired,
    Reserve,
)
from stock.documents import ReferenceConflict
from stock.models import StockMovement
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, RJ, SP, reserve_request

pytestmark = pytest.mark.usefixtures("books")


def of_two_lines() -> tuple[UUID, Hold]:
    """A product, and 5 units of it held: 3 at one warehouse and 2 at the other."""
    product = factories.product({RJ: 10, SP: 10}, low_stock_threshold=0)
    items = (Item(product.pk, 3, RJ), Item(product.pk, 2, SP))
    return product.pk, verbs.reserve(Reserve(order_id=uuid4(), items=items, actor=ACTOR)).hold


def released(held: Hold, reason: str, *parts: tuple[str, int], reference: str = "") -> Any:
    """The event of these units, by warehouse."""
    product_id = str(held.lines[0].product_id)
    data = {
        "reservation_id": str(held.id),
        "order_id": str(held.order_id),
        "reason": reason,
        "items": [
            {"product_id": product_id, "warehouse_id": warehouse_id, "quantity": units} for warehouse_id, units in parts
        ],
    }
    return ("inventory.released", str(held.id), reference, data | ({"reference": reference} if reference else {}))


# --- the whole order -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_overdue", [False, True])
@pytest.mark.parametrize("reason", ["cancelled", "payment_failed"])
def test_a_hold_is_released_whole_though_its_time_is_up(reason: Any, is_overdue: bool) -> None:
    product_id, held = of_two_lines()
    if is_overdue:
        factories.make_overdue(held)
    start = records.last_event()
    answer = verbs.call_off(held.order_id, reason=reason)
    assert (answer.is_replay, answer.hold.id, answer.hold.settled_at is not None) == (False, held.id, True)
    assert verbs.status(held) == ("CANCELLED", False)
    assert verbs.lines(held) == [(RJ, 3, 0, 3, 0), (SP, 2, 0, 2, 0)]
    assert factories.numbers(product_id, RJ) == factories.numbers(product_id, SP) == (10, 0, 0)
    assert records.events(after=start) == [released(held, reason, (RJ, 3), (SP, 2))]
    releases = StockMovement.objects.filter(kind="RELEASE")
    assert set(releases.values_list("reason", "actor", "reference")) == {(reason, ACTOR, "")}
    assert verbs.reserve(reserve_request(product_id, 1, order_id=held.order_id)).is_replay is False


@pytest.mark.parametrize("reason", ["cancelled", "payment_failed"])
@pytest.mark.parametrize("first", [verbs.cancel, lambda held: verbs.call_off(held.order_id)])
def test_what_is_cancelled_stays_so(first: Callable[[Hold], object], reason: Any) -> None:
    _, held = of_two_lines()
    first(held)
    with records.no_trace():
        answer = verbs.call_off(held.order_id, reason=reason, reference="another")
    assert (answer.is_replay, answer.hold.status) == (True, "CANCELLED")


@pytest.mark.parametrize(("reason", "part"), [("cancelled", ()), ("payment_failed", ()), ("payment_failed", (1,))])
def test_what_has_expired_is_left_as_it_is(reason: Any, part: tuple[int, ...]) -> None:
    product_id, held = of_two_lines()
    verbs.expire(held)
    with records.no_trace(), pytest.raises(ReservationExpired):
        verbs.call_off(held.order_id, *(Item(product_id, units) for units in part), reason=reason)


def test_an_order_without_a_reservation_is_not_found() -> None:
    with records.no_trace(), pytest.raises(NotFound):
        verbs.call_off(uuid4())


@pytest.mark.parametrize("part", [(), (1,)])
def test_a_failed_payment_leaves_alone_what_was_confirmed(part: tuple[int, ...]) -> None:
    product_id, held = of_two_lines()
    verbs.confirm(held)
    with records.no_trace(), pytest.raises(ReservationConfirmed):
        verbs.call_off(held.order_id, *(Item(product_id, units) for units in part), reason="payment_failed")


def test_confirmed_goods_come_back_all_but_those_that_are_back_already() -> None:
    product_id, held = of_two_lines()
    verbs.confirm(held)
    verbs.give_back(held, Item(product_id, 1, RJ))
    start = records.last_event()
    answer = verbs.call_off(held.order_id, reference="message-7")
    assert answer.is_replay is False
    assert verbs.status(held) == ("CONFIRMED", False)
    assert verbs.lines(held) == [(RJ, 3, 3, 0, 3), (SP, 2, 2, 0, 2)]
    assert factories.numbers(product_id, RJ) == factories.numbers(product_id, SP) == (10, 0, 0)
    assert records.movements(product_id)[-2:] == [
        ("RETURN", RJ, 2, 0, "message-7"),
        ("RETURN", SP, 2, 0, "message-7"),
    ]
    assert records.events(after=start) == [released(held, "returned", (RJ, 2), (SP, 2), reference="message-7")]
    with records.no_trace():
        assert verbs.call_off(held.order_id, reference="message-7").is_replay is True
        assert verbs.call_off(held.order_id, reference="another").is_replay is True
    assert verbs.reserve(reserve_request(product_id, 1, order_id=held.order_id)).is_replay is False


def test_it_acts_on_the_live_reservation_else_on_the_latest() -> None:
    product_id, cancelled = of_two_lines()
    verbs.cancel(cancelled)
    active = verbs.reserve(reserve_request(product_id, 1, order_id=cancelled.order_id)).hold
    assert verbs.call_off(active.order_id).hold.id == active.id
    assert verbs.call_off(active.order_id).hold.id == active.id
    assert verbs.status(active) == verbs.status(cancelled) == ("CANCELLED", False)


# --- a part of a hold ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_overdue", [False, True])
def test_a_part_of_a_hold_is_released_and_the_rest_is_held_on(is_overdue: bool) -> None:
    product_id, held = of_two_lines()
    if is_overdue:
        factories.make_overdue(held)
    start = records.last_event()
    answer = verbs.call_off(held.order_id, Item(product_id, 2), Item(product_id, 1, SP), reference="message-1")
    assert (answer.is_replay, answer.hold.settled_at) == (False, None)
    assert verbs.status(held) == ("ACTIVE", True)
    assert verbs.lines(held) == [(RJ, 3, 0, 2, 0), (SP, 2, 0, 1, 0)]
    assert factories.numbers(product_id, RJ) == (9, 1, 0)
    assert factories.numbers(product_id, SP) == (9, 1, 0)
    assert records.movements(product_id)[-2:] == [
        ("RELEASE", RJ, 2, -2, "message-1"),
        ("RELEASE", SP, 1, -1, "message-1"),
    ]
    assert records.events(after=start) == [released(held, "cancelled", (RJ, 2), (SP, 1), reference="message-1")]


def test_the_same_part_again_changes_nothing_whatever_became_of_the_rest() -> None:
    product_id, held = of_two_lines()
    part = Item(product_id, 2, RJ)

    def is_repeat() -> bool:
        with records.no_trace():
            return verbs.call_off(held.order_id, part).is_replay

    assert verbs.call_off(held.order_id, part).is_replay is False
    assert is_repeat()
    verbs.confirm(held)
    assert is_repeat()
    verbs.give_back(held)
    assert is_repeat()
    _, other = of_two_lines()
    verbs.call_off(other.order_id, Item(other.lines[0].product_id, 1))
    verbs.expire(other)
    with records.no_trace():
        assert verbs.call_off(other.order_id, Item(other.lines[0].product_id, 1)).is_replay is True


def test_a_reference_that_freed_other_units_is_refused_and_the_other_way_round() -> None:
    product_id, held = of_two_lines()
    verbs.call_off(held.order_id, Item(product_id, 2, RJ), reference="once")
    with records.no_trace():
        for item in (Item(product_id, 1), Item(product_id, 3), Item(product_id, 2, SP), Item(uuid4(), 2)):
            with pytest.raises(ReferenceConflict):
                verbs.call_off(held.order_id, item, reference="once")
    verbs.confirm(held)
    with records.no_trace():
        with pytest.raises(ReferenceConflict):
            verbs.call_off(held.order_id, reference="once")  # would come back, and not for the first time
        with pytest.raises(ReferenceConflict):
            verbs.give_back(held, reference="once")
    verbs.give_back(held, Item(product_id, 1), reference="parcel")
    with records.no_trace(), pytest.raises(ReferenceConflict):
        verbs.call_off(held.order_id, Item(product_id, 2), reference="parcel")


def test_once_nothing_is_left_the_reservation_is_cancelled() -> None:
    product_id, held = of_two_lines()
    verbs.call_off(held.order_id, Item(product_id, 3, RJ), reference="first")
    start = records.last_event()
    answer = verbs.call_off(held.order_id, Item(product_id, 2), reference="second")
    assert answer.hold.settled_at is not None
    assert verbs.status(held) == ("CANCELLED", False)
    assert verbs.lines(held) == [(RJ, 3, 0, 3, 0), (SP, 2, 0, 2, 0)]
    assert factories.numbers(product_id, SP) == (10, 0, 0)
    assert records.events(after=start) == [released(held, "cancelled", (SP, 2), reference="second")]
    with records.no_trace():
        assert verbs.call_off(held.order_id, Item(product_id, 2), reference="second").is_replay is True
        with pytest.raises(Conflict) as refusal:
            verbs.call_off(held.order_id, Item(product_id, 1), reference="third")
        assert refusal.value.code == "reservation_cancelled"
    assert verbs.reserve(reserve_request(product_id, 1, order_id=held.order_id)).is_replay is False


@pytest.mark.parametrize("is_confirmed", [False, True])
@pytest.mark.parametrize("case", ["more", "what is gone already", "elsewhere", "another product"])
def test_more_than_there_is_cannot_be_called_off(case: str, is_confirmed: bool) -> None:
    product_id, held = of_two_lines()
    other = factories.product({SP: 5})
    if is_confirmed:
        verbs.confirm(held)
    verbs.call_off(held.order_id, Item(product_id, 2, SP), reference="earlier")
    items = {
        "more": [Item(product_id, 4)],
        "what is gone already": [Item(product_id, 1, SP)],
        "elsewhere": [Item(product_id, 1, "wh-pr-001")],
        "another product": [Item(product_id, 1), Item(other.pk, 1)],
    }[case]
    with records.no_trace(), pytest.raises(ExceedsReservation) as refusal:
        verbs.call_off(held.order_id, *items)
    assert refusal.value.extra == {"product_id": str(items[-1].product_id)}


@pytest.mark.parametrize("quantity", [0, -1])
def test_a_part_of_less_than_one_unit_makes_no_sense(quantity: int) -> None:
    product_id, held = of_two_lines()
    with records.no_trace(), pytest.raises(Invalid):
        verbs.call_off(held.order_id, Item(product_id, quantity))


# --- a part of what has ended --------------------------------------------------------------------------------------


def unpaid(held: Hold) -> Outcome:
    return verbs.call_off(held.order_id, reason="payment_failed", reference="payment")


@pytest.mark.parametrize("end", [verbs.expire, unpaid])
def test_a_part_that_is_called_off_after_the_end_is_not_bought_by_a_late_payment(end: verbs.Ending) -> None:
    product_id, held = of_two_lines()
    verbs.call_off(held.order_id, Item(product_id, 1, RJ), reference="before")
    end(held)
    start, there = records.last_event(), verbs.lines(held)
    answer = verbs.call_off(held.order_id, Item(product_id, 1, RJ), Item(product_id, 1, SP), reference="after")
    assert answer.is_replay is False
    assert (records.events(after=start), verbs.lines(held)) == ([], there)
    assert list(ReservationItem.objects.order_by("id").values_list("called_off", flat=True)) == [1, 1]
    assert factories.numbers(product_id, RJ) == factories.numbers(product_id, SP) == (10, 0, 0)
    revived = verbs.pay(held.order_id).hold
    assert (revived.replaces_id, verbs.places(revived)) == (held.id, [(product_id, RJ, 1), (product_id, SP, 1)])
    assert factories.numbers(product_id, RJ) == factories.numbers(product_id, SP) == (9, 0, 0)


@pytest.mark.parametrize("end", [verbs.expire, unpaid])
@pytest.mark.parametrize("case", ["more", "what is gone already", "elsewhere", "another product"])
def test_of_what_has_ended_no_more_is_called_off_than_it_had(case: str, end: verbs.Ending) -> None:
    product_id, held = of_two_lines()
    verbs.call_off(held.order_id, Item(product_id, 1, SP), reference="before")
    end(held)
    verbs.call_off(held.order_id, Item(product_id, 1, SP), reference="after")
    item = {
        "more": Item(product_id, 4),
        "what is gone already": Item(product_id, 1, SP),
        "elsewhere": Item(product_id, 1, "wh-pr-001"),
        "another product": Item(uuid4(), 1),
    }[case]
    with records.no_trace(), pytest.raises(ExceedsReservation):
        verbs.call_off(held.order_id, item, reference="late")


@pytest.mark.parametrize("end", [verbs.expire, unpaid])
def test_once_all_of_what_has_ended_is_called_off_a_payment_is_refused(end: verbs.Ending) -> None:
    product_id, held = of_two_lines()
    end(held)
    verbs.call_off(held.order_id, Item(product_id, 5))
    with records.no_trace(), pytest.raises(ReservationCancelled):
        verbs.pay(held.order_id)


@pytest.mark.parametrize(("end", "code"), [(verbs.expire, "reservation_expired"), (unpaid, "reservation_cancelled")])
def test_a_part_of_what_is_called_off_already_is_refused(end: verbs.Ending, code: str) -> None:
    product_id, held = of_two_lines()
    end(held)
    request = CallOff(
        order_id=held.order_id,
        items=(Item(product_id, 1),),
        reason="cancelled",
        reference="late",
        is_revivable=False,
        actor=ACTOR,
    )
    with records.no_trace(), pytest.raises(Conflict) as refusal:
        lifecycle.one(verbs.call_off_many, request)
    assert refusal.value.code == code


# --- what becomes of the rest --------------------------------------------------------------------------------------


def in_part() -> tuple[UUID, Hold]:
    """The same two lines, of 3 and 2 units, less 2 of the first and the whole second."""
    product_id, held = of_two_lines()
    verbs.call_off(held.order_id, Item(product_id, 2, RJ), Item(product_id, 2, SP), reference="part")
    return product_id, held


def test_the_rest_is_confirmed_and_nothing_else_is_released() -> None:
    product_id, held = in_part()
    start = records.last_event()
    verbs.confirm(held)
    assert verbs.lines(held) == [(RJ, 3, 1, 2, 0), (SP, 2, 0, 2, 0)]
    assert factories.numbers(product_id, RJ) == (9, 0, 0)
    assert factories.numbers(product_id, SP) == (10, 0, 0)
    assert records.event_types(after=start) == ["inventory.confirmed"]
    verbs.give_back(held)
    assert (verbs.status(held), factories.numbers(product_id, RJ)) == (("CONFIRMED", False), (10, 0, 0))


def test_no_more_than_the_rest_is_confirmed() -> None:
    product_id, held = of_two_lines()
    verbs.call_off(held.order_id, Item(product_id, 2, RJ), reference="part")
    with records.no_trace(), pytest.raises(ExceedsReservation):
        verbs.confirm(held, Item(product_id, 2, RJ))
    start = records.last_event()
    verbs.confirm(held, Item(product_id, 2))
    assert verbs.lines(held) == [(RJ, 3, 1, 2, 0), (SP, 2, 1, 1, 0)]
    assert records.event_types(after=start) == ["inventory.confirmed", "inventory.released"]
    assert records.events(after=start)[1] == released(held, "partial", (SP, 1))
    assert (factories.numbers(product_id, RJ), factories.numbers(product_id, SP)) == ((9, 0, 0), (9, 0, 0))


@pytest.mark.parametrize(
    ("end", "status", "reason"), [(verbs.cancel, "CANCELLED", "cancelled"), (verbs.expire, "EXPIRED", "expired")]
)
def test_the_rest_is_released_at_the_end(end: verbs.Ending, status: str, reason: str) -> None:
    product_id, held = in_part()
    start = records.last_event()
    end(held)
    assert verbs.status(held) == (status, False)
    assert verbs.lines(held) == [(RJ, 3, 0, 3, 0), (SP, 2, 0, 2, 0)]
    assert records.events(after=start) == [released(held, reason, (RJ, 1))]
    assert factories.numbers(product_id, RJ) == factories.numbers(product_id, SP) == (10, 0, 0)


def test_the_order_is_the_same_by_what_it_asked_for_at_first() -> None:
    product_id, held = in_part()
    with records.no_trace():
        assert verbs.reserve(reserve_request(product_id, 5, order_id=held.order_id)).is_replay is True
        with pytest.raises(Conflict) as refusal:
            verbs.reserve(reserve_request(product_id, 1, order_id=held.order_id))
    assert refusal.value.code == "order_conflict"


def test_confirmed_goods_come_back_in_parts_under_references_of_their_own() -> None:
    product_id, held = of_two_lines()
    verbs.confirm(held)
    start = records.last_event()
    verbs.call_off(held.order_id, Item(product_id, 1, SP), reference="first")
    assert verbs.status(held) == ("CONFIRMED", True)
    verbs.call_off(held.order_id, Item(product_id, 4), reference="second")
    assert verbs.status(held) == ("CONFIRMED", False)
    assert verbs.lines(held) == [(RJ, 3, 3, 0, 3), (SP, 2, 2, 0, 2)]
    assert records.events(after=start) == [
        released(held, "returned", (SP, 1), reference="first"),
        released(held, "returned", (RJ, 3), (SP, 1), reference="second"),
    ]
    with records.no_trace():
        assert verbs.call_off(held.order_id, Item(product_id, 1), reference="first").is_replay is True
        with pytest.raises(ExceedsReservation):
            verbs.call_off(held.order_id, Item(product_id, 1), reference="third")


# --- many at once --------------------------------------------------------------------------------------------------


def test_a_batch_frees_each_part_once_and_requests_for_one_order_see_each_other() -> None:
    product_id, held = of_two_lines()
    _, sold = of_two_lines()
    verbs.confirm(sold)

    def request(order_id: UUID, reference: str, *items: Item) -> CallOff:
        return CallOff(order_id=order_id, items=items or None, reason="cancelled", reference=reference, actor=ACTOR)

    requests = [
        request(held.order_id, "a", Item(product_id, 1)),
        request(held.order_id, "a", Item(product_id, 1)),
        request(held.order_id, "a", Item(product_id, 2)),
        request(held.order_id, "b", Item(product_id, 5)),
        request(held.order_id, "c", Item(product_id, 4)),
        request(held.order_id, "d"),
        request(sold.order_id, "a"),
        request(sold.order_id, "a"),
        request(sold.order_id, "b"),
        request(uuid4(), "a"),
    ]
    assert verbs.codes(verbs.call_off_many, *requests) == [
        "new",
        "replay",
        "reference_conflict",
        "exceeds_reservation",
        "new",
        "replay",
        "new",
        "replay",
        "replay",
        "not_found",
    ]
    assert verbs.status(held) == ("CANCELLED", False)
    assert factories.numbers(product_id, RJ) == factories.numbers(product_id, SP) == (10, 0, 0)


def test_an_order_that_is_reserved_anew_meanwhile_is_asked_for_once_more() -> None:
    product_id, held = of_two_lines()
    again = reserve_request(product_id, 1, order_id=held.order_id)
    with verbs.reserved_anew_meanwhile(held, again), pytest.raises(OrderChanged) as refusal:
        verbs.call_off(held.order_id)
    assert refusal.value.code == "overloaded"
    assert list(Reservation.objects.filter(order_id=held.order_id).order_by("id").values_list("status", flat=True)) == [
        "CANCELLED",
        "ACTIVE",
    ]
    assert verbs.call_off(held.order_id).hold.id != held.id
    assert not Reservation.objects.filter(is_live=True).exists()


def test_control_without_the_second_look_the_new_reservation_outlives_its_order() -> None:
    product_id, held = of_two_lines()
    again = reserve_request(product_id, 1, order_id=held.order_id)
    with verbs.reserved_anew_meanwhile(held, again), verbs.with_one_look_for_current():
        assert verbs.call_off(held.order_id).is_replay is True
    assert Reservation.objects.get(is_live=True).order_id == held.order_id
