"""What another session keeps locked: whoever needs it leaves the batch, and the others are decided."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from inventory_project.foundation import batches, bulkhead
from inventory_project.foundation.bulkhead import Obstacles
from inventory_project.foundation.errors import Refusal
from inventory_project.foundation.failures import KeptWaiting
from inventory_project.foundation.messaging import inbox
from reservations import lifecycle, reserving
from reservations.holds import Hold
from reservations.obstacles import of_reserve
from reservations.requests import Cancel, Confirm, Expire, Extend, Pay, Return
from stock import ledger
from tests import factories
from tests.db.reservations import verbs
from tests.db.reservations.test_orders import answers, created, message
from tests.factories import ACTOR, RJ, SP, reserve_request
from tests.processes import wait_until

pytestmark = pytest.mark.usefixtures("books", "obstacles")

LEVELS_OF = "SELECT 1 FROM stock_level WHERE product_id = %s FOR UPDATE"
RESERVATION = "SELECT 1 FROM reservation WHERE id = %s FOR UPDATE"
LOCKS = {"its row": lambda held: (RESERVATION, held.id), "a level": lambda held: (LEVELS_OF, held.lines[0].product_id)}
VERBS: dict[str, Callable[[Sequence[Hold]], list[Any]]] = {
    "confirm": lambda all_: lifecycle.confirm_many([Confirm(reservation_id=held.id, actor=ACTOR) for held in all_]),
    "cancel": lambda all_: lifecycle.cancel_many([Cancel(reservation_id=held.id, actor=ACTOR) for held in all_]),
    "expire": lambda all_: lifecycle.expire_many(
        [Expire(reservation_id=held.id, only_if_due=False, actor=ACTOR) for held in all_]
    ),
    "extend": lambda all_: lifecycle.extend_many(
        [Extend(reservation_id=held.id, minutes=1, reference="more", actor=ACTOR) for held in all_]
    ),
    "pay": lambda all_: lifecycle.pay_many([Pay(order_id=held.order_id, actor=ACTOR) for held in all_]),
}


@pytest.fixture
def obstacles(monkeypatch: pytest.MonkeyPatch) -> Obstacles:
    """The memory of a process that has just begun, which waits a tenth of a second for a lock."""
    made = Obstacles()
    monkeypatch.setattr(bulkhead, "obstacles", made)
    monkeypatch.setattr(bulkhead, "MAX_WAIT_MS", 100)
    monkeypatch.setattr(bulkhead, "KEPT_SECONDS", 0.1)
    return made


WAITING = (
    "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
)


@contextmanager
def locked_until_somebody_waits(sql: str, *parameters: object) -> Iterator[None]:
    """Another session has these rows, as any sale has them for a moment, and ends once this one waits for them."""
    with verbs.another_session() as cursor, verbs.another_session() as observer, ThreadPoolExecutor(1) as thread:
        cursor.execute("BEGIN")
        cursor.execute(sql, parameters)

        def release() -> None:
            wait_until(lambda: observer.execute(WAITING).fetchone() == (True,))
            cursor.execute("ROLLBACK")

        end = thread.submit(release)
        yield
        end.result()


@contextmanager
def waiting_for_ever() -> Iterator[None]:
    """From here on a batch would wait for a lock until the statement's limit of five seconds fails it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulkhead, "MAX_WAIT_MS", 0)
        yield


def kept(outcomes: Sequence[object]) -> list[bool]:
    """Which were refused because of a lock; no other refusal is expected."""
    for outcome in outcomes:
        assert isinstance(outcome, KeptWaiting) or not isinstance(outcome, Refusal)
    return [isinstance(outcome, KeptWaiting) for outcome in outcomes]


def test_buyers_of_a_locked_product_leave_the_batch_and_the_others_are_served() -> None:
    stuck, free = factories.product({SP: 9}).pk, factories.product({SP: 9}).pk
    requests = [reserve_request(product_id) for product_id in (free, stuck, free, stuck)]
    with verbs.locked(LEVELS_OF, stuck):
        assert kept(lifecycle.reserve_many(requests)) == [False, True, False, True]
    assert (factories.numbers(free), factories.numbers(stuck)) == ((7, 2, 0), (9, 0, 0))
    assert verbs.codes(lifecycle.reserve_many, *requests) == ["replay", "new", "replay", "new"]


def test_nobody_waits_a_second_time_for_what_was_found_locked() -> None:
    stuck, free = factories.product({SP: 9}).pk, factories.product({SP: 9}).pk
    with verbs.locked(LEVELS_OF, stuck):
        assert kept(lifecycle.reserve_many([reserve_request(free), reserve_request(stuck)])) == [False, True]
        with waiting_for_ever():
            assert kept(lifecycle.reserve_many([reserve_request(stuck), reserve_request(free)])) == [True, False]


def test_control_without_the_memory_the_next_batch_waits_for_the_same_row(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, free = factories.product({SP: 9}).pk, factories.product({SP: 9}).pk
    with verbs.locked(LEVELS_OF, stuck):
        lifecycle.reserve_many([reserve_request(free), reserve_request(stuck)])
        monkeypatch.setattr(bulkhead, "obstacles", Obstacles())
        with waiting_for_ever(), pytest.raises(Refusal, match="too busy"):
            lifecycle.reserve_many([reserve_request(stuck), reserve_request(free)])


def test_what_is_free_again_is_sold_at_once_and_no_longer_asked_for(obstacles: Obstacles) -> None:
    stuck = factories.product({SP: 9}).pk
    with verbs.locked(LEVELS_OF, stuck):
        assert kept(lifecycle.reserve_many([reserve_request(stuck)])) == [True]
        assert obstacles
    assert kept(lifecycle.reserve_many([reserve_request(stuck)])) == [False]
    assert not obstacles


def test_what_changes_hands_is_not_kept_and_is_worth_the_wait(obstacles: Obstacles) -> None:
    hot = factories.product({SP: 9}).pk
    with verbs.locked(LEVELS_OF, hot):
        assert kept(lifecycle.reserve_many([reserve_request(hot)])) == [True]
    with locked_until_somebody_waits(LEVELS_OF, hot):
        assert kept(lifecycle.reserve_many([reserve_request(hot)])) == [False]
    assert not obstacles


@pytest.mark.parametrize("is_one_by_one", [False, True])
def test_a_batch_that_lost_its_patience_with_many_others_goes_on(
    monkeypatch: pytest.MonkeyPatch, is_one_by_one: bool
) -> None:
    hot = factories.product({SP: 9}).pk
    holders = iter(range(1, 100))  # another one at each look
    monkeypatch.setattr(
        ledger, "look_at_products", lambda product_ids: {(id_, SP): next(holders) for id_ in product_ids}
    )
    refused_once = iter([KeptWaiting("for too long")])

    def work(requests: Sequence[Any]) -> list[Any]:
        if is_one_by_one and len(requests) > 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
        for refusal in refused_once:
            raise refusal
        return list(reserving.reserve(requests))

    assert kept(batches.run(work, [reserve_request(hot), reserve_request(hot)], look=of_reserve)) == [False, False]


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_a_locked_hold_leaves_the_batch_and_its_neighbours_are_decided(
    verb: Callable[[Sequence[Hold]], list[Any]], lock: Callable[[Hold], tuple[str, Any]]
) -> None:
    first, stuck, last = (factories.hold(factories.product({SP: 5}).pk, 2) for _ in range(3))
    sql, parameter = lock(stuck)
    with verbs.locked(sql, parameter):
        assert kept(verb([first, stuck, last])) == [False, True, False]
        assert verbs.status(stuck) == ("ACTIVE", True)
        with waiting_for_ever():
            assert kept(verb([stuck])) == [True]
    assert kept(verb([stuck])) == [False]


def test_a_locked_purchase_leaves_a_batch_of_returns() -> None:
    stuck, free = (factories.hold(factories.product({SP: 5}).pk, 2) for _ in range(2))
    verbs.confirm(stuck)
    verbs.confirm(free)
    requests = [Return(reservation_id=held.id, reference="r", actor=ACTOR) for held in (stuck, free)]
    with verbs.locked(RESERVATION, stuck.id):
        assert kept(lifecycle.return_many(requests)) == [True, False]


def test_a_payment_waits_for_a_level_where_its_expired_order_could_be_served_instead() -> None:
    product = factories.product({SP: 5, RJ: 5}).pk
    held = factories.hold(product, 2, SP)
    verbs.expire(held)
    with verbs.locked("SELECT 1 FROM stock_level WHERE product_id = %s AND warehouse_id = %s FOR UPDATE", product, RJ):
        assert kept(lifecycle.pay_many([Pay(order_id=held.order_id, actor=ACTOR)])) == [True]
    assert verbs.pay(held.order_id).hold.status == "CONFIRMED"


@pytest.mark.parametrize("type_", ["order.created", "payment.confirmed", "payment.failed", "order.cancelled"])
def test_messages_about_what_is_locked_leave_the_batch(type_: str) -> None:
    stuck, free = factories.product({SP: 9}).pk, factories.product({SP: 9}).pk
    is_new = type_ == "order.created"
    orders = [uuid4() if is_new else created(product) for product in (free, stuck, free)]
    products = (free, stuck, free)
    batch = [
        message(type_, order_id, {product: 1} if is_new else None)
        for order_id, product in zip(orders, products, strict=True)
    ]
    with verbs.locked(LEVELS_OF, stuck):
        assert kept(answers(*batch)) == [False, True, False]
    assert kept(answers(batch[1])) == [False]


def test_a_message_whose_order_another_consumer_is_at_leaves_the_batch() -> None:
    product = factories.product({SP: 9}).pk
    stuck, free = uuid4(), uuid4()
    batch = [message("order.created", order_id, {product: 1}) for order_id in (stuck, free)]
    with verbs.locked("SELECT pg_advisory_xact_lock(%s, %s)", 0x0DE2, inbox._lock_key(stuck)):
        assert kept(answers(*batch)) == [True, False]


def test_a_batch_that_fails_otherwise_is_decided_one_by_one_without_waiting_for_the_same_row_again() -> None:
    stuck, free = factories.product({SP: 9}).pk, factories.product({SP: 9}).pk

    def work(requests: Sequence[Any]) -> list[Any]:
        outcomes = reserving.reserve(requests)
        if len(requests) > 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
        return list(outcomes)

    requests = [reserve_request(stuck), reserve_request(free), reserve_request(stuck), reserve_request(free)]
    first = [reserve_request(free), reserve_request(free)]
    assert kept(batches.run(work, first, look=of_reserve)) == [False, False]
    with verbs.locked(LEVELS_OF, stuck):
        assert kept(batches.run(work, requests, look=of_reserve)) == [True, False, True, False]
