"""Sixty-four buyers, twenty-four units."""

from collections import Counter
from functools import partial

from reservations.requests import Outcome
from stock.models import Product, StockLevel
from tests import factories
from tests.integration.races import contestants, guards
from tests.processes import Crowd, Guard

UNITS, BUYERS, ROUNDS = 24, 64, 20
NEVER_NEGATIVE = (StockLevel, "stock_level_never_promises_what_it_lacks")
DELAY = partial(guards.delay, "reserve.after_lock", 0.002)
UNLOCKED = partial(guards.without_row_locks, StockLevel)


def sell(crowd: Crowd, product: Product, *without: Guard) -> Counter[str]:
    """How many buyers of one unit each got it, and what the others were told."""
    calls = [partial(contestants.reserve, factories.reserve_request(product.pk)) for _ in range(BUYERS)]
    answers = crowd.race(calls, within=[DELAY, *without])
    return Counter("granted" if isinstance(answer, Outcome) else answer.code for answer in answers)


def refused_by_the_database(crowd: Crowd) -> float:
    """Batches that a constraint has failed so far; the buyers' orders differ, so it can only be the CHECK."""
    seen: list[float] = crowd.each(contestants.failed_batches)
    return sum(seen)


def test_64_buyers_in_4_processes_get_exactly_the_24_units_there_are_20_times(audited_crowd: Crowd) -> None:
    before = refused_by_the_database(audited_crowd)
    for _ in range(ROUNDS):
        product = factories.product({factories.SP: UNITS})
        assert sell(audited_crowd, product) == {"granted": UNITS, "insufficient_stock": BUYERS - UNITS}
        assert factories.numbers(product.pk) == (0, UNITS, 0)
    assert refused_by_the_database(audited_crowd) == before


def test_control_without_lock_and_check_they_get_more_than_there_is(crowd: Crowd) -> None:
    with guards.without_constraints(NEVER_NEGATIVE, guards.ONE_NUMBER):
        product = factories.product({factories.SP: UNITS})
        sold = sell(crowd, product, UNLOCKED)["granted"]
        assert sold > UNITS
        assert factories.numbers(product.pk) == (UNITS - sold, sold, 0)
        assert [name.partition(":")[0] for name in factories.broken_invariants()] == ["I1", "I13"]


def test_control_without_lock_and_numbers_the_check_refuses_what_would_oversell(crowd: Crowd) -> None:
    before = refused_by_the_database(crowd)
    with guards.without_constraints(guards.ONE_NUMBER):
        product = factories.product({factories.SP: UNITS})
        assert sell(crowd, product, UNLOCKED) == {"granted": UNITS, "insufficient_stock": BUYERS - UNITS}
        assert refused_by_the_database(crowd) > before
        assert [name.partition(":")[0] for name in factories.broken_invariants()] == ["I13"]


def test_control_without_lock_and_check_the_numbers_refuse_what_would_oversell(crowd: Crowd) -> None:
    before = refused_by_the_database(crowd)
    with guards.without_constraints(NEVER_NEGATIVE):
        product = factories.product({factories.SP: UNITS})
        sold = sell(crowd, product, UNLOCKED)["granted"]
        assert 0 < sold <= UNITS
        assert refused_by_the_database(crowd) > before
        assert factories.broken_invariants() == []
