"""Reads a simulation's input from the database: orders, movements, and the stock at the beginning.

Everything is read in one read-only snapshot, so no sale waits for it. But while the snapshot is open, PostgreSQL cannot
remove row versions that have been replaced since.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Sum

from inventory_project.foundation import database
from reservations.analysis.simulation.events import Event, Movement, Order
from reservations.analysis.simulation.order_file import OrderFile
from reservations.analysis.simulation.replay import Level, Stock
from reservations.models import ReservationItem
from stock.models import Product, StockLevel, StockMovement
from warehouses.allocation import record
from warehouses.allocation.terms import Part

Kind = StockMovement.Kind

ROWS_AT_ONCE = 500  # orders of one fetch, replayed before the next; an order takes 20 ms per contender at worst
IDLE_SECONDS = 60  # that the session may be idle, because a frozen process must not keep the snapshot for ever

# A receipt resets `replenished`, so the old value of a level with a receipt in the window cannot be computed backwards.
# For these levels, read what moved between the last receipt before the window and its beginning, and the corrections.
SINCE_THE_LAST_RECEIPT = """
SELECT m.product_id, m.warehouse_id, MAX(CASE WHEN l.at IS NULL THEN 0 ELSE 1 END),
       SUM(CASE WHEN m.kind = 'ADJUSTMENT' OR m.created_at = l.at THEN 0
                ELSE m.available_delta + m.reserved_delta END),
       SUM(CASE WHEN m.kind = 'ADJUSTMENT' THEN m.available_delta ELSE 0 END)
FROM stock_movement m
JOIN (SELECT DISTINCT product_id, warehouse_id FROM stock_movement
      WHERE kind = 'RECEIPT' AND available_delta > 0 AND created_at >= %s) n
  ON n.product_id = m.product_id AND n.warehouse_id = m.warehouse_id
LEFT JOIN (SELECT product_id, warehouse_id, MAX(created_at) AS at FROM stock_movement
           WHERE kind = 'RECEIPT' AND available_delta > 0 AND created_at < %s
           GROUP BY product_id, warehouse_id) l
  ON l.product_id = m.product_id AND l.warehouse_id = m.warehouse_id
WHERE m.created_at < %s AND (l.at IS NULL OR m.created_at >= l.at)
GROUP BY m.product_id, m.warehouse_id
"""
LevelKey = tuple[UUID, str]


@contextmanager
def snapshot() -> Iterator[None]:
    """A read-only transaction in which all reads see the same state of the database.

    Not on SQLite, because there even a read-only transaction would block writers.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        with database.without_time_limit():
            yield


# --- stock ---------------------------------------------------------------------------------------------------------


def _ordered_product_ids(since: datetime) -> QuerySet[ReservationItem, Any]:
    return ReservationItem.objects.filter(reservation__created_at__gte=since).values("product_id")


def stock_at(since: datetime) -> Stock:
    """The stock of the ordered products at that moment: today's numbers minus what has moved since.

    No product counts as blocked, because none was when its order was granted. Warehouses that are closed today count as
    closed.
    """
    product_ids = _ordered_product_ids(since)
    moved = {
        (product_id, warehouse_id): numbers
        for product_id, warehouse_id, *numbers in StockMovement.objects.filter(
            created_at__gte=since, product_id__in=product_ids
        )
        .values_list("product_id", "warehouse_id")
        .annotate(
            available=Sum("available_delta"),
            reserved=Sum("reserved_delta"),
            adjusted=Sum("available_delta", filter=Q(kind=Kind.ADJUSTMENT), default=0),
            receipts=Count("id", filter=Q(kind=Kind.RECEIPT, available_delta__gt=0)),
        )
        .iterator(chunk_size=ROWS_AT_ONCE)
    }
    earlier = _since_the_last_receipt(since)
    levels: dict[UUID, dict[str, Level]] = {}
    for product_id, warehouse_id, level in _levels(StockLevel.objects.filter(product_id__in=product_ids)):
        available, reserved, adjusted, receipts = moved.get((product_id, warehouse_id), (0, 0, 0, 0))
        level.available -= available
        level.reserved -= reserved
        if receipts:
            is_received, changed, corrected = earlier.get((product_id, warehouse_id), (False, 0, 0))
            # The units on hand after the last receipt before: later changes are undone, corrections stay.
            level.replenished = level.available + level.reserved - changed if is_received else max(0, corrected)
        else:
            level.replenished = max(0, level.replenished - adjusted)
        levels.setdefault(product_id, {})[warehouse_id] = level
    return Stock(levels)


def _since_the_last_receipt(since: datetime) -> dict[LevelKey, tuple[bool, int, int]]:
    """For levels with a receipt since then: whether one came before, what moved after it, the corrections."""
    places = database.fields_of(StockMovement, ("product", "warehouse"))
    moment = connection.ops.adapt_datetimefield_value(since)
    rows = database.select(places, SINCE_THE_LAST_RECEIPT, [moment] * 3, list)()
    return {
        (product_id, warehouse_id): (bool(is_received), int(changed), int(corrected))
        for product_id, warehouse_id, is_received, changed, corrected in rows
    }


def _levels(levels: QuerySet[StockLevel]) -> Iterator[tuple[UUID, str, Level]]:
    rows = levels.values_list("product_id", "warehouse_id", "available", "reserved", "replenished", "is_closed")
    for row in rows.iterator(chunk_size=ROWS_AT_ONCE):
        yield row[0], row[1], Level(*row[2:])


def stock_today(file: OrderFile) -> Stock:
    """Today's stock of the file's products, with today's blocks and closings. Raises Invalid for unknown products."""
    product_ids = sorted(file.product_lines)
    known: dict[UUID, bool] = {}
    levels: dict[UUID, dict[str, Level]] = {}
    for start in range(0, len(product_ids), ROWS_AT_ONCE):
        chunk = product_ids[start : start + ROWS_AT_ONCE]
        known.update(Product.objects.filter(pk__in=chunk).values_list("id", "is_blocked"))
        for product_id, warehouse_id, level in _levels(StockLevel.objects.filter(product_id__in=chunk)):
            levels.setdefault(product_id, {})[warehouse_id] = level
    problems: dict[int, list[str]] = {}
    for product_id in product_ids:
        if product_id not in known:
            for line in file.product_lines[product_id]:
                problems.setdefault(line, []).append(f"there is no product {product_id}.")
    if problems:
        raise file.refusal(problems)
    return Stock(levels, {product_id for product_id, is_blocked in known.items() if is_blocked})


# --- the past, in order of time ------------------------------------------------------------------------------------

Timed = tuple[datetime, int, Event]  # at the same moment, orders come first


def orders(since: datetime) -> Iterator[Timed]:
    """The reservations from that moment on; those of one batch in the order in which they were decided."""
    rows = (
        ReservationItem.objects.filter(reservation__created_at__gte=since)
        .order_by("reservation__created_at", "reservation_id")
        .values_list(
            "reservation__created_at",
            "reservation_id",
            "reservation__delivery_postal_code",
            "reservation__replaces_id",
            "reservation__allocation__version",
            "reservation__allocation__products",
            "reservation__allocation__lines",
            "reservation__allocation__allow_split",
            "product_id",
            "warehouse_id",
            "quantity",
        )
        .iterator(chunk_size=ROWS_AT_ONCE)
    )
    for (moment, reservation_id), held in groupby(rows, key=itemgetter(0, 1)):
        lines = list(held)
        _, _, postal_code, replaces_id, *kept = lines[0][:8]
        parts = tuple(sorted(Part(*line[8:]) for line in lines))
        asked, allow_split = record.asked(kept, parts)
        yield moment, 0, Order(reservation_id, postal_code, asked, allow_split, parts, replaces_id)


def movements(since: datetime) -> Iterator[Timed]:
    """All movements of the ordered products from that moment on, except those of new reservations."""
    reservation_id = ReservationItem.objects.filter(pk=OuterRef("line_id")).values("reservation_id")[:1]
    rows = (
        StockMovement.objects.filter(created_at__gte=since, product_id__in=_ordered_product_ids(since))
        .exclude(kind=Kind.RESERVE)
        .order_by("created_at", "id")
        .values_list(
            "created_at",
            "kind",
            "product_id",
            "warehouse_id",
            "available_delta",
            "reserved_delta",
            Subquery(reservation_id),
        )
        .iterator(chunk_size=ROWS_AT_ONCE)
    )
    for moment, *movement in rows:
        yield moment, 1, Movement(*movement)
