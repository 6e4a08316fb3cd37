"""Block, close and PUT of a product while goods come in, and everything at once without a deadlock.

`make soak` runs everything at once for a minute; `make test` for a few seconds.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from uuid import UUID

import pytest
from django.db import connection, transaction

from inventory_project.foundation.errors import Unavailable
from stock import blocking, catalogue
from stock.models import Product
from tests import factories
from tests.factories import ACTOR, PR, RJ, SP
from tests.integration.races import contestants, guards
from tests.processes import Call, Crowd, Guard

RECEIVERS, TIMES = 8, 9
MAX_SECONDS = 0.2  # for a block, a closing or a PUT
MAX_SECONDS_WITH_NEW_LEVELS = 1.0  # a closing marks all of the warehouse's levels, more of them each time
STORM_SECONDS = 60 if os.environ.get("TEST_SOAK") else 5
CONTROL_SECONDS = 6


@contextmanager
def at_work(crowd: Crowd, tmp_path: Path, calls: list[Call], *within: Guard) -> Iterator[None]:
    """The calls, each repeated by a thread of its own until the block ends."""
    stop = tmp_path / "stop"
    crowd.begin([partial(contestants.until_stopped, stop, call) for call in calls], within=within)
    time.sleep(0.3)  # all of them are in the middle of it
    try:
        yield
    finally:
        stop.touch()
        times = crowd.answers()
        stop.unlink()
    assert min(times) > 0


def receiving(product: Product) -> list[Call]:
    return [partial(contestants.receive, product.pk, SP)] * RECEIVERS


def seconds(call: Call) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def within_a_second(brake: Call) -> bool:
    """Whether the brake works though each of its statements may take only five times as long as the whole should."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '1s'")
            brake()
    except Unavailable:
        return False
    return True


def put(product_id: UUID, *, threshold: int) -> None:
    catalogue.put(
        catalogue.ProductRequest(
            product_id=product_id, sku=f"SKU-{threshold}", name="A product", low_stock_threshold=threshold
        )
    )


@pytest.mark.parametrize("is_first_receipt", [False, True])
def test_block_close_and_put_get_through_while_eight_receivers_book_at_full_speed(
    audited_crowd: Crowd, tmp_path: Path, is_first_receipt: bool
) -> None:
    product = factories.product({SP: 1})
    calls: list[Call] = receiving(product)
    if is_first_receipt:  # of a new product each time, so that each creates a level at this warehouse
        calls = [partial(contestants.receive_new_product, SP)] * RECEIVERS
    took: dict[str, list[float]] = {"block": [], "close": [], "put": []}

    with at_work(audited_crowd, tmp_path, calls):
        for i in range(TIMES):
            took["block"].append(seconds(partial(blocking.block_product, product.pk, reason="recall", actor=ACTOR)))
            took["close"].append(seconds(partial(blocking.close_warehouse, SP, actor=ACTOR)))
            took["put"].append(seconds(partial(put, product.pk, threshold=i)))
            blocking.unblock_product(product.pk, reason="checked", actor=ACTOR)
            blocking.reopen_warehouse(SP, actor=ACTOR)

    bound = MAX_SECONDS_WITH_NEW_LEVELS if is_first_receipt else MAX_SECONDS
    assert {name: times for name, times in took.items() if median(times) > bound} == {}


def test_control_where_receipts_share_the_masters_most_brakes_fail(crowd: Crowd, tmp_path: Path) -> None:
    product = factories.product({SP: 1})
    brakes: list[Call] = [
        partial(blocking.block_product, product.pk, reason="recall", actor=ACTOR),
        partial(blocking.close_warehouse, SP, actor=ACTOR),
        partial(put, product.pk, threshold=1),
    ]

    with at_work(crowd, tmp_path, receiving(product), guards.with_receipts_that_share_the_masters):
        failed = [brake for brake in brakes * 3 if not within_a_second(brake)]

    assert len(failed) > len(brakes * 3) / 2  # on a busy machine one of them may slip through


def failures_in(crowd: Crowd, tmp_path: Path, calls: list[Call], *, duration: float) -> float:
    """How many batches met a deadlock or another race, in all processes, while the calls were repeated."""
    count = contestants.failed_batches
    before = sum(crowd.each(count))
    with at_work(crowd, tmp_path, calls, guards.patience):
        time.sleep(duration)
    return float(sum(crowd.each(count)) - before)


def test_everything_at_once_meets_no_deadlock(audited_crowd: Crowd, tmp_path: Path) -> None:
    products = [factories.product({SP: 100_000, RJ: 100_000}).pk for _ in range(4)]
    factories.warehouse(PR)
    calls: list[Call] = [
        *[partial(contestants.shop, products)] * 8,
        *[partial(contestants.receive, product_id, SP) for product_id in products],
        *[partial(contestants.rename, product_id) for product_id in products[:2]],
        partial(contestants.block_and_unblock, products[2]),
        partial(contestants.close_and_reopen, RJ),
        partial(contestants.receive_new_product, PR),
        partial(contestants.close_and_reopen, PR),
    ]
    assert failures_in(audited_crowd, tmp_path, calls, duration=STORM_SECONDS) == 0


def renaming_while_selling() -> list[Call]:
    product = factories.product({SP: 100_000})
    return [*[partial(contestants.shop, [product.pk])] * 6, *[partial(contestants.rename, product.pk)] * 2]


def test_a_new_sku_and_threshold_meet_no_deadlock_with_sales(audited_crowd: Crowd, tmp_path: Path) -> None:
    assert failures_in(audited_crowd, tmp_path, renaming_while_selling(), duration=3) == 0


def test_control_where_lines_have_foreign_keys_a_new_sku_deadlocks_with_sales(crowd: Crowd, tmp_path: Path) -> None:
    with guards.with_foreign_keys_of_lines():
        assert failures_in(crowd, tmp_path, renaming_while_selling(), duration=CONTROL_SECONDS) > 0
