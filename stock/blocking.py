"""Stops sales of a product or from a warehouse, so that no reservation commits after the stop has.

Whatever refuses a sale is a column of the stock level that the sale locks. So a block first holds the product's row
(whoever makes a level waits there), then writes the column under the same locks that sales take.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import F

from inventory_project import batches, database
from inventory_project.errors import NotFound
from stock import ledger
from stock.models import Product, SalesBlock, StockLevel
from warehouses.models import Warehouse

logger = logging.getLogger(__name__)

CLOSING_CHUNK = 1_000  # levels locked at a time while a warehouse closes, so that sales elsewhere go on


@dataclass(frozen=True, slots=True)
class _Order:
    product_id: UUID
    reason: str
    actor: str


def block_product(product_id: UUID, *, reason: str, actor: str) -> SalesBlock:
    """Block all sales of the product from the return of this call on; blocked already: the open block, unchanged.

    Raises NotFound.
    """
    return batches.run_one(lambda orders: [_block(order) for order in orders], _Order(product_id, reason, actor))


def unblock_product(product_id: UUID, *, reason: str, actor: str) -> SalesBlock | None:
    """Lift the block; the lifted block, or None when there was none to lift. Raises NotFound."""
    return batches.run_one(lambda orders: [_unblock(order) for order in orders], _Order(product_id, reason, actor))


def _block(order: _Order) -> SalesBlock:
    product = _hold_product(order.product_id)
    if product.is_blocked:
        return SalesBlock.objects.get(product=product, lifted_at=None)
    _mark(product, is_blocked=True)
    logger.info("sales blocked product_id=%s actor=%s reason=%s", product.pk, order.actor, order.reason)
    return SalesBlock.objects.create(
        product=product, reason=order.reason, blocked_by=order.actor, blocked_at=database.database_now()
    )


def _unblock(order: _Order) -> SalesBlock | None:
    product = _hold_product(order.product_id)
    if not product.is_blocked:
        return None
    _mark(product, is_blocked=False)
    block = SalesBlock.objects.get(product=product, lifted_at=None)
    block.lifted_reason, block.lifted_by, block.lifted_at = order.reason, order.actor, database.database_now()
    block.save(update_fields=["lifted_reason", "lifted_by", "lifted_at"])
    logger.info("sales unblocked product_id=%s actor=%s reason=%s", product.pk, order.actor, order.reason)
    return block


def close_warehouse(warehouse_id: str, *, actor: str) -> None:
    """Nothing is sold from the warehouse once this returns; what is held there can still be confirmed."""
    _set_active(warehouse_id, is_active=False, actor=actor)


def reopen_warehouse(warehouse_id: str, *, actor: str) -> None:
    """The warehouse sells again once this returns."""
    _set_active(warehouse_id, is_active=True, actor=actor)


def _hold_product(product_id: UUID) -> Product:
    product = Product.objects.select_for_update(no_key=True).filter(pk=product_id).first()
    if product is None:
        raise NotFound(f"There is no product {product_id}.")
    return product


def _mark(product: Product, *, is_blocked: bool) -> None:
    product.is_blocked = is_blocked
    product.save(update_fields=["is_blocked", "updated_at"])
    levels = ledger.lock([product.pk])
    _write_flag([level.id for level in levels.by_key.values()], is_blocked=is_blocked)


def _set_active(warehouse_id: str, *, is_active: bool, actor: str) -> None:
    with transaction.atomic():
        warehouse = Warehouse.objects.select_for_update(no_key=True).filter(pk=warehouse_id).first()
        if warehouse is None:
            raise NotFound(f"There is no warehouse {warehouse_id}.")
        warehouse.is_active = is_active
        warehouse.save(update_fields=["is_active", "updated_at"])
    # From here on a new level comes into being with the right mark; the old ones follow in chunks.
    while product_ids := list(
        StockLevel.objects.filter(warehouse_id=warehouse_id, is_closed=is_active)
        .order_by("product_id")
        .values_list("product_id", flat=True)[:CLOSING_CHUNK]
    ):
        with transaction.atomic():
            held = Warehouse.objects.select_for_update(no_key=True).filter(pk=warehouse_id, is_active=is_active)
            if not held.exists():
                return  # somebody has decided otherwise since; the last decision wins
            levels = ledger.lock(product_ids, warehouse_ids=[warehouse_id])
            _write_flag([level.id for level in levels.by_key.values()], is_closed=not is_active)
    logger.info("warehouse %s warehouse_id=%s actor=%s", "reopened" if is_active else "closed", warehouse_id, actor)


def _write_flag(level_ids: Collection[int], **flag: bool) -> None:
    StockLevel.objects.filter(pk__in=level_ids).update(
        **flag, version=F("version") + 1, updated_at=database.database_now()
    )
