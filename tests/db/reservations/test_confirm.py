"""Confirming: whole, in part, twice, too late."""

from uuid import uuid4

import pytest

from inventory_project.foundation.errors import Conflict, Invalid, NotFound
from reservations import lifecycle
from reservations.models import Reservation
from reservations.requests import Confirm, ExceedsReservation, Item, ReservationConfirmed, ReservationExpired, Reserve
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, RJ, SP

pytestmark = pytest.mark.usefixtures("books")


def test_a_confirmed_hold_has_left_the_stock_for_good() -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 2)
    answer = verbs.confirm(held)
    assert answer.is_replay is False
    assert answer.hold.settled_at is not None
    assert verbs.status(held) == ("CONFIRMED", True)
    assert Reservation.objects.get().settled_at == answer.hold.settled_at
    assert verbs.lines(held) == [(SP, 2, 2, 0, 0)]
    assert factories.numbers(product.pk) == (3, 0, 0)
    assert records.movements(product.pk)[1:] == [("RESERVE", SP, -2, 2, ""), ("CONFIRM", SP, 0, -2, "")]


@pytest.mark.parametrize("is_named", [True, False])
def test_confirming_again_answers_the_same(is_named: bool) -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 2)
    settled_at = verbs.confirm(held).hold.settled_at
    with records.no_trace():
        again = verbs.confirm(held, *([Item(product.pk, 1), Item(product.pk, 1, SP)] if is_named else []))
    assert again.is_replay is True
    assert (again.hold.status, again.hold.settled_at) == ("CONFIRMED", settled_at)


def test_a_part_is_confirmed_and_the_rest_released() -> None:
    first, second = factories.product({SP: 5}), factories.product({SP: 5})
    order = Reserve(order_id=uuid4(), items=(Item(first.pk, 3), Item(second.pk, 2)), actor=ACTOR)
    held = verbs.reserve(order).hold
    answer = verbs.confirm(held, Item(first.pk, 2))
    assert verbs.status(held) == ("CONFIRMED", True)
    assert {line.product_id: (line.quantity, line.confirmed, line.released) for line in answer.hold.lines} == {
        first.pk: (3, 2, 1),
        second.pk: (2, 0, 2),
    }
    assert factories.numbers(first.pk) == (3, 0, 0)
    assert factories.numbers(second.pk) == (5, 0, 0)
    assert records.movements(first.pk)[2:] == [("CONFIRM", SP, 0, -2, ""), ("RELEASE", SP, 1, -1, "")]
    assert records.movements(second.pk)[2:] == [("RELEASE", SP, 2, -2, "")]


def test_a_part_fills_the_lines_in_the_order_of_their_ids_after_those_named() -> None:
    product = factories.product({RJ: 3, SP: 3})
    held = factories.hold(product.pk, 6)
    assert verbs.lines(held) == [(RJ, 3, 0, 0, 0), (SP, 3, 0, 0, 0)]
    verbs.confirm(held, Item(product.pk, 3), Item(product.pk, 1, RJ))
    assert verbs.lines(held) == [(RJ, 3, 3, 0, 0), (SP, 3, 1, 2, 0)]
    assert factories.numbers(product.pk, RJ) == (0, 0, 0)
    assert factories.numbers(product.pk, SP) == (2, 0, 0)


def test_a_part_confirmed_again_is_answered_and_another_part_refused() -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 3)
    verbs.confirm(held, Item(product.pk, 2))
    with records.no_trace():
        for items in ([], [Item(product.pk, 2)], [Item(product.pk, 1), Item(product.pk, 1, SP)]):
            assert verbs.confirm(held, *items).is_replay is True
        for item in (Item(product.pk, 3), Item(product.pk, 1), Item(uuid4(), 2)):
            with pytest.raises(ReservationConfirmed) as refusal:
                verbs.confirm(held, item)
            assert refusal.value.code == "reservation_confirmed"


@pytest.mark.parametrize("case", ["more", "in two lines", "elsewhere", "another product"])
def test_more_than_is_held_cannot_be_confirmed(case: str) -> None:
    product, other = factories.product({SP: 5, RJ: 5}), factories.product({SP: 5})
    held = factories.hold(product.pk, 3, SP)
    items = {
        "more": (Item(product.pk, 4),),
        "in two lines": (Item(product.pk, 2), Item(product.pk, 2, SP)),
        "elsewhere": (Item(product.pk, 1, RJ),),
        "another product": (Item(product.pk, 1), Item(other.pk, 1)),
    }
    with records.no_trace(), pytest.raises(ExceedsReservation) as refusal:
        verbs.confirm(held, *items[case])
    assert refusal.value.code == "exceeds_reservation"
    assert refusal.value.extra == {"product_id": str((other if case == "another product" else product).pk)}


def test_past_its_time_a_hold_cannot_be_confirmed_though_nobody_has_released_it() -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 2)
    factories.make_overdue(held)
    with records.no_trace(), pytest.raises(ReservationExpired) as refusal:
        verbs.confirm(held)
    assert refusal.value.code == "reservation_expired"
    assert verbs.status(held) == ("ACTIVE", True)


@pytest.mark.parametrize(
    ("end", "code"), [(verbs.cancel, "reservation_cancelled"), (verbs.expire, "reservation_expired")]
)
def test_a_released_hold_cannot_be_confirmed(end: verbs.Ending, code: str) -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 2)
    end(held)
    with records.no_trace(), pytest.raises(Conflict) as refusal:
        verbs.confirm(held)
    assert refusal.value.code == code


def test_what_does_not_exist_is_not_found() -> None:
    request = Confirm(reservation_id=uuid4(), actor=ACTOR)
    with records.no_trace(), pytest.raises(NotFound):
        lifecycle.one(lifecycle.confirm_many, request)


def test_a_batch_confirms_what_it_can_and_requests_for_one_hold_see_each_other() -> None:
    product = factories.product({SP: 9})
    whole, part, cancelled, overdue = (factories.hold(product.pk, 2) for _ in range(4))
    verbs.cancel(cancelled)
    factories.make_overdue(overdue)
    requests = [
        Confirm(reservation_id=whole.id, actor=ACTOR),
        Confirm(reservation_id=part.id, items=(Item(product.pk, 1),), actor=ACTOR),
        Confirm(reservation_id=whole.id, actor=ACTOR),
        Confirm(reservation_id=part.id, items=(Item(product.pk, 2),), actor=ACTOR),
        Confirm(reservation_id=cancelled.id, actor=ACTOR),
        Confirm(reservation_id=overdue.id, actor=ACTOR),
        Confirm(reservation_id=uuid4(), actor=ACTOR),
    ]
    assert verbs.codes(lifecycle.confirm_many, *requests) == [
        "new",
        "new",
        "replay",
        "reservation_confirmed",
        "reservation_cancelled",
        "reservation_expired",
        "not_found",
    ]
    assert factories.numbers(product.pk) == (4, 2, 0)


@pytest.mark.parametrize("quantity", [0, -1])
def test_a_part_of_less_than_one_unit_makes_no_sense(quantity: int) -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 2)
    with records.no_trace(), pytest.raises(Invalid):
        verbs.confirm(held, Item(product.pk, quantity))
