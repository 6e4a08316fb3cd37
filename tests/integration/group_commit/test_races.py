"""The contests of tests/integration/races once more, over HTTP: callers of several web processes, gathered in each."""

from collections import Counter
from uuid import UUID, uuid4

import pytest

from reservations.models import Reservation
from stock.models import StockLevel
from tests import factories
from tests.integration.group_commit import callers
from tests.integration.group_commit.conftest import Serve
from tests.integration.races import guards
from tests.service import Service

UNITS, BUYERS, ROUNDS = 24, 64, 5
NEVER_NEGATIVE = (StockLevel, "stock_level_never_promises_what_it_lacks")
CODES = {"CONFIRMED": "reservation_confirmed", "EXPIRED": "reservation_expired", "CANCELLED": "reservation_cancelled"}
AVAILABLE_AND_RESERVED = {"CONFIRMED": (76, 20, 0), "EXPIRED": (80, 20, 0), "CANCELLED": (80, 20, 0)}


def sell(service: Service, product_id: UUID) -> Counter[tuple[int, str]]:
    """What 64 buyers of one unit each are told."""
    return callers.words(callers.ask_at_once(service, [callers.reservation(product_id) for _ in range(BUYERS)]))


def test_64_buyers_at_two_web_processes_get_exactly_the_24_units_there_are(service: Service) -> None:
    for _ in range(ROUNDS):
        product = factories.product({factories.SP: UNITS})
        told = sell(service, product.pk)
        assert told == {(201, "ACTIVE"): UNITS, (409, "insufficient_stock"): BUYERS - UNITS}
        assert factories.numbers(product.pk) == (0, UNITS, 0)
        assert Reservation.objects.filter(items__product=product).count() == UNITS
    batches = service.metric('inventory_group_commit_batch_size_count{verb="reserve"}') or 0
    assert 2 * ROUNDS <= batches < BUYERS * ROUNDS / 2  # they were gathered, at each of the processes


def test_control_without_lock_and_check_the_web_processes_sell_more_than_there_is(serve: Serve) -> None:
    unlocked = "tests.integration.group_commit.unlocked"
    delay = "reserve.after_lock=sleep:0.2"
    with (
        guards.without_constraints(NEVER_NEGATIVE, guards.ONE_NUMBER),
        serve(DJANGO_SETTINGS_MODULE=unlocked, INVENTORY_CRASH_POINT=delay) as service,
    ):
        product = factories.product({factories.SP: UNITS})
        sold = sell(service, product.pk)[201, "ACTIVE"]
        assert sold > UNITS
        assert factories.numbers(product.pk) == (UNITS - sold, sold, 0)
        assert [name.partition(":")[0] for name in factories.broken_invariants()] == ["I1", "I13"]


def test_the_same_order_32_times_at_once_is_one_reservation_and_all_are_told_its_id(service: Service) -> None:
    for _ in range(ROUNDS):
        product, order_id = factories.product({factories.SP: 100}), uuid4()
        told = callers.ask_at_once(service, [callers.reservation(product.pk, order_id=order_id, quantity=2)] * 32)
        assert callers.words(told) == {(201, "ACTIVE"): 1, (200, "ACTIVE"): 31}
        assert {answer.body["id"] for answer in told} == {str(Reservation.objects.get(order_id=order_id).pk)}
        assert factories.numbers(product.pk) == (98, 2, 0)


def test_of_two_contents_for_one_order_at_once_one_is_held_and_the_other_is_a_conflict(service: Service) -> None:
    for _ in range(ROUNDS):
        products, order_id = [factories.product({factories.SP: 100}) for _ in range(2)], uuid4()
        asked = [callers.reservation(products[i % 2].pk, order_id=order_id) for i in range(32)]
        told = callers.words(callers.ask_at_once(service, asked))
        assert told == {(201, "ACTIVE"): 1, (200, "ACTIVE"): 15, (409, "order_conflict"): 16}
        assert sorted(factories.numbers(product.pk) for product in products) == [(99, 1, 0), (100, 0, 0)]


def test_confirm_against_cancel_against_expire_settles_once(service: Service) -> None:
    for _ in range(ROUNDS):
        product = factories.product({factories.SP: 100})
        factories.hold(product.pk, 20)  # so that `reserved` could bear being lowered twice
        hold = factories.hold(product.pk, 4)
        told = callers.ask_at_once(
            service, [callers.settling(verb, hold.id) for verb in ("confirm", "cancel", "expire") * 8]
        )
        status = Reservation.objects.get(pk=hold.id).status
        assert callers.words(told) == {(200, status): 8, (409, CODES[status]): 16}
        assert factories.numbers(product.pk) == AVAILABLE_AND_RESERVED[status]


@pytest.mark.parametrize(("verb", "numbers"), [("confirm", (96, 0, 0)), ("cancel", (100, 0, 0))])
def test_settling_16_times_at_once_happens_once(service: Service, verb: str, numbers: tuple[int, int, int]) -> None:
    product = factories.product({factories.SP: 100})
    hold = factories.hold(product.pk, 4)
    told = callers.ask_at_once(service, [callers.settling(verb, hold.id)] * 16)
    assert {answer.status for answer in told} == {200}
    assert len({str(answer.body) for answer in told}) == 1
    assert factories.numbers(product.pk) == numbers


def test_a_receipt_and_a_return_16_times_at_once_are_booked_once(service: Service) -> None:
    product = factories.product({factories.SP: 10})
    hold = factories.hold(product.pk, 4)
    items = [{"product_id": str(product.pk), "quantity": 5}]
    receipt = {"reference": f"receipt-{uuid4()}", "warehouse_id": factories.SP, "items": items}
    told = callers.ask_at_once(service, [callers.Asked(f"{callers.API}/receipts", receipt)] * 16)
    assert Counter(answer.status for answer in told) == {201: 1, 200: 15}

    callers.ask_at_once(service, [callers.settling("confirm", hold.id)])
    asked = callers.Asked(f"{callers.API}/reservations/{hold.id}/return", {"reference": "parcel-1"})
    assert {answer.status for answer in callers.ask_at_once(service, [asked] * 16)} == {200}
    assert factories.numbers(product.pk) == (15, 0, 0)


def test_buyers_release_what_overdue_holds_keep_and_get_no_more(service: Service) -> None:
    for _ in range(ROUNDS):
        product = factories.product({factories.SP: 4})
        for _ in range(4):
            factories.make_overdue(factories.hold(product.pk))
        told = callers.ask_at_once(service, [callers.reservation(product.pk) for _ in range(16)])
        assert callers.words(told) == {(201, "ACTIVE"): 4, (409, "insufficient_stock"): 12}
