"""Stops sales of a product or from a warehouse. No reservation commits after the stop has committed.

A sale is refused by a column of the stock level that the sale locks. So a block first locks the product's row, where
a process that creates a level has to wait; then it writes the column under the same locks that sales take.
"""

import logging
from dataclasses import dataclass
from uuid import UUID

from inventory_project.foundation import batches, database
from inventory_project.foundation.errors import NotFound
from stock import ledger
from stock.models import Product, SalesBlock, StockLevel
from warehouses.models import Warehouse

logger = logging.getLogger(__name__)

UNKNOWN_ACTOR = "unknown"  # set `is_blocked` without the service
CLOSING_CHUNK = 1_000  # levels locked at a time while a warehouse closes, so that sales elsewhere go on


@dataclass(frozen=True, slots=True)
class _Order:
    product_id: UUID
    reason: str
    actor: str


def block_product(product_id: UUID, *, reason: str, actor: str) -> SalesBlock:
    """Block all sales of the product. Returns the block, or the open one unchanged if it was blocked before.

    Nothing is sold once this returns. Levels that lost the mark (by SQL or a restored backup) get it again, and a
    product that was marked without the service gets its missing record. Raises NotFound.
    """
    return batches.run_one(lambda orders: [_block(order) for order in orders], _Order(product_id, reason, actor))


def unblock_product(product_id: UUID, *, reason: str, actor: str) -> SalesBlock | None:
    """Lift the product's block. Returns it, or None if the product was not blocked. Raises NotFound."""
    return batches.run_one(lambda orders: [_unblock(order) for order in orders], _Order(product_id, reason, actor))


def _block(order: _Order) -> SalesBlock:
    product = _hold_product(order.product_id)
    _mark(product, is_blocked=True)
    return _open_block(product) or _record_block(product, reason=order.reason, actor=order.actor)


def _unblock(order: _Order) -> SalesBlock | None:
    product = _hold_product(order.product_id)
    if not product.is_blocked:
        return None
    _mark(product, is_blocked=False)
    block = _open_block(product) or _record_block(product, reason="", actor=UNKNOWN_ACTOR)
    block.lifted_reason, block.lifted_by, block.lifted_at = order.reason, order.actor, database.database_now()
    block.save(update_fields=["lifted_reason", "lifted_by", "lifted_at"])
    _log("sales unblocked", product, actor=order.actor, reason=order.reason)
    return block


def _open_block(product: Product) -> SalesBlock | None:
    """The record of the product's block. There is none if `is_blocked` was set without the service."""
    return SalesBlock.objects.filter(product=product, lifted_at=None).first()


def _record_block(product: Product, *, reason: str, actor: str) -> SalesBlock:
    _log("sales blocked", product, actor=actor, reason=reason)
    return SalesBlock.objects.create(
        product=product, reason=reason, blocked_by=actor, blocked_at=database.database_now()
    )


def _log(event: str, product: Product, *, actor: str, reason: str) -> None:
    logger.info(event, extra={"product_id": str(product.pk), "actor": actor, "reason": reason})


def close_warehouse(warehouse_id: str, *, actor: str) -> None:
    """Close the warehouse: nothing is sold from it once this returns. Units on hold there can still be confirmed."""
    _switch(warehouse_id, is_active=False, actor=actor)


def reopen_warehouse(warehouse_id: str, *, actor: str) -> None:
    """Open the warehouse again: it sells once this returns."""
    _switch(warehouse_id, is_active=True, actor=actor)


def _hold_product(product_id: UUID) -> Product:
    product = Product.objects.select_for_update(no_key=True).filter(pk=product_id).first()
    if product is None:
        raise NotFound(f"There is no product {product_id}.")
    return product


def _mark(product: Product, *, is_blocked: bool) -> None:
    """Mark the product and those of its levels that have the other mark."""
    if product.is_blocked != is_blocked:
        product.is_blocked = is_blocked
        product.save(update_fields=["is_blocked", "updated_at"])
    levels = ledger.lock([product.pk]).by_key.values()
    ledger.mark([level for level in levels if level.is_blocked != is_blocked], is_blocked=is_blocked)


@dataclass(frozen=True, slots=True)
class _Switch:
    warehouse_id: str
    is_active: bool


def _switch(warehouse_id: str, *, is_active: bool, actor: str) -> None:
    switch = _Switch(warehouse_id, is_active)
    batches.run_one(lambda switches: [_switch_warehouse(one) for one in switches], switch)
    # From here on a new level is created with the right mark; the existing ones follow in chunks.
    while batches.run_one(lambda switches: [_switch_levels(one) for one in switches], switch):
        pass
    logger.info("warehouse %s warehouse_id=%s actor=%s", "reopened" if is_active else "closed", warehouse_id, actor)


def _switch_warehouse(switch: _Switch) -> Warehouse:
    warehouse = Warehouse.objects.select_for_update(no_key=True).filter(pk=switch.warehouse_id).first()
    if warehouse is None:
        raise NotFound(f"There is no warehouse {switch.warehouse_id}.")
    warehouse.is_active = switch.is_active
    warehouse.save(update_fields=["is_active", "updated_at"])
    return warehouse


def _switch_levels(switch: _Switch) -> int:
    """Mark up to CLOSING_CHUNK levels that have the other mark. Returns how many."""
    warehouse = Warehouse.objects.select_for_update(no_key=True).get(pk=switch.warehouse_id)
    if warehouse.is_active != switch.is_active:
        logger.warning("warehouse_id=%s was opened or closed by somebody else, which takes precedence", warehouse.pk)
        return 0
    others = StockLevel.objects.filter(warehouse=warehouse, is_closed=switch.is_active).order_by("product_id")
    levels = ledger.lock(
        list(others.values_list("product_id", flat=True)[:CLOSING_CHUNK]), warehouse_ids=[warehouse.pk]
    )
    ledger.mark(levels.by_key.values(), is_closed=not switch.is_active)
    return len(levels.by_key)
