"""Compares the numbers of one product in Redis, levels, ledger and holds, to find where they differ. Read-only."""

from dataclasses import dataclass
from enum import StrEnum, auto
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from inventory_project.foundation.errors import NotFound
from stock.counters import copies as counters
from stock.counters.copies import SUMMARY, LevelCounter
from stock.models import Product

TIMEOUT_MS = 30_000  # the ledger of a product that has sold for years takes longer than a sale may

# One statement, so one snapshot: all sides are of the same moment.
SIDES = """
SELECT warehouse_id, MAX(version), MAX(available), MAX(reserved), MAX(incoming), MAX(replenished),
       MAX(is_blocked), MAX(is_closed),
       SUM(available_moved), SUM(reserved_moved), SUM(incoming_moved), SUM(holds), SUM(units) FROM (
  SELECT warehouse_id, version, available, reserved, incoming, replenished,
         CASE WHEN is_blocked THEN 1 ELSE 0 END AS is_blocked, CASE WHEN is_closed THEN 1 ELSE 0 END AS is_closed,
         0 AS available_moved, 0 AS reserved_moved, 0 AS incoming_moved, 0 AS holds, 0 AS units
  FROM stock_level WHERE product_id = %(product_id)s
  UNION ALL
  SELECT warehouse_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
         SUM(available_delta), SUM(reserved_delta), SUM(incoming_delta), 0, 0
  FROM stock_movement WHERE product_id = %(product_id)s GROUP BY warehouse_id
  UNION ALL
  SELECT i.warehouse_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0,
         COUNT(CASE WHEN i.quantity > i.released THEN 1 END), SUM(i.quantity - i.released)
  FROM reservation_item i JOIN reservation r ON r.id = i.reservation_id
  WHERE i.product_id = %(product_id)s AND r.status = 'ACTIVE' GROUP BY i.warehouse_id) AS sides
GROUP BY warehouse_id
"""


class CounterState(StrEnum):
    """The state of a product's counters. The values are part of the API, so they keep their old names."""

    SOUND = auto()  # valid, and used
    MISSING = auto()  # the database answers instead
    ODD = auto()  # invalid; the database answers instead
    AWAY = auto()  # Redis does not answer
    NONE = auto()  # this installation has no Redis


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelNumbers:
    """The numbers of a stock level's row."""

    version: int
    available: int
    reserved: int
    incoming: int
    replenished: int
    is_blocked: bool
    is_closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSums:
    """The sums of all movements."""

    available: int
    reserved: int
    incoming: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveHolds:
    """Lines of ACTIVE reservations that still hold something, and the units that they hold."""

    lines: int
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedWarehouse:
    """The numbers at one warehouse. `counter` is None if it is missing or invalid; `counter_text` is its text in Redis.

    `drift` is the counter's available minus the row's; None if one of them is missing.
    """

    warehouse_id: str
    counter: LevelCounter | None
    counter_text: str | None
    database: LevelNumbers | None
    ledger: LedgerSums
    active_holds: ActiveHolds

    @property
    def drift(self) -> int | None:
        if self.counter is None or self.database is None:
            return None
        return self.counter.available - self.database.available


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The numbers of a product. `summary_text` is the counters' field for the whole product."""

    product_id: UUID
    is_blocked: bool
    low_stock_threshold: int | None
    counters: CounterState
    summary_text: str | None
    warehouses: list[InspectedWarehouse]


def of_product(product_id: UUID) -> Inspection:
    """Inspect the product. Raises NotFound."""
    product = Product.objects.filter(pk=product_id).first()
    if product is None:
        raise NotFound(f"There is no product {product_id}.")
    sides = _sides(product_id)
    state, texts, of_warehouses = _counters(product_id)
    return Inspection(
        product_id=product_id,
        is_blocked=product.is_blocked,
        low_stock_threshold=product.low_stock_threshold,
        counters=state,
        summary_text=texts.get(SUMMARY),
        warehouses=[
            InspectedWarehouse(
                warehouse_id=warehouse_id,
                counter=of_warehouses.get(warehouse_id),
                counter_text=texts.get(warehouse_id),
                database=sides[warehouse_id][0] if warehouse_id in sides else None,
                ledger=sides[warehouse_id][1] if warehouse_id in sides else NOTHING_MOVED,
                active_holds=sides[warehouse_id][2] if warehouse_id in sides else NOTHING_HELD,
            )
            for warehouse_id in sorted((sides.keys() | texts.keys()) - {SUMMARY})
        ],
    )


NOTHING_MOVED = LedgerSums(available=0, reserved=0, incoming=0)
NOTHING_HELD = ActiveHolds(lines=0, units=0)


def _sides(product_id: UUID) -> dict[str, tuple[LevelNumbers | None, LedgerSums, ActiveHolds]]:
    key = Product._meta.pk.get_db_prep_value(product_id, connection)
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"SET LOCAL statement_timeout = {TIMEOUT_MS}")
        cursor.execute(SIDES, {"product_id": key})
        return {warehouse_id: _side(*numbers) for warehouse_id, *numbers in cursor.fetchall()}


def _side(
    version: int | None,
    available: int,
    reserved: int,
    incoming: int,
    replenished: int,
    is_blocked: int,
    is_closed: int,
    *sums: int,
) -> tuple[LevelNumbers | None, LedgerSums, ActiveHolds]:
    available_moved, reserved_moved, incoming_moved, lines, units = map(int, sums)  # PostgreSQL adds up to decimals
    level = None
    if version is not None:
        level = LevelNumbers(
            version=version,
            available=available,
            reserved=reserved,
            incoming=incoming,
            replenished=replenished,
            is_blocked=is_blocked == 1,
            is_closed=is_closed == 1,
        )
    moved = LedgerSums(available=available_moved, reserved=reserved_moved, incoming=incoming_moved)
    return level, moved, ActiveHolds(lines=lines, units=units)


def _counters(product_id: UUID) -> tuple[CounterState, dict[str, str], dict[str, LevelCounter]]:
    """The state of the product's counters, their fields as text, and the parsed counters if they are valid."""
    if not settings.REDIS_URL:
        return CounterState.NONE, {}, {}
    raw = counters.read_raw([product_id])
    if raw is None:
        return CounterState.AWAY, {}, {}
    texts = raw[product_id]
    if not texts:
        return CounterState.MISSING, {}, {}
    valid = counters.read([product_id]).get(product_id)
    return (CounterState.ODD, texts, {}) if valid is None else (CounterState.SOUND, texts, valid.levels)
