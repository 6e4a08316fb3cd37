"""One hold, and at the same moment a payment, a cancellation, and the end of its time."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from reservations.holds import Hold
from reservations.models import Reservation
from reservations.requests import Outcome
from tests import factories
from tests.integration.races import contestants, guards
from tests.processes import Crowd, Guard

ROUNDS, OTHERS = 12, 20
VERBS = (contestants.confirm, contestants.expire, contestants.cancel)
CODES = {"CONFIRMED": "reservation_confirmed", "EXPIRED": "reservation_expired", "CANCELLED": "reservation_cancelled"}
AVAILABLE_AND_RESERVED = {"CONFIRMED": (76, 20, 0), "EXPIRED": (80, 20, 0), "CANCELLED": (80, 20, 0)}
DELAY = partial(guards.delay, "settle.after_lock", 0.002)


def hold_beside_others() -> Hold:
    """A hold of 4 units; 20 more are reserved, so that `reserved` could bear being lowered twice."""
    product = factories.product({factories.SP: 100})
    factories.hold(product.pk, OTHERS)
    return factories.hold(product.pk, 4)


def settle_at_once(crowd: Crowd, hold: Hold, *without: Guard) -> list[Any]:
    """What four confirmers, four sweepers and four cancellers are told."""
    return crowd.race([partial(verb, hold.id) for verb in VERBS * 4], within=[DELAY, *without])


def settled_by(answers: Sequence[Any]) -> list[str]:
    """The states into which an answer claims to have brought the hold just now."""
    return [answer.hold.status for answer in answers if isinstance(answer, Outcome) and not answer.is_replay]


def test_confirm_against_expire_against_cancel_settles_once(audited_crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        hold = hold_beside_others()
        answers = settle_at_once(audited_crowd, hold)
        (status,) = settled_by(answers)
        told = [answer.hold.status if isinstance(answer, Outcome) else answer.code for answer in answers]
        assert sorted(told) == [status] * 4 + [CODES[status]] * 8
        assert Reservation.objects.get(pk=hold.id).status == status
        assert factories.numbers(hold.lines[0].product_id) == AVAILABLE_AND_RESERVED[status]


def test_control_without_the_reservations_lock_a_hold_is_settled_twice(crowd: Crowd) -> None:
    unlocked = partial(guards.without_row_locks, Reservation)
    races = (settle_at_once(crowd, hold_beside_others(), unlocked) for _ in range(5))  # a busy machine may see no race
    assert any(len(set(settled_by(answers))) > 1 for answers in races)
    assert {name[:2] for name in factories.broken_invariants()} >= {"I2", "I4"}
