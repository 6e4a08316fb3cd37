"""The only writer of quantities: every change of a stock level is a posting, and every posting becomes a movement.

A transaction locks the levels that it needs, posts to them in memory while it decides, and writes all postings at the
end: one UPDATE of the levels, one INSERT of the movements. Each movement has a number within its level and the numbers
of the level after it. Lock order: products, then warehouses, then reservations, then levels by (product, warehouse);
see docs/concepts/locking.md. After the commit the locked levels are copied to the counters.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Model
from prometheus_client import Histogram
from uuid_utils.compat import uuid7

from inventory_project.foundation import database
from inventory_project.foundation.database import Deferred
from inventory_project.foundation.errors import BooksDamaged, Conflict
from inventory_project.foundation.faults import crash_point
from inventory_project.foundation.messaging import outbox
from inventory_project.foundation.messaging.outbox import Event
from stock import events, replenishment
from stock.counters import copies
from stock.models import Product, StockLevel, StockMovement
from warehouses.models import Warehouse

logger = logging.getLogger(__name__)

lock_wait = Histogram(
    "inventory_lock_wait_seconds",
    "From sending the statement that locks a batch's stock levels to its answer, with the others of that round trip.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2),
)

Kind = StockMovement.Kind
Key = tuple[UUID, str]  # product, warehouse

LEVEL_COLUMNS = (
    "id", "product_id", "warehouse_id", "available", "reserved", "incoming", "replenished",
    "is_blocked", "is_closed", "low_stock_threshold", "version", "last_movement",
)  # fmt: skip
LEVEL_FIELDS = database.fields_of(StockLevel, LEVEL_COLUMNS)
SELECT_LEVELS = f"SELECT {', '.join(LEVEL_COLUMNS)} FROM stock_level"  # noqa: S608  # our own names
MOVEMENT_COLUMNS = (
    "id", "product", "warehouse", "kind", "available_delta", "reserved_delta", "incoming_delta",
    "number", "available_after", "reserved_after", "incoming_after",
    "line_id", "reference", "actor", "reason", "created_at",
)  # fmt: skip
CHANGE_COLUMNS = ("id", "available", "reserved", "incoming", "last_movement", "replenished", "is_low", "updated_at")
MARK_COLUMNS = ("id", "is_blocked", "is_closed", "low_stock_threshold", "is_low", "version", "updated_at")
# Deltas, not totals: if a lock were ever missing, the CHECKs and the unique numbers of the movements would still refuse
# to oversell. `replenished` guards nothing, so it is written as a total.
APPLY_CHANGES = (
    "available = t.available + v.available, reserved = t.reserved + v.reserved, incoming = t.incoming + v.incoming, "
    "last_movement = t.last_movement + v.last_movement, replenished = v.replenished, is_low = v.is_low, "
    "version = t.version + 1, updated_at = v.updated_at"
)


class InsufficientStock(Conflict):
    """A level has fewer units than a posting would take; `shortages` has the requested and the available units."""

    code = "insufficient_stock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """A change of one level in signed units. `line_id` or `reference` says on whose account."""

    kind: Kind
    product_id: UUID
    warehouse_id: str
    available: int = 0
    reserved: int = 0
    incoming: int = 0
    line_id: UUID | None = None
    reference: str = ""
    actor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Posted:
    """A posting with its number within its level, and the level's numbers after it."""

    posting: Posting
    number: int
    available: int
    reserved: int
    incoming: int


@dataclass(slots=True)
class LockedLevel:
    """A stock level locked by this transaction. Its numbers include the postings so far; `before` does not."""

    id: int
    product_id: UUID
    warehouse_id: str
    available: int
    reserved: int
    incoming: int
    replenished: int
    is_blocked: bool
    is_closed: bool
    low_stock_threshold: int | None
    version: int
    last_movement: int
    before: tuple[int, int, int, int] = field(init=False)
    sellable_before: int = field(init=False)

    def __post_init__(self) -> None:
        self.before = (self.available, self.reserved, self.incoming, self.last_movement)
        self.sellable_before = self.sellable

    @property
    def threshold(self) -> int:
        """Units below which this level counts as low."""
        return settings.LOW_STOCK_THRESHOLD if self.low_stock_threshold is None else self.low_stock_threshold

    @property
    def is_low(self) -> bool:
        return self.available < self.threshold

    @property
    def sellable(self) -> int:
        """Units that can be sold now: nothing of a blocked product, nothing at a closed warehouse."""
        return 0 if self.is_blocked or self.is_closed else self.available

    @property
    def deltas(self) -> tuple[int, int, int, int]:
        """The change of available, reserved, incoming and of the number of movements."""
        available, reserved, incoming, number = self.before
        return (
            self.available - available,
            self.reserved - reserved,
            self.incoming - incoming,
            self.last_movement - number,
        )


@dataclass(slots=True)
class LockedLevels:
    """The levels that a transaction has locked, and its postings on them so far.

    `is_whole`: all levels of their products are locked, not only those at some warehouses. `hold_ends` is for the
    counters: how long each hold that was decided on these levels lasts, None once it is settled.
    """

    is_whole: bool
    by_key: dict[Key, LockedLevel] = field(default_factory=dict)
    by_product: dict[UUID, list[LockedLevel]] = field(default_factory=lambda: defaultdict(list))
    postings: list[Posted] = field(default_factory=list)
    hold_ends: Mapping[UUID, timedelta | None] = field(default_factory=dict)

    def add(self, level: LockedLevel) -> None:
        self.by_key[level.product_id, level.warehouse_id] = level
        self.by_product[level.product_id].append(level)

    def at(self, product_id: UUID, warehouse_id: str) -> LockedLevel:
        """The locked level of the product at the warehouse. Raises BooksDamaged if it does not exist."""
        try:
            return self.by_key[product_id, warehouse_id]
        except KeyError:
            place = f"product_id={product_id} warehouse_id={warehouse_id}"
            raise BooksDamaged(f"no stock level {place}", subject=place) from None


def locking(product_ids: Collection[UUID]) -> Deferred[LockedLevels]:
    """Lock all levels of these products, in the same order everywhere, so that no two transactions deadlock."""
    among, parameter = database.among(product_ids)
    return _locking(f"product_id {among}", [parameter], is_whole=True)


def locking_levels(level_ids: Collection[int]) -> Deferred[LockedLevels]:
    """Lock these levels and no others of their products."""
    among, parameter = database.among(level_ids)
    return _locking(f"id {among}", [parameter], is_whole=False)


def reading(product_ids: Collection[UUID]) -> Deferred[LockedLevels]:
    """Read all levels of these products without locking them: numbers to choose over, never to post or to publish."""
    among, parameter = database.among(product_ids)
    sql = f"{SELECT_LEVELS} WHERE product_id {among}"
    return database.select(LEVEL_FIELDS, sql, [parameter], partial(_levels, is_whole=False))


def locking_places(places: str, parameters: Sequence[Any]) -> Deferred[LockedLevels]:
    """Lock the levels at the places that `places`, a sub-select of `product_id, warehouse_id`, returns."""
    return _locking(f"(product_id, warehouse_id) IN ({places})", parameters, is_whole=False)


def lock(product_ids: Collection[UUID], *, warehouse_ids: Collection[str] | None = None) -> LockedLevels:
    """Lock the levels of these products, in these warehouses or in all."""
    if warehouse_ids is None:
        return locking(product_ids)()
    products, product_parameter = database.among(product_ids)
    warehouses, warehouse_parameter = database.among(warehouse_ids)
    condition = f"product_id {products} AND warehouse_id {warehouses}"
    return _locking(condition, [product_parameter, warehouse_parameter], is_whole=False)()


def _locking(condition: str, parameters: Sequence[Any], *, is_whole: bool) -> Deferred[LockedLevels]:
    _require_transaction()
    order = f"ORDER BY product_id, warehouse_id {database.for_no_key_update('stock_level')}"
    sql = f"{SELECT_LEVELS} WHERE {condition} {order}"
    began = time.perf_counter()
    return database.select(LEVEL_FIELDS, sql, parameters, partial(_locked, is_whole=is_whole, began=began))


def _locked(rows: Sequence[Any], *, is_whole: bool, began: float) -> LockedLevels:
    lock_wait.observe(time.perf_counter() - began)
    levels = _levels(rows, is_whole=is_whole)
    if settings.REDIS_URL:
        transaction.on_commit(partial(_publish, levels), robust=True)
    return levels


def _levels(rows: Sequence[Any], *, is_whole: bool) -> LockedLevels:
    levels = LockedLevels(is_whole=is_whole)
    for row in rows:
        levels.add(LockedLevel(*row))
    return levels


def look_at_products(product_ids: Collection[UUID]) -> dict[Key, int]:
    """Which transaction has locked each level of these products; see `foundation.bulkhead`."""
    among, parameter = database.among(product_ids)
    return _look(f"product_id {among}", [parameter])


def look_at_places(places: Collection[Key]) -> dict[Key, int]:
    """Which transaction has locked each of these levels; see `foundation.bulkhead`."""
    products, product_parameter = database.among({product_id for product_id, _ in places})
    warehouses, warehouse_parameter = database.among({warehouse_id for _, warehouse_id in places})
    condition = f"product_id {products} AND warehouse_id {warehouses}"
    return _look(condition, [product_parameter, warehouse_parameter])


def _look(condition: str, parameters: Sequence[Any]) -> dict[Key, int]:
    """Lock the levels that are free without waiting for the others. Returns who has each level locked."""
    _require_transaction()
    sql = database.look("stock_level", "product_id, warehouse_id", condition)
    rows = database.select(LEVEL_FIELDS[1:3], sql, parameters, list)()
    return {(product_id, warehouse_id): holder for product_id, warehouse_id, holder in rows}


def _publish(levels: LockedLevels) -> None:
    """Copy the locked levels to the counters, unchanged ones as well, because a copy may be lost or wrong."""
    views = [
        copies.ProductCounters(
            product_id=product_id,
            threshold=rows[0].low_stock_threshold,
            is_blocked=rows[0].is_blocked,
            levels={
                row.warehouse_id: copies.LevelCounter(
                    version=row.version,
                    available=row.available,
                    reserved=row.reserved,
                    incoming=row.incoming,
                    is_sellable=not (row.is_blocked or row.is_closed),
                    replenished=row.replenished,
                )
                for row in rows
            },
        )
        for product_id, rows in levels.by_product.items()
    ]
    copies.publish(views, whole=levels.is_whole, hold_ends=levels.hold_ends)


def create(product_ids: Collection[UUID], warehouse_id: str) -> None:
    """Create the missing levels of these products at one warehouse, empty.

    The rows of the products and the warehouse must be locked already (`lock_products_and_warehouses`), so that no block
    or closing can happen between reading them and creating the level. Commit soon afterwards: whatever wants to block
    one of these products or to close the warehouse waits.
    """
    _require_transaction()
    is_closed = not Warehouse.objects.values_list("is_active", flat=True).get(pk=warehouse_id)
    missing = Product.objects.filter(pk__in=product_ids).exclude(levels__warehouse_id=warehouse_id).order_by("id")
    now = database.database_now()
    new = [
        StockLevel(
            product=product,
            warehouse_id=warehouse_id,
            is_blocked=product.is_blocked,
            is_closed=is_closed,
            low_stock_threshold=product.low_stock_threshold,
            is_low=True,
            updated_at=now,
        )
        for product in missing
    ]
    crash_point("level.before_create")
    StockLevel.objects.bulk_create(new, ignore_conflicts=True)


def mark(marked: Collection[LockedLevel], **marks: bool | int | None) -> None:
    """Set `is_blocked`, `is_closed` or `low_stock_threshold` of these locked levels.

    An event reports each level of which something, or nothing, can be sold from now on.
    """
    now = database.database_now()
    for level in marked:
        for name, value in marks.items():
            setattr(level, name, value)
        level.version += 1
    values = [
        (level.id, level.is_blocked, level.is_closed, level.low_stock_threshold, level.is_low, level.version, now)
        for level in marked
    ]
    database.update_rows(StockLevel, MARK_COLUMNS, values)
    outbox.record(list(_crossings(marked)), at=now)


def lock_products_and_warehouses(
    product_ids: Collection[UUID], warehouse_ids: Collection[str]
) -> tuple[set[UUID], set[str]]:
    """Keep these products and warehouses from being blocked or closed until the transaction ends.

    Returns the ids that exist. Two transactions never hold the same row together: holders that overlapped could keep a
    block waiting for ever, because PostgreSQL lets a new shared lock pass the exclusive one that waits.
    """
    _require_transaction()
    return _hold(Product, product_ids), _hold(Warehouse, warehouse_ids)


def _hold(model: type[Model], ids: Collection[Any]) -> set[Any]:
    """Lock the rows with these ids, in id order. Returns the ids that exist."""
    table = model._meta.db_table
    among, parameter = database.among(ids)
    sql = f"SELECT id FROM {table} WHERE id {among} ORDER BY id {database.for_no_key_update(table)}"  # noqa: S608
    return database.select(
        database.fields_of(model, ("id",)), sql, [parameter], lambda rows: {row[0] for row in rows}
    )()


def post(levels: LockedLevels, posting: Posting) -> None:
    """Add one posting to the locked levels in memory; `write` writes it.

    If a number would fall below zero, nothing is posted. Then a document gets InsufficientStock, and a reservation's
    line gets BooksDamaged, because its stock must be there.
    """
    level = levels.at(posting.product_id, posting.warehouse_id)
    available, reserved = level.available + posting.available, level.reserved + posting.reserved
    incoming = level.incoming + posting.incoming
    if available < 0 or reserved < 0 or incoming < 0:
        if posting.line_id is not None:
            place = f"product_id={level.product_id} warehouse_id={level.warehouse_id}"
            raise BooksDamaged(
                f"{place} has available={level.available} reserved={level.reserved}, "
                f"too little for {posting.kind} of line_id={posting.line_id}",
                subject=place,
            )
        shortage = {
            "product_id": str(posting.product_id),
            "warehouse_id": posting.warehouse_id,
            "requested": -min(posting.available, posting.reserved, posting.incoming),
            "available": level.available,
        }
        raise InsufficientStock("There is not enough stock for this.", shortages=[shortage])
    level.available, level.reserved, level.incoming = available, reserved, incoming
    level.replenished = replenishment.replenished_after(level, kind=posting.kind, available=posting.available)
    level.last_movement += 1
    levels.postings.append(Posted(posting, level.last_movement, available, reserved, incoming))


def write(levels: LockedLevels, *, at: datetime) -> list[Event]:
    """Write all postings: the movements, then the levels. Returns an event for each threshold that was crossed."""
    _require_transaction()
    database.insert_rows(StockMovement, MOVEMENT_COLUMNS, [_movement(posted, at=at) for posted in levels.postings])
    changed = [level for level in levels.by_key.values() if level.deltas[3]]
    values = [(level.id, *level.deltas, level.replenished, level.is_low, at) for level in changed]
    database.update_rows(StockLevel, CHANGE_COLUMNS, values, assignments=APPLY_CHANGES)
    for level in changed:
        level.version += 1
    return list(_crossings(changed))


def _movement(posted: Posted, *, at: datetime) -> tuple[Any, ...]:
    """The row of a movement: the values of MOVEMENT_COLUMNS."""
    p = posted.posting
    return (
        uuid7(), p.product_id, p.warehouse_id, p.kind.value, p.available, p.reserved, p.incoming,
        posted.number, posted.available, posted.reserved, posted.incoming,
        p.line_id, p.reference, p.actor, p.reason, at,
    )  # fmt: skip


def _crossings(levels: Iterable[LockedLevel]) -> Iterable[Event]:
    """At most one event for each level, from its numbers before and after the transaction, not from each posting."""
    for level in levels:
        name = events.crossing(level.sellable_before, level.sellable, threshold=level.threshold)
        if name is None:
            continue
        yield events.stock_event(
            name,
            product_id=level.product_id,
            warehouse_id=level.warehouse_id,
            available=level.sellable,
            threshold=level.threshold,
            version=level.version,
        )


def _require_transaction() -> None:
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("the ledger works inside a transaction of its caller")
