"""The admin pages of stock. Staff edit products and block sales here; quantities and the ledger are read-only."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar
from uuid import UUID, uuid4

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from inventory_project.foundation.admin import (
    LargeTableAdmin,
    ReadOnly,
    ReadOnlyInline,
    ReportsRefusals,
    answered,
    flag,
    staff_actor,
)
from inventory_project.foundation.errors import Conflict, Refusal
from inventory_project.foundation.form_fields import IdentifierField, IdField, NameField, WholeNumberField
from stock import blocking, catalogue
from stock.links import movements_link
from stock.models import Product, SalesBlock, StockDocument, StockDocumentLine, StockLevel, StockMovement


class ProductForm(ModelForm[Product]):
    """The fields of a product that staff edit."""

    low_stock_threshold = WholeNumberField(
        required=False,
        min_value=0,
        max_value=catalogue.MAX_LOW_STOCK_THRESHOLD,
        help_text="Units below which stock counts as low. Leave empty for the service's default.",
    )

    class Meta:
        model = Product
        fields = ("id", "sku", "name", "low_stock_threshold")
        field_classes: ClassVar = {"id": IdField, "sku": IdentifierField, "name": NameField}


class ReasonForm(forms.Form):
    """Asks for the reason of a block or of lifting it."""

    reason = NameField(
        max_length=500,
        widget=forms.TextInput(attrs={"class": "vTextField", "autofocus": True}),
        help_text="Recorded with your name and the time.",
    )


def movements_of(level: StockLevel) -> SafeString:
    """A link to the movements that add up to a level."""
    return movements_link(product__id__exact=level.product_id, warehouse__id__exact=level.warehouse_id)


class StockLevelInline(ReadOnlyInline[StockLevel, Product]):
    """The stock levels of a product, one row for each warehouse."""

    model = StockLevel
    fields = ("warehouse", "available", "reserved", "incoming", "low", "closed", "movements", "updated_at")
    readonly_fields = ("low", "closed", "movements")
    ordering = ("warehouse_id",)
    low, closed = flag("is_low", "low"), flag("is_closed", "closed")

    def get_queryset(self, request: HttpRequest) -> QuerySet[StockLevel]:
        """With the warehouses, which each line names."""
        return super().get_queryset(request).select_related("warehouse")

    @admin.display(description="ledger")
    def movements(self, level: StockLevel) -> SafeString:
        """The way to the movements whose sums this level is."""
        return movements_of(level)


class SalesBlockInline(ReadOnlyInline[SalesBlock, Product]):
    """The sales blocks of a product, with their reasons."""

    model = SalesBlock
    fields = ("reason", "blocked_by", "blocked_at", "lifted_reason", "lifted_by", "lifted_at")
    ordering = ("-id",)


@admin.register(Product)
class ProductAdmin(ReportsRefusals[Product], LargeTableAdmin[Product]):
    """List, create and correct products; block and unblock their sales."""

    form = ProductForm
    list_display = ("sku", "name", "low_stock_threshold", "blocked", "updated_at")
    list_filter = ("is_blocked",)
    search_fields = ("id", "sku__startswith")
    search_help_text = "A product id, or the beginning of an SKU. The list ends after 10,000 rows."
    ordering = ("sku",)
    inlines = (StockLevelInline, SalesBlockInline)
    actions = ("block_sales", "unblock_sales")
    blocked = flag("is_blocked", "blocked")

    def get_fields(self, request: HttpRequest, obj: Product | None = None) -> tuple[str, ...]:
        """The form's fields; for an existing product also the read-only facts."""
        if obj is None:
            return ("id", "sku", "name", "low_stock_threshold")
        return (
            *("id", "sku", "name", "low_stock_threshold"),
            *("blocked", "movements", "created_at", "updated_at"),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Product | None = None) -> tuple[str, ...]:
        """The id is fixed once the product exists, because stock, reservations and the ledger refer to it."""
        return ("id", "blocked", "movements", "created_at", "updated_at") if obj else ()

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Propose a new id, for a product that has none in the shop's catalogue."""
        return {"id": uuid4(), **super().get_changeform_initial_data(request)}

    def get_inlines(self, request: HttpRequest, obj: Product | None) -> Any:
        """No inlines on the form for a new product, because it has no stock level yet."""
        return self.inlines if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Product | None = None) -> bool:
        """Never: the ledger refers to the product."""
        return False

    def save_model(self, request: HttpRequest, obj: Product, form: ModelForm[Product], change: bool) -> None:
        """Save through the catalogue, which copies the threshold to the product's stock levels."""
        catalogue.put(
            catalogue.ProductRequest(
                product_id=obj.pk, sku=obj.sku, name=obj.name, low_stock_threshold=obj.low_stock_threshold
            )
        )

    @admin.action(description="Block sales of the selected products", permissions=["change"])
    def block_sales(self, request: HttpRequest, queryset: QuerySet[Product]) -> HttpResponse | None:
        """Stop the sales of the products; units on hold can still be confirmed."""
        return self.ask_first(
            request,
            queryset,
            question="Block sales of these products?",
            done="Products blocked",
            act=partial(_block, actor=staff_actor(request)),
            form_class=ReasonForm,
        )

    @admin.action(description="Unblock sales of the selected products", permissions=["change"])
    def unblock_sales(self, request: HttpRequest, queryset: QuerySet[Product]) -> HttpResponse | None:
        """Allow the sales of the products again."""
        return self.ask_first(
            request,
            queryset,
            question="Sell these products again?",
            done="Products unblocked",
            act=partial(_unblock, actor=staff_actor(request)),
            form_class=ReasonForm,
        )

    @admin.display(description="ledger")
    def movements(self, product: Product) -> SafeString:
        """A link to the product's movements."""
        return movements_link(product__id__exact=product.pk)


def _block(product_ids: Sequence[UUID], form: dict[str, Any], *, actor: str) -> list[SalesBlock | Refusal]:
    """Block each product. An earlier block keeps its reason; then the answer is a Conflict that names it."""
    answers = []
    for product_id in product_ids:
        block = answered(partial(blocking.block_product, product_id, reason=form["reason"], actor=actor))
        if isinstance(block, SalesBlock) and (block.reason, block.blocked_by) != (form["reason"], actor):
            block = Conflict(f"{block.product} was blocked before by {block.blocked_by}: {block.reason}")
        answers.append(block)
    return answers


def _unblock(product_ids: Sequence[UUID], form: dict[str, Any], *, actor: str) -> list[SalesBlock | Refusal]:
    """Unblock each product. One that was not blocked gets a Conflict, because its reason is not recorded."""
    products = Product.objects.in_bulk(product_ids)
    answers = []
    for product_id in product_ids:
        block = answered(partial(blocking.unblock_product, product_id, reason=form["reason"], actor=actor))
        answers.append(block or Conflict(f"{products[product_id]} was not blocked."))
    return answers


@admin.register(SalesBlock)
class SalesBlockAdmin(ReadOnly, LargeTableAdmin[SalesBlock]):
    """List and view sales blocks; products are blocked on their own page."""

    list_display = ("product", "reason", "blocked_by", "blocked_at", "lifted_reason", "lifted_by", "lifted_at")
    list_filter = (("lifted_at", admin.EmptyFieldListFilter),)
    list_select_related = ("product",)
    search_fields = ("product__sku", "product_id")
    search_help_text = (
        "An SKU or a product id. A block without a lifting date is in force. The list ends after 10,000 rows."
    )
    ordering = ("-id",)


@admin.register(StockLevel)
class StockLevelAdmin(ReadOnly, LargeTableAdmin[StockLevel]):
    """List and view stock levels; only the ledger writes quantities."""

    list_display = (
        *("product__sku", "warehouse_id", "available", "reserved", "incoming", "replenished"),
        *("low", "blocked", "closed", "updated_at"),
    )
    list_filter = ("is_low", "is_blocked", "is_closed", "warehouse")
    list_select_related = ("product",)
    search_fields = ("product__sku", "product_id")
    search_help_text = "An SKU or a product id. The list ends after 10,000 rows."
    ordering = ("product_id", "warehouse_id")
    fields = (
        *("product", "warehouse", "available", "reserved", "incoming", "replenished", "low", "low_stock_threshold"),
        *("blocked", "closed", "movements", "version", "updated_at"),
    )
    readonly_fields = ("low", "blocked", "closed", "movements")
    low, blocked, closed = flag("is_low", "low"), flag("is_blocked", "blocked"), flag("is_closed", "closed")

    @admin.display(description="ledger")
    def movements(self, level: StockLevel) -> SafeString:
        """The way to the movements whose sums this level is."""
        return movements_of(level)


def signed(name: str) -> Callable[[StockMovement], str]:
    """A list column that shows a delta with its sign."""

    @admin.display(description=name.removesuffix("_delta"))
    def column(movement: StockMovement) -> str:
        units: int = getattr(movement, name)
        return f"{units:+d}" if units else "0"

    return column


@admin.register(StockMovement)
class StockMovementAdmin(ReadOnly, LargeTableAdmin[StockMovement]):
    """List and view the movements of the ledger."""

    list_display = (
        *("created_at", "kind", "product__sku", "warehouse_id"),
        *(signed(name) for name in ("available_delta", "reserved_delta", "incoming_delta")),
        *("reference", "actor", "reason"),
    )
    list_filter = ("kind", "created_at", "warehouse")
    list_select_related = ("product",)
    search_fields = ("product__sku", "reference", "product_id", "line_id", "id")
    search_help_text = (
        "An SKU, a reference, a product id or the id of a reservation's line. The list ends after 10,000."
    )
    ordering = ("-id",)


class StockDocumentLineInline(ReadOnlyInline[StockDocumentLine, StockDocument]):
    """The lines of a document."""

    model = StockDocumentLine
    fields = ("product", "quantity")
    ordering = ("id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[StockDocumentLine]:
        """With the products, which each line names."""
        return super().get_queryset(request).select_related("product")


@admin.register(StockDocument)
class StockDocumentAdmin(ReadOnly, LargeTableAdmin[StockDocument]):
    """List and view receipts and adjustments."""

    list_display = ("created_at", "kind", "reference", "warehouse", "reason", "actor")
    list_filter = ("kind", "warehouse")
    list_select_related = ("warehouse",)
    search_fields = ("reference",)
    search_help_text = "A reference. The list ends after 10,000 rows."
    ordering = ("-id",)
    inlines = (StockDocumentLineInline,)
    fields = ("kind", "reference", "warehouse", "reason", "actor", "created_at", "movements")
    readonly_fields = ("movements",)

    @admin.display(description="ledger")
    def movements(self, document: StockDocument) -> SafeString:
        """A link to the movements of the document."""
        return movements_link(reference=document.reference, kind__exact=document.kind)
