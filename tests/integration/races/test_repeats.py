"""The same thing handed in many times at once happens once: sweeps, receipts, returns, payments."""

from collections import Counter
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from inventory_project.foundation.messaging.models import OutboxEvent
from reservations import lifecycle
from reservations.holds import Hold
from reservations.models import Reservation
from reservations.requests import Confirm, Outcome
from stock import documents
from stock.models import StockDocument, StockLevel, StockMovement
from tests import factories
from tests.integration.faults import clients
from tests.integration.races import contestants, guards
from tests.processes import Crowd, Guard

TIMES, ROUNDS = 16, 4
ONE_LIVE = (Reservation, "reservation_is_the_only_live_one_of_its_order")
ONE_DOCUMENT = (StockDocument, "stock_document_has_a_reference_of_its_own")
ONE_MOVEMENT = (StockMovement, "stock_movement_of_a_line_happens_once")
ONE_EVENT = (OutboxEvent, "outbox_event_is_recorded_once_for_each_occasion")
UNLOCKED = partial(guards.without_row_locks, Reservation, StockLevel)

# --- overdue holds -------------------------------------------------------------------------------------------------


def overdue_holds(number: int) -> UUID:
    """A product with that many overdue holds of one unit, beside twice as many units that are held for longer."""
    product = factories.product({factories.SP: number * 3})
    factories.hold(product.pk, number * 2)
    for _ in range(number):
        factories.make_overdue(factories.hold(product.pk))
    return product.pk


def sweep_at_once(crowd: Crowd, *without: Guard) -> list[int]:
    """How many holds each of four sweepers says it has released."""
    delay = partial(guards.delay, "settle.before_commit", 0.02)
    return crowd.race([contestants.sweep_once] * 4, within=[delay, *without])


def test_four_sweepers_at_once_release_each_hold_once(audited_crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        product_id = overdue_holds(10)
        assert sum(sweep_at_once(audited_crowd)) == 10
        assert factories.numbers(product_id) == (10, 20, 0)


def test_control_without_locks_and_unique_movements_the_sweepers_release_twice(crowd: Crowd) -> None:
    with guards.without_constraints(ONE_MOVEMENT, ONE_EVENT, guards.ONE_NUMBER):
        product_id = overdue_holds(10)
        assert sum(sweep_at_once(crowd, UNLOCKED)) > 10
        assert factories.numbers(product_id)[0] > 10
        assert {name[:2] for name in factories.broken_invariants()} >= {"I2", "I4"}


def test_sweeps_at_once_leave_nothing_behind_and_release_each_hold_once(audited_crowd: Crowd) -> None:
    for _ in range(20):
        overdue_holds(1)
    guarded = [partial(guards.delay, "settle.before_commit", 0.05), partial(clients.sweeping_in_batches_of, 2)]

    sweeps = audited_crowd.race([lifecycle.sweep] * 4, within=guarded)

    assert sum(sweep.released for sweep in sweeps) == 20
    assert lifecycle.sweep() == lifecycle.Sweep(released=0, left_behind=0)


def buy_what_overdue_holds_keep(crowd: Crowd, *without: Guard) -> Counter[str]:
    """What 16 buyers of one unit each are told, while overdue holds keep all there is: 4 units."""
    product = factories.product({factories.SP: 4})
    for _ in range(4):
        factories.make_overdue(factories.hold(product.pk))
    calls = [partial(contestants.reserve, factories.reserve_request(product.pk)) for _ in range(TIMES)]
    answers = crowd.race(calls, within=[guards.without_the_gate, *without])
    return Counter("granted" if isinstance(answer, Outcome) else answer.code for answer in answers)


def test_without_a_sweeper_the_buyers_who_lack_stock_release_what_is_overdue(audited_crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        assert buy_what_overdue_holds_keep(audited_crowd) == {"granted": 4, "insufficient_stock": 12}


def test_control_where_buyers_release_nothing_they_all_go_without(audited_crowd: Crowd) -> None:
    told = buy_what_overdue_holds_keep(audited_crowd, guards.without_release_of_overdue)
    assert told == {"insufficient_stock": TIMES}


# --- receipts ------------------------------------------------------------------------------------------------------


def receive_at_once(crowd: Crowd, product_id: UUID, warehouse_ids: tuple[str, ...], *without: Guard) -> list[Any]:
    """What 16 clerks are told who all book 5 units under one reference, at these warehouses in turn."""
    reference = f"receipt-{uuid4()}"
    requests = [
        documents.DocumentRequest(
            kind=documents.Kind.RECEIPT,
            reference=reference,
            warehouse_id=warehouse_ids[i % len(warehouse_ids)],
            items=((product_id, 5),),
            actor=factories.ACTOR,
        )
        for i in range(TIMES)
    ]
    return crowd.race([partial(contestants.book, request) for request in requests], within=without)


def stock_of(product_id: UUID) -> int:
    return sum(StockLevel.objects.filter(product_id=product_id).values_list("available", flat=True))


def test_a_receipt_16_times_at_once_is_booked_once_also_when_it_makes_the_level(audited_crowd: Crowd) -> None:
    factories.warehouse()
    for _ in range(ROUNDS):
        product = factories.product()
        booked = receive_at_once(audited_crowd, product.pk, (factories.SP,))
        assert sorted(document.is_replay for document in booked) == [False] + [True] * 15
        assert stock_of(product.pk) == 5


def test_of_receipts_with_one_reference_at_two_warehouses_one_is_booked(audited_crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        product = factories.product({factories.SP: 1, factories.RJ: 1})
        booked = receive_at_once(audited_crowd, product.pk, (factories.SP, factories.RJ))
        told = Counter(getattr(document, "code", "booked") for document in booked)
        assert told == {"booked": 8, "reference_conflict": 8}
        assert stock_of(product.pk) == 7


def test_control_without_constraint_and_look_up_a_receipt_is_booked_16_times(crowd: Crowd) -> None:
    with guards.without_constraints(ONE_DOCUMENT):
        product = factories.product({factories.SP: 1})
        receive_at_once(crowd, product.pk, (factories.SP,), guards.without_reference_look_up)
        assert stock_of(product.pk) == 1 + 16 * 5


# --- returns -------------------------------------------------------------------------------------------------------


def sold() -> Hold:
    """Four units that were bought and paid, of ten."""
    hold = factories.hold(factories.product({factories.SP: 10}).pk, 4)
    return lifecycle.one(lifecycle.confirm_many, Confirm(reservation_id=hold.id, actor=factories.ACTOR)).hold


def return_at_once(crowd: Crowd, hold: Hold, *without: Guard) -> list[Any]:
    delay = partial(guards.delay, "settle.before_commit", 0.005)
    return crowd.race([partial(contestants.take_back, hold.id, "parcel-1")] * TIMES, within=[delay, *without])


def test_a_return_16_times_at_once_is_booked_once(audited_crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        hold = sold()
        answers = return_at_once(audited_crowd, hold)
        assert sorted(answer.is_replay for answer in answers) == [False] + [True] * 15
        assert factories.numbers(hold.lines[0].product_id) == (10, 0, 0)


def test_control_without_locks_and_unique_movements_a_return_is_booked_often(crowd: Crowd) -> None:
    with guards.without_constraints(ONE_MOVEMENT, ONE_EVENT, guards.ONE_NUMBER):
        hold = sold()
        return_at_once(crowd, hold, UNLOCKED)
        assert factories.numbers(hold.lines[0].product_id)[0] > 10
        assert {name[:2] for name in factories.broken_invariants()} >= {"I4", "I5"}


# --- payments ------------------------------------------------------------------------------------------------------


def expired_order() -> Hold:
    """A hold that has run out and was released, of a product with much stock."""
    hold = factories.hold(factories.product({factories.SP: 100}).pk, 2)
    factories.make_overdue(hold)
    assert contestants.sweep_once() == 1
    return hold


def pay_and_reserve_at_once(crowd: Crowd, expired: Hold, *without: Guard) -> list[Any]:
    """What eight late payments and eight new reservations of the same order are told."""
    again = factories.reserve_request(expired.lines[0].product_id, 2, order_id=expired.order_id)
    calls = [partial(contestants.pay, expired.order_id), partial(contestants.reserve, again)] * (TIMES // 2)
    return crowd.race(calls, within=[partial(guards.delay, "reserve.before_commit", 0.002), *without])


def live(order_id: UUID) -> list[tuple[UUID, str]]:
    return list(Reservation.objects.filter(order_id=order_id, is_live=True).values_list("id", "status"))


def test_late_payments_racing_with_new_reservations_of_the_order_end_with_one_that_is_paid(
    audited_crowd: Crowd,
) -> None:
    for _ in range(ROUNDS):
        expired = expired_order()
        answers = pay_and_reserve_at_once(audited_crowd, expired)
        ((reservation_id, status),) = live(expired.order_id)
        assert {answer.hold.id for answer in answers} == {reservation_id}
        assert status == "CONFIRMED"
        assert factories.numbers(expired.lines[0].product_id) == (98, 0, 0)


def test_control_without_constraint_and_look_up_the_order_is_sold_several_times(crowd: Crowd) -> None:
    with guards.without_constraints(ONE_LIVE):
        expired = expired_order()
        pay_and_reserve_at_once(crowd, expired, guards.without_twin_look_up)
        assert len(live(expired.order_id)) > 1
        assert [name[:2] for name in factories.broken_invariants()] == ["I7"]
