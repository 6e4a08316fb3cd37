"""Extending: until a moment, or by minutes under a reference; never shorter, never too long."""

from datetime import timedelta
from uuid import uuid4

import pytest
from pytest_django import Settings

from inventory_project.foundation import moments
from inventory_project.foundation.errors import Conflict, NotFound
from reservations import lifecycle
from reservations.holds import Hold
from reservations.models import Reservation, ReservationExtension
from reservations.requests import Extend, ExtensionLimit, Item, ReservationExpired, Reserve, SalesBlocked
from stock import blocking
from stock.documents import ReferenceConflict
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, SP

pytestmark = pytest.mark.usefixtures("books")

TTL = 10
LIMIT = 60


@pytest.fixture(autouse=True)
def _limits(settings: Settings) -> None:
    settings.RESERVATION_EXTEND_MAX_MINUTES = LIMIT


def a_hold() -> Hold:
    return factories.hold(factories.product({SP: 5}).pk, 2, ttl_minutes=TTL)


def minutes(count: int) -> timedelta:
    return timedelta(minutes=count)


def test_a_hold_is_extended_to_a_moment_and_only_that_changes() -> None:
    held = a_hold()
    until = held.expires_at + minutes(3)
    before = records.rows()
    answer = verbs.extend(held, expires_at=until)
    assert (answer.is_replay, answer.hold.expires_at) == (False, until)
    before["reservation"][0]["expires_at"] = until
    assert records.rows() == before


@pytest.mark.parametrize("earlier", [0, 1, 30])
def test_a_moment_that_is_not_later_changes_nothing(earlier: int) -> None:
    held = a_hold()
    with records.no_trace():
        answer = verbs.extend(held, expires_at=held.expires_at - minutes(earlier))
    assert (answer.is_replay, answer.hold.expires_at) == (True, held.expires_at)


@pytest.mark.parametrize("end", [verbs.confirm, verbs.cancel, verbs.expire])
def test_an_extension_to_a_moment_is_repeated_whatever_became_of_the_hold(end: verbs.Ending) -> None:
    held = a_hold()
    until = held.expires_at + minutes(3)
    verbs.extend(held, expires_at=until)
    end(held)
    status = verbs.status(held)[0]
    with records.no_trace():
        answer = verbs.extend(held, expires_at=until)
        with pytest.raises(Conflict):
            verbs.extend(held, expires_at=until + minutes(1))
    assert (answer.is_replay, answer.hold.status, answer.hold.expires_at) == (True, status, until)


@pytest.mark.parametrize("earlier", [0, 2])
def test_an_extension_to_a_moment_is_repeated_though_sales_are_blocked_meanwhile(earlier: int) -> None:
    held = a_hold()
    until = held.expires_at + minutes(3)
    verbs.extend(held, expires_at=until)
    blocking.block_product(held.lines[0].product_id, reason="recall", actor=ACTOR)
    with records.no_trace():
        assert verbs.extend(held, expires_at=until - minutes(earlier)).is_replay is True
        with pytest.raises(SalesBlocked):
            verbs.extend(held, expires_at=until + minutes(1))


def test_a_hold_is_extended_by_minutes_once_for_a_reference() -> None:
    held = a_hold()
    answer = verbs.extend(held, minutes=3, reference="call-1")
    until = held.expires_at + minutes(3)
    assert (answer.is_replay, answer.hold.expires_at) == (False, until)
    assert Reservation.objects.get().expires_at == until
    kept = ReservationExtension.objects.get()
    assert (kept.reservation_id, kept.reference, kept.minutes, kept.expires_at, kept.actor) == (
        held.id,
        "call-1",
        3,
        until,
        ACTOR,
    )
    with records.no_trace():
        again = verbs.extend(held, minutes=3, reference="call-1")
    assert (again.is_replay, again.hold.expires_at) == (True, until)


def test_another_reference_extends_again_and_another_hold_has_references_of_its_own() -> None:
    held, other = a_hold(), a_hold()
    verbs.extend(held, minutes=3, reference="call-1")
    assert verbs.extend(held, minutes=3, reference="call-2").hold.expires_at == held.expires_at + minutes(6)
    assert verbs.extend(other, minutes=4, reference="call-1").hold.expires_at == other.expires_at + minutes(4)


def test_a_reference_with_other_minutes_is_refused() -> None:
    held = a_hold()
    verbs.extend(held, minutes=3, reference="call-1")
    with records.no_trace(), pytest.raises(ReferenceConflict) as refusal:
        verbs.extend(held, minutes=4, reference="call-1")
    assert refusal.value.code == "reference_conflict"


def test_a_replay_is_answered_though_the_limit_is_reached_and_the_hold_is_over() -> None:
    held = a_hold()
    verbs.extend(held, minutes=LIMIT - TTL, reference="call-1")
    assert verbs.extend(held, minutes=LIMIT - TTL, reference="call-1").is_replay is True
    verbs.confirm(held)
    with records.no_trace():
        assert verbs.extend(held, minutes=LIMIT - TTL, reference="call-1").hold.status == "CONFIRMED"


def test_a_hold_lasts_until_the_limit_and_not_a_moment_longer() -> None:
    held = a_hold()
    limit = held.created_at + minutes(LIMIT)
    moment = timedelta(microseconds=1)
    with records.no_trace():
        for options in (
            {"expires_at": limit + moment},
            {"minutes": LIMIT - TTL + 1, "reference": "call-1"},
        ):
            with pytest.raises(ExtensionLimit) as refusal:
                verbs.extend(held, **options)
            assert refusal.value.code == "extension_limit"
            assert refusal.value.extra == {"limit": moments.utc_text(limit)}
    assert verbs.extend(held, expires_at=limit).hold.expires_at == limit


def test_an_overdue_hold_cannot_be_extended_though_nobody_has_released_it() -> None:
    held = a_hold()
    factories.make_overdue(held)
    with records.no_trace(), pytest.raises(ReservationExpired):
        verbs.extend(held, minutes=3, reference="call-1")


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (verbs.confirm, "reservation_confirmed"),
        (verbs.cancel, "reservation_cancelled"),
        (verbs.expire, "reservation_expired"),
    ],
)
def test_a_settled_hold_cannot_be_extended(end: verbs.Ending, code: str) -> None:
    held = a_hold()
    end(held)
    with records.no_trace(), pytest.raises(Conflict) as refusal:
        verbs.extend(held, minutes=3, reference="call-1")
    assert refusal.value.code == code


def test_a_hold_on_a_blocked_product_cannot_be_extended() -> None:
    held = a_hold()
    product_id = held.lines[0].product_id
    blocking.block_product(product_id, reason="recall", actor=ACTOR)
    with records.no_trace(), pytest.raises(SalesBlocked) as refusal:
        verbs.extend(held, minutes=3, reference="call-1")
    assert refusal.value.extra == {"product_ids": [str(product_id)]}


def test_a_blocked_product_that_the_hold_has_given_up_is_no_obstacle() -> None:
    product, other = factories.product({SP: 5}), factories.product({SP: 5})
    order = Reserve(order_id=uuid4(), items=(Item(product.pk, 2), Item(other.pk, 1)), actor=ACTOR)
    held = verbs.reserve(order).hold
    blocking.block_product(other.pk, reason="recall", actor=ACTOR)
    verbs.call_off(held.order_id, Item(other.pk, 1))
    assert verbs.extend(held, minutes=3, reference="call-1").is_replay is False


def test_a_batch_extends_each_hold_once_for_each_reference() -> None:
    held = a_hold()
    requests = [
        Extend(reservation_id=held.id, minutes=3, reference="call-1", actor=ACTOR),
        Extend(reservation_id=held.id, minutes=3, reference="call-1", actor=ACTOR),
        Extend(reservation_id=held.id, minutes=4, reference="call-1", actor=ACTOR),
        Extend(reservation_id=held.id, minutes=4, reference="call-2", actor=ACTOR),
        Extend(reservation_id=uuid4(), minutes=4, reference="call-1", actor=ACTOR),
    ]
    assert verbs.codes(lifecycle.extend_many, *requests) == ["new", "replay", "reference_conflict", "new", "not_found"]
    assert Reservation.objects.get().expires_at == held.expires_at + minutes(7)


def test_what_does_not_exist_is_not_found() -> None:
    request = Extend(reservation_id=uuid4(), minutes=1, reference="call-1", actor=ACTOR)
    with records.no_trace(), pytest.raises(NotFound):
        lifecycle.one(lifecycle.extend_many, request)
