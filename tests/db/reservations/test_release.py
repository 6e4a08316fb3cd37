"""Cancelling and expiring: units come back once, and a hold that went another way is left alone."""

from uuid import uuid4

import pytest

from inventory_project.foundation.errors import Conflict, NotFound
from reservations import lifecycle
from reservations.lifecycle import Sweep
from reservations.models import Reservation
from reservations.requests import Cancel, Expire, ReservationActive
from stock.models import StockMovement
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, RJ, SP

pytestmark = pytest.mark.usefixtures("books")


@pytest.mark.parametrize(
    ("end", "status", "reason"), [(verbs.cancel, "CANCELLED", "cancelled"), (verbs.expire, "EXPIRED", "expired")]
)
def test_a_released_hold_gives_back_every_unit_where_it_was(end: verbs.Ending, status: str, reason: str) -> None:
    product = factories.product({SP: 3, RJ: 3})
    held = factories.hold(product.pk, 5)
    answer = end(held)
    assert answer.is_replay is False
    assert verbs.status(held) == (status, False)
    assert Reservation.objects.get().settled_at == answer.hold.settled_at is not None
    assert factories.numbers(product.pk, SP) == factories.numbers(product.pk, RJ) == (3, 0, 0)
    assert sorted(line[1:] for line in verbs.lines(held)) == [(2, 0, 2, 0), (3, 0, 3, 0)]
    assert list(StockMovement.objects.filter(kind="RELEASE").values_list("reason", "actor").distinct()) == [
        (reason, ACTOR)
    ]


@pytest.mark.parametrize("end", [verbs.cancel, verbs.expire])
def test_releasing_again_answers_the_same(end: verbs.Ending) -> None:
    product = factories.product({SP: 3})
    held = factories.hold(product.pk, 2)
    settled_at = end(held).hold.settled_at
    with records.no_trace():
        again = end(held)
    assert (again.is_replay, again.hold.settled_at) == (True, settled_at)


@pytest.mark.parametrize(
    ("first", "then", "code"),
    [
        (verbs.cancel, verbs.expire, "reservation_cancelled"),
        (verbs.expire, verbs.cancel, "reservation_expired"),
        (verbs.confirm, verbs.cancel, "reservation_confirmed"),
        (verbs.confirm, verbs.expire, "reservation_confirmed"),
    ],
)
def test_a_hold_that_went_another_way_is_left_alone(first: verbs.Ending, then: verbs.Ending, code: str) -> None:
    product = factories.product({SP: 3})
    held = factories.hold(product.pk, 2)
    first(held)
    with records.no_trace(), pytest.raises(Conflict) as refusal:
        then(held)
    assert refusal.value.code == code


def test_a_hold_past_its_time_may_still_be_cancelled() -> None:
    product = factories.product({SP: 3})
    held = factories.hold(product.pk, 2)
    factories.make_overdue(held)
    verbs.cancel(held)
    assert verbs.status(held) == ("CANCELLED", False)


def test_a_hold_that_still_has_time_is_expired_only_when_somebody_insists() -> None:
    product = factories.product({SP: 3})
    held = factories.hold(product.pk, 2)
    with records.no_trace(), pytest.raises(ReservationActive) as refusal:
        verbs.expire(held, only_if_due=True)
    assert refusal.value.code == "reservation_active"
    verbs.expire(held, only_if_due=False)
    assert verbs.status(held) == ("EXPIRED", False)


def test_what_does_not_exist_is_not_found() -> None:
    with records.no_trace():
        with pytest.raises(NotFound):
            lifecycle.one(lifecycle.cancel_many, Cancel(reservation_id=uuid4(), actor=ACTOR))
        with pytest.raises(NotFound):
            lifecycle.one(lifecycle.expire_many, Expire(reservation_id=uuid4(), only_if_due=False, actor=ACTOR))


def test_a_batch_releases_a_hold_once_though_it_names_it_twice() -> None:
    product = factories.product({SP: 9})
    first, second = factories.hold(product.pk, 2), factories.hold(product.pk, 3)
    verbs.confirm(second)
    requests = [Cancel(reservation_id=id_, actor=ACTOR) for id_ in (first.id, second.id, uuid4(), first.id)]
    assert verbs.codes(lifecycle.cancel_many, *requests) == ["new", "reservation_confirmed", "not_found", "replay"]
    assert factories.numbers(product.pk) == (6, 0, 0)


def test_the_sweep_releases_all_that_is_overdue_in_batches_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "SWEEP_LIMIT", 2)
    product = factories.product({SP: 20})
    overdue = [factories.hold(product.pk, 2) for _ in range(5)]
    current, confirmed = factories.hold(product.pk, 1), factories.hold(product.pk, 3)
    verbs.confirm(confirmed)
    for held in (*overdue, confirmed):
        factories.make_overdue(held)
    assert lifecycle.sweep() == Sweep(released=5, left_behind=0)
    assert {verbs.status(held) for held in overdue} == {("EXPIRED", False)}
    assert verbs.status(current) == ("ACTIVE", True)
    assert verbs.status(confirmed) == ("CONFIRMED", True)
    assert factories.numbers(product.pk) == (16, 1, 0)
    with records.no_trace():
        assert lifecycle.sweep() == Sweep(released=0, left_behind=0)


def test_the_longest_overdue_are_released_first() -> None:
    product = factories.product({SP: 5})
    later, earlier = factories.hold(product.pk), factories.hold(product.pk)
    factories.make_overdue(later)
    factories.make_overdue(earlier)
    verbs.age(earlier, minutes=5)
    assert lifecycle.sweep(size=1, should_stop=lambda: True) == Sweep(released=1, left_behind=1)
    assert verbs.status(earlier) == ("EXPIRED", False)
    assert verbs.status(later) == ("ACTIVE", True)
