"""What can be sold now, by product and warehouse."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from django.conf import settings

from inventory_project import database
from inventory_project.errors import NotFound, unknown_ids
from stock.models import Product, StockLevel
from warehouses.models import Warehouse

State = Literal["in_stock", "low_stock", "reserved", "out_of_stock", "blocked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WarehouseAvailability:
    """Units of one product at one warehouse; `available` counts only what may be sold.

    `distance_km` is to where the goods would go, None where that is not known.
    """

    warehouse_id: str
    available: int
    reserved: int
    incoming: int
    distance_km: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductAvailability:
    """Units of one product over the warehouses; `is_sufficient` only where a quantity was asked for."""

    product_id: UUID
    available: int
    state: State
    incoming: int
    warehouses: tuple[WarehouseAvailability, ...]
    is_sufficient: bool | None
    source: Literal["counters", "database"]
    as_of: datetime


def of_product(
    product_id: UUID, *, warehouse_id: str | None = None, quantity: int | None = None
) -> ProductAvailability:
    """One product, everywhere or at one warehouse. Raises NotFound for the product, Invalid for the warehouse."""
    if warehouse_id is not None and not Warehouse.objects.filter(pk=warehouse_id).exists():
        raise unknown_ids(warehouse_ids=[warehouse_id])
    found, _ = _read([product_id], warehouse_id=warehouse_id, quantity=quantity)
    if not found:
        raise NotFound(f"There is no product {product_id}.")
    return found[0]


def of_products(product_ids: Sequence[UUID]) -> list[ProductAvailability]:
    """Many products, in the order asked. Raises Invalid (`unknown_ids`) naming every one that does not exist."""
    found, unknown = _read(product_ids)
    if unknown:
        raise unknown_ids(product_ids=[str(product_id) for product_id in unknown])
    return found


def _read(
    product_ids: Sequence[UUID], *, warehouse_id: str | None = None, quantity: int | None = None
) -> tuple[list[ProductAvailability], list[UUID]]:
    """The products that exist, and the ids of those that do not; three statements, whatever the number of products.

    The clock is read first, so the numbers are as of `as_of` or newer.
    """
    now = database.database_now()
    products = {
        product.pk: product
        for product in Product.objects.filter(pk__in=product_ids).only("id", "is_blocked", "low_stock_threshold")
    }
    query = StockLevel.objects.filter(product_id__in=product_ids)
    if warehouse_id is not None:
        query = query.filter(warehouse_id=warehouse_id)
    levels: dict[UUID, list[StockLevel]] = defaultdict(list)
    for level in query.order_by("product_id", "warehouse_id"):
        levels[level.product_id].append(level)
    asked = list(dict.fromkeys(product_ids))
    found = [
        _summed(products[product_id], levels[product_id], quantity=quantity, at=now)
        for product_id in asked
        if product_id in products
    ]
    return found, [product_id for product_id in asked if product_id not in products]


def _summed(
    product: Product, levels: Sequence[StockLevel], *, quantity: int | None, at: datetime
) -> ProductAvailability:
    places = tuple(
        WarehouseAvailability(
            warehouse_id=level.warehouse_id,
            available=0 if level.is_blocked or level.is_closed else level.available,
            reserved=level.reserved,
            incoming=level.incoming,
        )
        for level in levels
    )
    available = sum(place.available for place in places)
    reserved = sum(place.reserved for place in places)
    threshold = product.low_stock_threshold
    return ProductAvailability(
        product_id=product.pk,
        available=available,
        state=state_of(
            is_blocked=product.is_blocked,
            available=available,
            reserved=reserved,
            threshold=settings.LOW_STOCK_THRESHOLD if threshold is None else threshold,
        ),
        incoming=sum(place.incoming for place in places),
        warehouses=places,
        is_sufficient=None if quantity is None else available >= quantity,
        source="database",
        as_of=at,
    )


def state_of(*, is_blocked: bool, available: int, reserved: int, threshold: int) -> State:
    """One word for a product's totals: `reserved` means that nothing is free now, but holds may come back."""
    if is_blocked:
        return "blocked"
    if available == 0:
        return "reserved" if reserved > 0 else "out_of_stock"
    return "low_stock" if available < threshold else "in_stock"
