"""Creates and updates products, which come from the shop's catalogue, and keeps their low-stock thresholds."""

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Value, When
from django.db.models.functions import Coalesce

from inventory_project.foundation import batches, values
from inventory_project.foundation.errors import Conflict, Invalid, Refusal
from stock import ledger
from stock.models import Product, StockLevel

MAX_LOW_STOCK_THRESHOLD = 1_000_000  # units
MARK_CHUNK = 1_000  # levels marked again in one transaction


class SkuConflict(Conflict):
    """Another product has this SKU."""

    code = "sku_conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductRequest:
    """The wanted state of a product; `low_stock_threshold` None means the service's LOW_STOCK_THRESHOLD."""

    product_id: UUID
    sku: str
    name: str
    low_stock_threshold: int | None = None


def put(request: ProductRequest) -> tuple[Product, bool]:
    """Create or update the product. Returns it and whether it is new. Raises SkuConflict and Invalid."""
    threshold = request.low_stock_threshold
    if threshold is not None and not 0 <= threshold <= MAX_LOW_STOCK_THRESHOLD:
        raise Invalid(f"low_stock_threshold must be 0 to {MAX_LOW_STOCK_THRESHOLD}, not {threshold}.")
    return batches.run_one(lambda requests: [_put(one) for one in requests], request)


def _put(request: ProductRequest) -> tuple[Product, bool] | Refusal:
    product = Product.objects.select_for_update(no_key=True).filter(pk=request.product_id).first()
    if Product.objects.filter(sku__in=values.spellings(request.sku)).exclude(pk=request.product_id).exists():
        return SkuConflict(f"Another product has the SKU {request.sku!r}.")
    if product is None:
        new = Product.objects.create(
            pk=request.product_id, sku=request.sku, name=request.name, low_stock_threshold=request.low_stock_threshold
        )
        return new, True
    is_threshold_new = product.low_stock_threshold != request.low_stock_threshold
    product.sku, product.name, product.low_stock_threshold = request.sku, request.name, request.low_stock_threshold
    product.save(update_fields=["sku", "name", "low_stock_threshold", "updated_at"])
    if is_threshold_new:
        _mark_levels(product)
    return product, False


def _mark_levels(product: Product) -> None:
    """Copy the threshold to the product's levels, under their locks."""
    ledger.mark(ledger.lock([product.pk]).by_key.values(), low_stock_threshold=product.low_stock_threshold)


def refresh_low_marks() -> int:
    """Recompute the low-stock marks after LOW_STOCK_THRESHOLD has changed. Returns how many were wrong."""
    threshold = Coalesce(F("low_stock_threshold"), Value(settings.LOW_STOCK_THRESHOLD))
    is_low = Case(When(available__lt=threshold, then=True), default=False)
    wrong = StockLevel.objects.exclude(is_low=is_low)
    changed, last_id = 0, 0
    while found := list(wrong.filter(pk__gt=last_id).order_by("pk").values_list("pk", "product_id")[:MARK_CHUNK]):
        last_id = found[-1][0]
        level_ids = {level_id for level_id, _ in found}
        with transaction.atomic():
            held = ledger.lock({product_id for _, product_id in found}).by_key.values()
            ledger.mark([level for level in held if level.id in level_ids])
        changed += len(found)
    return changed
