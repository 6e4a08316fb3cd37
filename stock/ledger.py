"""The only writer of quantities: every change of a stock level is a posting, and every posting stays as a movement.

A transaction locks the levels it concerns, posts to them in memory while it decides, and writes all postings at last:
one UPDATE of the levels, one INSERT of the movements. Lock order: products, then warehouses, then reservations, then
levels by (product, warehouse); see docs/locking.md.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from uuid_utils.compat import uuid7

from inventory_project import database
from inventory_project.errors import BooksDamaged, Conflict
from inventory_project.faults import crash_point
from inventory_project.messaging.outbox import Event
from stock import events
from stock.models import Product, StockLevel, StockMovement
from warehouses.models import Warehouse

logger = logging.getLogger(__name__)

Kind = StockMovement.Kind
Key = tuple[UUID, str]  # product, warehouse

LEVEL_COLUMNS = (
    "id", "product_id", "warehouse_id", "available", "reserved", "incoming",
    "is_blocked", "is_closed", "low_stock_threshold", "version",
)  # fmt: skip
MOVEMENT_COLUMNS = (
    "id", "product", "warehouse", "kind", "available_delta", "reserved_delta", "incoming_delta",
    "line_id", "reference", "actor", "reason", "created_at",
)  # fmt: skip
CHANGE_COLUMNS = ("id", "available", "reserved", "incoming", "is_low", "updated_at")
# Deltas, not totals: should a lock ever be missing, the CHECKs still refuse what would oversell.
APPLY_CHANGES = (
    "available = t.available + v.available, reserved = t.reserved + v.reserved, incoming = t.incoming + v.incoming, "
    "is_low = v.is_low, version = t.version + 1, updated_at = v.updated_at"
)


class InsufficientStock(Conflict):
    """A level does not have what a posting would take; `shortages` says what was asked and what is there."""

    code = "insufficient_stock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """A change of one level, in units, signed; `line_id` or `reference` says on whose account."""

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


@dataclass(slots=True)
class LockedLevel:
    """A stock level held by this transaction: its numbers as locked, then with each posting made on it."""

    id: int
    product_id: UUID
    warehouse_id: str
    available: int
    reserved: int
    incoming: int
    is_blocked: bool
    is_closed: bool
    low_stock_threshold: int | None
    version: int
    before: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.before = (self.available, self.reserved, self.incoming)

    @property
    def threshold(self) -> int:
        """Units below which this level counts as low."""
        return settings.LOW_STOCK_THRESHOLD if self.low_stock_threshold is None else self.low_stock_threshold

    @property
    def is_low(self) -> bool:
        return self.available < self.threshold

    @property
    def deltas(self) -> tuple[int, int, int]:
        available, reserved, incoming = self.before
        return self.available - available, self.reserved - reserved, self.incoming - incoming


@dataclass(slots=True)
class LockedLevels:
    """The levels that a transaction has locked, and the postings it has made on them so far."""

    by_key: dict[Key, LockedLevel] = field(default_factory=dict)
    by_product: dict[UUID, list[LockedLevel]] = field(default_factory=lambda: defaultdict(list))
    postings: list[Posting] = field(default_factory=list)

    def add(self, level: LockedLevel) -> None:
        self.by_key[level.product_id, level.warehouse_id] = level
        self.by_product[level.product_id].append(level)

    def at(self, product_id: UUID, warehouse_id: str) -> LockedLevel:
        """The level; raises BooksDamaged when something was booked at a level that is not there."""
        try:
            return self.by_key[product_id, warehouse_id]
        except KeyError:
            raise BooksDamaged(f"no stock level product_id={product_id} warehouse_id={warehouse_id}") from None


def lock(product_ids: Collection[UUID], *, warehouse_ids: Collection[str] | None = None) -> LockedLevels:
    """Lock the levels of these products (in these warehouses, or all), in the one order that everybody locks in."""
    _require_transaction()
    query = StockLevel.objects.select_for_update(no_key=True).filter(product_id__in=product_ids)
    if warehouse_ids is not None:
        query = query.filter(warehouse_id__in=warehouse_ids)
    levels = LockedLevels()
    for row in query.order_by("product_id", "warehouse_id").values_list(*LEVEL_COLUMNS):
        levels.add(LockedLevel(*row))
    return levels


def lock_or_create(product_ids: Collection[UUID], warehouse_id: str) -> LockedLevels:
    """Lock the levels of these products at one warehouse; a level that is not there yet comes into being, empty.

    The products' and the warehouse's rows must be held already (`hold_masters`), so that no block or closing can pass
    between reading them and making the level.
    """
    levels = lock(product_ids, warehouse_ids=[warehouse_id])
    missing = [product_id for product_id in product_ids if (product_id, warehouse_id) not in levels.by_key]
    if not missing:
        return levels
    now = database.database_now()
    is_closed = not Warehouse.objects.values_list("is_active", flat=True).get(pk=warehouse_id)
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
        for product in Product.objects.filter(pk__in=missing).order_by("id")
    ]
    crash_point("level.before_create")
    StockLevel.objects.bulk_create(new, ignore_conflicts=True)
    return lock(product_ids, warehouse_ids=[warehouse_id])


def hold_masters(product_ids: Collection[UUID], warehouse_ids: Collection[str]) -> tuple[set[UUID], set[str]]:
    """Keep these products and warehouses from being blocked or closed until the transaction ends; which ones exist.

    FOR SHARE waits for a block or a closing under way (they hold the row FOR NO KEY UPDATE) and lets sales pass.
    """
    _require_transaction()
    share = " FOR SHARE" if connection.vendor == "postgresql" else ""
    found: list[set[str]] = []
    for model, ids in ((Product, product_ids), (Warehouse, warehouse_ids)):
        prepared = [model._meta.pk.get_db_prep_value(value, connection) for value in ids]
        places = ", ".join(["%s"] * len(prepared))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id FROM {model._meta.db_table} WHERE id IN ({places}) ORDER BY id{share}",  # noqa: S608
                prepared,
            )
            found.append({str(row[0]) for row in cursor.fetchall()})
    return {UUID(value) for value in found[0]}, found[1]


def post(levels: LockedLevels, posting: Posting) -> None:
    """Make one posting on the locked levels; written by `write`.

    Where a number would fall below zero nothing is posted: raises InsufficientStock for a document, and BooksDamaged on
    account of a line, whose stock must be there.
    """
    level = levels.at(posting.product_id, posting.warehouse_id)
    available, reserved = level.available + posting.available, level.reserved + posting.reserved
    incoming = level.incoming + posting.incoming
    if available < 0 or reserved < 0 or incoming < 0:
        if posting.line_id is not None:
            raise BooksDamaged(
                f"product_id={level.product_id} warehouse_id={level.warehouse_id} has available={level.available} "
                f"reserved={level.reserved}, too little for {posting.kind} of line_id={posting.line_id}"
            )
        shortage = {
            "product_id": str(posting.product_id),
            "warehouse_id": posting.warehouse_id,
            "requested": -min(posting.available, posting.reserved, posting.incoming),
            "available": level.available,
        }
        raise InsufficientStock("There is not enough stock for this.", shortages=[shortage])
    level.available, level.reserved, level.incoming = available, reserved, incoming
    levels.postings.append(posting)


def write(levels: LockedLevels, *, at: datetime) -> list[Event]:
    """Write all postings: the movements, then the levels; returns the events of the thresholds that were crossed."""
    _require_transaction()
    database.insert_rows(
        StockMovement,
        MOVEMENT_COLUMNS,
        [
            (
                uuid7(), p.product_id, p.warehouse_id, p.kind.value, p.available, p.reserved, p.incoming,
                p.line_id, p.reference, p.actor, p.reason, at,
            )
            for p in levels.postings
        ],
    )  # fmt: skip
    touched = {(p.product_id, p.warehouse_id) for p in levels.postings}
    changed = [level for key, level in levels.by_key.items() if key in touched]
    _apply(changed, at=at)
    return list(_crossings(changed))


def _apply(levels: Iterable[LockedLevel], *, at: datetime) -> None:
    values = [(level.id, *level.deltas, level.is_low, at) for level in levels]
    database.update_rows(StockLevel, CHANGE_COLUMNS, values, assignments=APPLY_CHANGES)


def _crossings(levels: Iterable[LockedLevel]) -> Iterable[Event]:
    """At most one event for a level: what its numbers before and after the transaction say, not each posting."""
    for level in levels:
        before, now = level.before[0], level.available
        if before > 0 and now == 0:
            name = events.OUT_OF_STOCK
        elif before >= level.threshold > now:
            name = events.LOW_STOCK
        elif before == 0 and now > 0:
            name = events.BACK_IN_STOCK
        else:
            continue
        yield events.stock_event(
            name,
            product_id=level.product_id,
            warehouse_id=level.warehouse_id,
            available=now,
            threshold=level.threshold,
            version=level.version + 1,
        )


def _require_transaction() -> None:
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("the ledger works inside a transaction of its caller")
