"""Sixty-four buyers choose before they lock, among eight warehouses with twenty-four units."""

from collections import Counter
from functools import partial

from reservations.requests import Outcome
from stock.models import Product, StockLevel
from tests import factories
from tests.integration.races import contestants, guards
from tests.processes import Crowd, Guard

PLACES = [f"wh-{number:03}" for number in range(8)]
UNITS, BUYERS, ROUNDS = 3, 64, 20  # units in each warehouse
NEVER_NEGATIVE = (StockLevel, "stock_level_never_promises_what_it_lacks")
# Between the reading and the lock, so that others buy what was chosen; and under the lock, so that others wait for it.
DELAYS = (partial(guards.delay, "reserve.before_lock", 0.002), guards.choosing_first)
UNLOCKED = partial(guards.without_row_locks, StockLevel)
UNCHECKED = guards.without_a_second_look_at_what_was_chosen


def stocked() -> Product:
    return factories.product(dict.fromkeys(PLACES, UNITS))


def sell(crowd: Crowd, product: Product, *without: Guard) -> Counter[str]:
    """How many buyers of one unit each got it, and what the others were told."""
    calls = [partial(contestants.reserve, factories.reserve_request(product.pk)) for _ in range(BUYERS)]
    answers = crowd.race(calls, within=[*DELAYS, *without])
    return Counter("granted" if isinstance(answer, Outcome) else answer.code for answer in answers)


def left(product: Product) -> set[tuple[int, int, int]]:
    return {factories.numbers(product.pk, warehouse_id) for warehouse_id in PLACES}


def failed_batches(crowd: Crowd) -> float:
    """Batches that the ledger or a constraint has failed so far, of all the crowd."""
    seen: list[float] = crowd.each(contestants.failed_batches)
    return sum(seen)


def test_64_buyers_who_choose_first_get_exactly_the_24_units_there_are_20_times(audited_crowd: Crowd) -> None:
    before = failed_batches(audited_crowd)
    for _ in range(ROUNDS):
        product = stocked()
        sold = UNITS * len(PLACES)
        assert sell(audited_crowd, product) == {"granted": sold, "insufficient_stock": BUYERS - sold}
        assert left(product) == {(0, UNITS, 0)}
    assert failed_batches(audited_crowd) == before


def test_control_without_a_second_look_the_ledger_has_to_refuse_what_would_oversell(audited_crowd: Crowd) -> None:
    before = failed_batches(audited_crowd)
    sell(audited_crowd, stocked(), UNCHECKED)
    assert failed_batches(audited_crowd) > before


def test_control_without_lock_and_check_they_get_more_than_there_is(crowd: Crowd) -> None:
    with guards.without_constraints(NEVER_NEGATIVE, guards.ONE_NUMBER):
        product = stocked()
        sold = sell(crowd, product, UNLOCKED)["granted"]
        assert sold > UNITS * len(PLACES)
        assert [name.partition(":")[0] for name in factories.broken_invariants()] == ["I1", "I13"]
