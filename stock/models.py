"""Products, their stock levels, and every movement that changed a level.

Only stock levels and sales blocks have foreign keys to products and warehouses in the database. Movements and documents
name places that have a level (I12), and rows of products, warehouses and levels are never deleted. A foreign key of
theirs would lock a product's or a warehouse's row at the commit of each sale: see docs/concepts/locking.md.
"""

from django.db import models
from django.db.models import Q


class Product(models.Model):
    """A product that is stocked. Its id comes from the shop's catalogue."""

    id = models.UUIDField(primary_key=True)
    sku = models.CharField("SKU", max_length=64, unique=True)
    name = models.CharField(max_length=200)
    low_stock_threshold = models.PositiveIntegerField(
        null=True, blank=True, help_text="Units below which stock counts as low; empty means LOW_STOCK_THRESHOLD."
    )
    is_blocked = models.BooleanField("sales blocked", default=False, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "stock_product"

    def __str__(self) -> str:
        return f"{self.sku} {self.name}"


class SalesBlock(models.Model):
    """A sales block of a product: its reason, author and time, and the same for its end. Only the open one counts."""

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="sales_blocks")
    reason = models.CharField(max_length=500)
    blocked_by = models.CharField(max_length=150)
    blocked_at = models.DateTimeField()
    lifted_reason = models.CharField(max_length=500, blank=True)
    lifted_by = models.CharField(max_length=150, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "stock_sales_block"
        constraints = [
            models.UniqueConstraint(
                fields=["product"], condition=Q(lifted_at=None), name="sales_block_is_open_once_for_a_product"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.product_id} blocked by {self.blocked_by}"


class StockLevel(models.Model):
    """How much of one product lies in one warehouse. Only `stock.ledger` writes the numbers, under the row's lock.

    `is_blocked`, `is_closed` and `low_stock_threshold` are copies from the product and the warehouse, because whatever
    decides a sale must be in the locked row itself.
    """

    product = models.ForeignKey(Product, on_delete=models.PROTECT, db_index=False, related_name="levels")
    warehouse = models.ForeignKey("warehouses.Warehouse", on_delete=models.PROTECT, related_name="levels")
    available = models.BigIntegerField(default=0, help_text="Units that can be sold.")
    reserved = models.BigIntegerField(default=0, help_text="Units held by active reservations.")
    incoming = models.BigIntegerField(default=0, help_text="Units on their way here.")
    replenished = models.BigIntegerField(
        default=0, db_default=0, help_text="Units on hand after the last replenishment, corrected since."
    )
    is_blocked = models.BooleanField(default=False, help_text="Sales of the product are blocked.")
    is_closed = models.BooleanField(default=False, help_text="The warehouse is closed.")
    is_low = models.BooleanField(default=False, help_text="Available is below the threshold.")
    low_stock_threshold = models.PositiveIntegerField(null=True, blank=True)
    version = models.BigIntegerField(default=0, help_text="Rises with every change of the row.")
    last_movement = models.BigIntegerField(default=0, db_default=0, help_text="The number of its latest movement.")
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "stock_level"
        constraints = [
            # Its index also finds the rows to lock, in the order of locking.
            models.UniqueConstraint(fields=["product", "warehouse"], name="stock_level_is_one_row_for_each_place"),
            models.CheckConstraint(condition=Q(available__gte=0), name="stock_level_never_promises_what_it_lacks"),
            models.CheckConstraint(condition=Q(reserved__gte=0), name="stock_level_never_releases_what_is_not_held"),
            models.CheckConstraint(condition=Q(incoming__gte=0), name="stock_level_never_receives_what_is_not_coming"),
            models.CheckConstraint(
                condition=Q(replenished__gte=0), name="stock_level_is_never_replenished_to_less_than_nothing"
            ),
        ]
        indexes = [
            # `low=true` and the scarcest levels for the metrics. No index mentions a number that sales change.
            models.Index(fields=["product", "warehouse"], condition=Q(is_low=True), name="stock_level_low"),
        ]

    def __str__(self) -> str:
        return f"{self.product_id} at {self.warehouse_id}"


class StockMovement(models.Model):
    """One entry of the ledger: what changed a level, by how much, and on whose account. Never changed or deleted.

    `number` counts the movements of a level, without gaps; the three numbers after it are those of the level once it
    was applied. So a level's history is a chain that needs no clock: each movement continues the one before. Movements
    from before the ledger was numbered have none of the four.
    """

    class Kind(models.TextChoices):
        RECEIPT = "RECEIPT"
        ADJUSTMENT = "ADJUSTMENT"
        RESERVE = "RESERVE"
        CONFIRM = "CONFIRM"
        RELEASE = "RELEASE"
        RETURN = "RETURN"

    id = models.UUIDField(primary_key=True)
    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="movements"
    )
    warehouse = models.ForeignKey(
        "warehouses.Warehouse", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    kind = models.CharField(max_length=16, choices=Kind)
    available_delta = models.BigIntegerField(default=0)
    reserved_delta = models.BigIntegerField(default=0)
    incoming_delta = models.BigIntegerField(default=0)
    number = models.BigIntegerField(null=True, blank=True, help_text="Counts the movements of a level, without gaps.")
    available_after = models.BigIntegerField(null=True, blank=True)
    reserved_after = models.BigIntegerField(null=True, blank=True)
    incoming_after = models.BigIntegerField(null=True, blank=True)
    line_id = models.UUIDField(null=True, blank=True, help_text="The reservation's line, if one is behind it.")
    reference = models.CharField(max_length=128, blank=True, help_text="The document or the return behind it.")
    actor = models.CharField(max_length=150)
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "stock_movement"
        constraints = [
            models.UniqueConstraint(
                fields=["line_id", "kind", "reference"], name="stock_movement_of_a_line_happens_once"
            ),
            # The history of a level; also finds the movement before another one.
            models.UniqueConstraint(
                fields=["product", "warehouse", "number"],
                condition=Q(number__isnull=False),
                name="stock_movement_has_a_number_of_its_own",
            ),
        ]
        indexes = [
            # The ledger of a product, newest first; ids are in the order of time.
            models.Index(fields=["product", "-id"], name="stock_movement_by_product"),
            # The movements of a document or a return.
            models.Index(fields=["reference"], condition=~Q(reference=""), name="stock_movement_by_reference"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.product_id} at {self.warehouse_id}"


class StockDocument(models.Model):
    """A receipt or an adjustment as it was sent. Because of its reference a repeat has no second effect."""

    class Kind(models.TextChoices):
        RECEIPT = "RECEIPT"
        ADJUSTMENT = "ADJUSTMENT"

    kind = models.CharField(max_length=16, choices=Kind)
    reference = models.CharField(max_length=128)
    warehouse = models.ForeignKey(
        "warehouses.Warehouse", on_delete=models.PROTECT, db_constraint=False, related_name="+"
    )
    reason = models.CharField(max_length=500, blank=True)
    actor = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "stock_document"
        constraints = [
            models.UniqueConstraint(fields=["kind", "reference"], name="stock_document_has_a_reference_of_its_own"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"


class StockDocumentLine(models.Model):
    """One product of a document; `quantity` is signed for adjustments."""

    document = models.ForeignKey(StockDocument, on_delete=models.PROTECT, related_name="lines", db_index=False)
    product = models.ForeignKey(Product, on_delete=models.PROTECT, db_constraint=False, related_name="+")
    quantity = models.BigIntegerField()

    class Meta:
        db_table = "stock_document_line"
        constraints = [
            models.UniqueConstraint(fields=["document", "product"], name="stock_document_names_a_product_once"),
        ]

    def __str__(self) -> str:
        return f"{self.product_id} {self.quantity:+d}"
