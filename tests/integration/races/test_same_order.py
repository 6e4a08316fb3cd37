"""The same order many times at once: a client that repeats itself, or two that quarrel over one order."""

from collections import Counter
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from reservations.models import Reservation
from reservations.requests import Outcome
from tests import factories
from tests.integration.races import contestants, guards
from tests.processes import Crowd, Guard

TIMES, ROUNDS = 32, 5
ONE_LIVE = (Reservation, "reservation_is_the_only_live_one_of_its_order")
DELAY = partial(guards.delay, "reserve.after_lock", 0.002)
DELAY_AFTER_LOOK_UP = partial(guards.delay, "reserve.before_commit", 0.005)


def reserve_at_once(crowd: Crowd, order_id: UUID, *without: Guard) -> list[Any]:
    """What the callers are told who all want the same for the order."""
    product = factories.product({factories.SP: 100})
    request = factories.reserve_request(product.pk, 2, order_id=order_id)
    return crowd.race([partial(contestants.reserve, request)] * TIMES, within=[DELAY, *without])


def quarrel_at_once(crowd: Crowd, order_id: UUID) -> list[Any]:
    """What the callers are told of whom half want one product for the order, and half another."""
    products = [factories.product({factories.SP: 100}) for _ in range(2)]
    requests = [factories.reserve_request(product.pk, order_id=order_id) for product in products]
    return crowd.race(
        [partial(contestants.reserve, requests[i % 2]) for i in range(TIMES)], within=[DELAY_AFTER_LOOK_UP]
    )


def live_ids(order_id: UUID) -> list[UUID]:
    return list(Reservation.objects.filter(order_id=order_id, is_live=True).values_list("id", flat=True))


def test_the_same_order_32_times_at_once_is_one_reservation_and_all_are_told_its_id(audited_crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        order_id = uuid4()
        answers = reserve_at_once(audited_crowd, order_id)
        assert [answer.hold.id for answer in answers] == live_ids(order_id) * TIMES
        assert sum(not answer.is_replay for answer in answers) == 1


def test_control_without_constraint_and_look_up_the_same_order_is_many_reservations(crowd: Crowd) -> None:
    with guards.without_constraints(ONE_LIVE):
        order_id = uuid4()
        reserve_at_once(crowd, order_id, guards.without_twin_look_up)
        assert len(live_ids(order_id)) == TIMES
        assert [name[:2] for name in factories.broken_invariants()] == ["I7"]


def test_of_two_contents_for_one_order_at_once_one_is_held_and_the_other_is_a_conflict(audited_crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        order_id = uuid4()
        answers = quarrel_at_once(audited_crowd, order_id)
        (held,) = live_ids(order_id)
        told = Counter(answer.hold.id if isinstance(answer, Outcome) else answer.code for answer in answers)
        assert told == {held: TIMES // 2, "order_conflict": TIMES // 2}


def test_control_without_the_constraint_both_contents_are_held(crowd: Crowd) -> None:
    with guards.without_constraints(ONE_LIVE):
        order_ids = [uuid4() for _ in range(ROUNDS)]
        for order_id in order_ids:
            quarrel_at_once(crowd, order_id)
        assert max(len(live_ids(order_id)) for order_id in order_ids) == 2
        assert [name[:2] for name in factories.broken_invariants()] == ["I7"]
