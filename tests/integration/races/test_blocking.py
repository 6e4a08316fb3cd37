"""Sales of a product are blocked while it is being sold, and while its first stock comes in."""

from functools import partial
from uuid import UUID

from django.db import connection, transaction

from reservations.models import ReservationItem
from stock import blocking
from stock.models import StockLevel
from tests import factories
from tests.integration.races import contestants, guards
from tests.processes import Crowd, Guard, wait_until

BUYERS, ROUNDS = 16, 5
DELAY = partial(guards.delay, "reserve.before_commit", 0.003)
DELAY_BEFORE_LEVEL = partial(guards.delay, "level.before_create", 0.03)


def sold(product_id: UUID) -> int:
    return ReservationItem.objects.filter(product_id=product_id).count()


def sell_and_block(crowd: Crowd, *without: Guard) -> tuple[int, int]:
    """What was sold as far as the block could see before its commit, and what was sold in the end.

    No clock is compared: the block counts inside its transaction, after its last statement and before its commit. A
    reservation that commits later than that is in the second number and not in the first; so equal numbers mean that
    none committed after the block, and that none was under way when it did.
    """
    product = factories.product({factories.SP: 100_000})
    buy = partial(contestants.reserve_until_refused, partial(factories.reserve_request, product.pk))
    crowd.begin([buy] * BUYERS, within=[DELAY, *without])
    wait_until(lambda: sold(product.pk) >= BUYERS)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '20s'")  # buyers come thick and fast, and the lock knows no queue
        blocking.block_product(product.pk, reason="a race", actor=factories.ACTOR)
        seen = sold(product.pk)
    ends = crowd.answers()
    assert {code for _, code in ends} == {"sales_blocked"}
    assert sum(granted for granted, _ in ends) == sold(product.pk)
    return seen, sold(product.pk)


def test_no_reservation_commits_after_the_block_has(audited_crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        seen, in_the_end = sell_and_block(audited_crowd)
        assert in_the_end == seen


def test_control_where_sellers_take_no_lock_some_commit_after_the_block(crowd: Crowd) -> None:
    with guards.without_constraints(guards.ONE_NUMBER):
        seen, in_the_end = sell_and_block(crowd, partial(guards.without_row_locks, StockLevel))
        assert in_the_end > seen


def first_receipts_against_a_block(crowd: Crowd, *without: Guard) -> StockLevel:
    """The level that comes into being while its product is being blocked."""
    factories.warehouse()
    product = factories.product()
    receive = partial(factories.receive, product.pk, factories.SP, 5)
    crowd.race(
        [receive] * 3 + [partial(contestants.block_soon, product.pk, seconds=0.015)],
        within=[DELAY_BEFORE_LEVEL, *without],
    )
    return StockLevel.objects.get(product=product)


def test_a_first_receipt_racing_with_a_block_never_makes_a_sellable_level(audited_crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        level = first_receipts_against_a_block(audited_crowd)
        assert (level.available, level.is_blocked) == (15, True)


def test_control_where_masters_are_not_locked_the_level_can_be_sold_from_though_the_product_is_blocked(
    crowd: Crowd,
) -> None:
    levels = [first_receipts_against_a_block(crowd, guards.without_held_masters) for _ in range(ROUNDS)]
    assert not all(level.is_blocked for level in levels)
    assert all(level.product.is_blocked for level in levels)
    assert [name.partition(":")[0] for name in factories.broken_invariants()] == ["I11"]
