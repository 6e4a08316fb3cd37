"""The HTTP door of stock: availability, levels, movements, products, documents, sales blocks, sync."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.conf import settings
from django_filters import rest_framework as django_filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory_project.foundation import moments
from inventory_project.foundation.access import actor_of, scopes
from inventory_project.foundation.errors import NotFound
from inventory_project.foundation.http import schema
from inventory_project.foundation.http.fields import (
    BoundedListField,
    DigitsField,
    ReferenceField,
    StrictIntegerField,
    StrictSerializer,
    StrictUUIDField,
    TextField,
)
from inventory_project.foundation.http.filters import BooleanFilter, ChoiceFilter, MomentFilter, UUIDFilter
from inventory_project.foundation.http.views import ViewSet
from stock import availability, blocking, catalogue, documents
from stock.counters import sync
from stock.models import Product, StockDocument, StockLevel, StockMovement
from warehouses.api import PostalCodeField, WarehouseIdField

MOST = settings.DOCUMENT_MAX_QUANTITY

# Products that `manage.py seed` makes, so that the page to try the API begins with what works.
BEANS = "5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1001"
MACHINE = "5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1002"
PRODUCT_ID = OpenApiParameter(
    "product_id", OpenApiTypes.UUID, OpenApiParameter.PATH, examples=[OpenApiExample("A seeded product", value=BEANS)]
)

# --- availability --------------------------------------------------------------------------------------------------


POSTAL_CODE_HELP = "Where the goods would go: distances are to there, and served_by says who would send them."


class AvailabilityQuery(StrictSerializer):
    quantity = DigitsField(required=False, min_value=1, help_text="Adds is_sufficient to the answer.")
    warehouse_id = WarehouseIdField(required=False)
    postal_code = PostalCodeField(required=False, help_text=POSTAL_CODE_HELP)


@extend_schema_serializer(examples=[schema.example("Two products", {"product_ids": [BEANS, MACHINE]})])
class BulkAvailabilityIn(StrictSerializer):
    product_ids = BoundedListField(child=StrictUUIDField(), max_length=settings.AVAILABILITY_MAX_PRODUCTS)
    postal_code = PostalCodeField(required=False, help_text=POSTAL_CODE_HELP)


class WarehouseAvailabilityOut(serializers.Serializer[Any]):
    warehouse_id = serializers.CharField()
    available = serializers.IntegerField()
    reserved = serializers.IntegerField()
    incoming = serializers.IntegerField()
    distance_km = serializers.FloatField(
        allow_null=True, help_text="To the postal code; null without one, and where one of the two places is not known."
    )


class ServingOut(serializers.Serializer[Any]):
    warehouse_id = serializers.CharField()
    quantity = serializers.IntegerField()
    distance_km = serializers.FloatField(allow_null=True)


class AvailabilityOut(serializers.Serializer[Any]):
    product_id = serializers.UUIDField()
    available = serializers.IntegerField(help_text="Units that can be sold now.")
    state = serializers.ChoiceField(
        choices=["in_stock", "low_stock", "reserved", "out_of_stock", "blocked"],
        help_text="`reserved`: nothing is free now, but holds may come back.",
    )
    incoming = serializers.IntegerField()
    warehouses = WarehouseAvailabilityOut(many=True)
    is_sufficient = serializers.BooleanField(required=False, help_text="Only with ?quantity=.")
    served_by = ServingOut(
        many=True,
        required=False,
        help_text="Only with a postal code: who would send the quantity, or one unit, there; empty if nobody could.",
    )
    source = serializers.ChoiceField(choices=["counters", "database"])  # type: ignore[assignment]  # Field.source is a name
    as_of = serializers.DateTimeField()


class BulkAvailabilityOut(serializers.Serializer[Any]):
    products = AvailabilityOut(many=True)


def _shown(product: availability.ProductAvailability) -> dict[str, Any]:
    """AvailabilityOut by hand: DRF would need more time for so many fields than the counters do for the numbers."""
    shown: dict[str, Any] = {
        "product_id": str(product.product_id),
        "available": product.available,
        "state": product.state,
        "incoming": product.incoming,
        "warehouses": [
            {
                "warehouse_id": place.warehouse_id,
                "available": place.available,
                "reserved": place.reserved,
                "incoming": place.incoming,
                "distance_km": place.distance_km,
            }
            for place in product.warehouses
        ],
        "source": product.source,
        "as_of": moments.shown(product.as_of),
    }
    if product.is_sufficient is not None:
        shown["is_sufficient"] = product.is_sufficient
    if product.served_by is not None:
        shown["served_by"] = [serving._asdict() for serving in product.served_by]
    return shown


class AvailabilityViewSet(ViewSet[Product]):
    required_scopes = scopes.STOCK_READ

    @extend_schema(parameters=[PRODUCT_ID, AvailabilityQuery], responses={200: AvailabilityOut, **schema.refusals(422)})
    def retrieve(self, request: Request, product_id: UUID) -> Response:
        """What can be sold of a product now."""
        query = AvailabilityQuery.read(request.query_params) if request.query_params else {}
        return Response(_shown(availability.of_product(product_id, **query)))

    @extend_schema(request=BulkAvailabilityIn, responses={200: BulkAvailabilityOut, **schema.refusals(422)})
    def bulk(self, request: Request) -> Response:
        """What can be sold of up to 500 products now, in the order asked."""
        body = BulkAvailabilityIn.read(request.data)
        return Response({"products": [_shown(found) for found in availability.of_products(**body)]})


# --- products and sales blocks -------------------------------------------------------------------------------------


@extend_schema_serializer(
    examples=[
        schema.example(
            "A seeded product with a threshold of its own",
            {"sku": "COFFEE-BEANS-1KG", "name": "Coffee beans, 1 kg", "low_stock_threshold": 20},
        )
    ]
)
class ProductIn(StrictSerializer):
    sku = TextField(max_length=64)
    name = TextField(max_length=200)
    low_stock_threshold = StrictIntegerField(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=catalogue.LOW_STOCK_THRESHOLD_MAX,
        help_text="Units below which stock counts as low; null or left out means LOW_STOCK_THRESHOLD.",
    )


class ProductOut(serializers.ModelSerializer[Product]):
    class Meta:
        model = Product
        fields = ["id", "sku", "name", "low_stock_threshold", "is_blocked", "created_at", "updated_at"]


@extend_schema_serializer(examples=[schema.example("A reason", {"reason": "as quality control says"})])
class ReasonIn(StrictSerializer):
    reason = TextField(max_length=500)


class SalesBlockOut(serializers.Serializer[Any]):
    product_id = serializers.UUIDField()
    is_blocked = serializers.BooleanField()
    reason = serializers.CharField(allow_null=True)
    actor = serializers.CharField(allow_null=True)
    at = serializers.DateTimeField(allow_null=True)


class ProductFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    sku = django_filters.CharFilter()


class ProductViewSet(ViewSet[Product]):
    queryset = Product.objects.all()
    serializer_class = ProductOut
    filterset_class = ProductFilter
    ordering = ("id",)
    required_scopes = {
        "list": scopes.STOCK_READ,
        "retrieve": scopes.STOCK_READ,
        "save": scopes.STOCK_WRITE,
        "block_sales": scopes.SALES_BLOCK,
        "unblock_sales": scopes.SALES_BLOCK,
    }

    def list(self, request: Request) -> Response:
        """What is stocked."""
        return self.page()

    @extend_schema(parameters=[PRODUCT_ID])
    def retrieve(self, request: Request, product_id: UUID) -> Response:
        """One product."""
        product = self.get_queryset().filter(pk=product_id).first()
        if product is None:
            raise NotFound(f"There is no product {product_id}.")
        return Response(ProductOut(product).data)

    @extend_schema(
        parameters=[PRODUCT_ID],
        request=ProductIn,
        responses={200: ProductOut, 201: ProductOut, **schema.refusals(409)},
    )
    def save(self, request: Request, product_id: UUID) -> Response:
        """Make the product or change it.

        409 `sku_conflict`: another product has the SKU.
        """
        body = ProductIn.read(request.data)
        product, is_new = catalogue.put(catalogue.ProductRequest(product_id=product_id, **body))
        return Response(ProductOut(product).data, status=201 if is_new else 200)

    @extend_schema(parameters=[PRODUCT_ID], request=ReasonIn, responses=SalesBlockOut)
    def block_sales(self, request: Request, product_id: UUID) -> Response:
        """Nothing of the product is sold from the answer on.

        Blocked already: the block that stands.
        """
        reason = ReasonIn.read(request.data)["reason"]
        block = blocking.block_product(product_id, reason=reason, actor=actor_of(request))
        return self._block_answer(product_id, True, block.reason, block.blocked_by, block.blocked_at)

    @extend_schema(parameters=[PRODUCT_ID], request=ReasonIn, responses=SalesBlockOut)
    def unblock_sales(self, request: Request, product_id: UUID) -> Response:
        """The product is sold again.

        Not blocked: nothing changes, and nobody is named.
        """
        reason = ReasonIn.read(request.data)["reason"]
        block = blocking.unblock_product(product_id, reason=reason, actor=actor_of(request))
        if block is None:
            return self._block_answer(product_id, False, None, None, None)
        return self._block_answer(product_id, False, block.lifted_reason, block.lifted_by, block.lifted_at)

    def _block_answer(self, product_id: UUID, is_blocked: bool, reason: Any, actor: Any, at: Any) -> Response:
        answer = {"product_id": product_id, "is_blocked": is_blocked, "reason": reason, "actor": actor, "at": at}
        return Response(SalesBlockOut(answer).data)


# --- levels and the ledger -----------------------------------------------------------------------------------------


class StockLevelOut(serializers.ModelSerializer[StockLevel]):
    product_id = serializers.UUIDField()
    warehouse_id = serializers.CharField()

    class Meta:
        model = StockLevel
        fields = [
            "product_id", "warehouse_id", "available", "reserved", "incoming", "replenished",
            "is_blocked", "is_closed", "is_low", "version", "updated_at",
        ]  # fmt: skip


class StockLevelFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    product_id = UUIDFilter()
    warehouse_id = django_filters.CharFilter()
    low = BooleanFilter(field_name="is_low")


class StockLevelViewSet(ViewSet[StockLevel]):
    queryset = StockLevel.objects.all()
    serializer_class = StockLevelOut
    filterset_class = StockLevelFilter
    ordering = ("id",)
    required_scopes = scopes.STOCK_READ

    def list(self, request: Request) -> Response:
        """How much lies where, as the database has it."""
        return self.page()


class MovementOut(serializers.ModelSerializer[StockMovement]):
    product_id = serializers.UUIDField()
    warehouse_id = serializers.CharField()

    class Meta:
        model = StockMovement
        fields = [
            "id", "product_id", "warehouse_id", "kind", "available_delta", "reserved_delta", "incoming_delta",
            "line_id", "reference", "actor", "reason", "created_at",
        ]  # fmt: skip


class MovementFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    product_id = UUIDFilter()
    warehouse_id = django_filters.CharFilter()
    kind = ChoiceFilter(choices=StockMovement.Kind.choices)
    reference = django_filters.CharFilter()
    since = MomentFilter(field_name="created_at", lookup_expr="gte")
    until = MomentFilter(field_name="created_at", lookup_expr="lt")


class MovementViewSet(ViewSet[StockMovement]):
    queryset = StockMovement.objects.all()
    serializer_class = MovementOut
    filterset_class = MovementFilter
    ordering = ("-id",)
    required_scopes = scopes.STOCK_READ

    def list(self, request: Request) -> Response:
        """The ledger, the newest first."""
        return self.page()


# --- documents -----------------------------------------------------------------------------------------------------


class ReceiptItem(StrictSerializer):
    product_id = StrictUUIDField()
    quantity = StrictIntegerField(min_value=1, max_value=MOST)


@extend_schema_serializer(
    examples=[
        schema.example(
            "Two units came in",
            {
                "reference": "GRN-2026-001",
                "warehouse_id": "wh-sp-001",
                "items": [{"product_id": BEANS, "quantity": 2}],
            },
        )
    ]
)
class ReceiptIn(StrictSerializer):
    reference = ReferenceField()
    warehouse_id = WarehouseIdField()
    items = BoundedListField(child=ReceiptItem(), max_length=settings.DOCUMENT_MAX_LINES)


class AdjustmentItem(StrictSerializer):
    product_id = StrictUUIDField()
    delta = StrictIntegerField(min_value=-MOST, max_value=MOST, help_text="Units, signed, not 0.")


@extend_schema_serializer(
    examples=[
        schema.example(
            "Two units are broken",
            {
                "reference": "ADJ-2026-001",
                "warehouse_id": "wh-sp-001",
                "reason": "broken in store",
                "items": [{"product_id": BEANS, "delta": -2}],
            },
        )
    ]
)
class AdjustmentIn(StrictSerializer):
    reference = ReferenceField()
    warehouse_id = WarehouseIdField()
    reason = TextField(max_length=500)
    items = BoundedListField(child=AdjustmentItem(), max_length=settings.DOCUMENT_MAX_LINES)


class ReceiptOut(serializers.Serializer[Any]):
    reference = serializers.CharField()
    warehouse_id = serializers.CharField()
    items = ReceiptItem(many=True)
    created_at = serializers.DateTimeField()


class AdjustmentOut(serializers.Serializer[Any]):
    reference = serializers.CharField()
    warehouse_id = serializers.CharField()
    reason = serializers.CharField()
    items = AdjustmentItem(many=True)
    created_at = serializers.DateTimeField()


class DocumentViewSet(ViewSet[StockDocument]):
    required_scopes = scopes.STOCK_WRITE

    @extend_schema(request=ReceiptIn, responses={200: ReceiptOut, 201: ReceiptOut, **schema.refusals(409, 422)})
    def receive(self, request: Request) -> Response:
        """Stock came in.

        A level comes into being with its first receipt. 409: `reference_conflict`.
        """
        return self._book(request, ReceiptIn, ReceiptOut, StockDocument.Kind.RECEIPT, "quantity")

    @extend_schema(
        request=AdjustmentIn, responses={200: AdjustmentOut, 201: AdjustmentOut, **schema.refusals(409, 422)}
    )
    def adjust(self, request: Request) -> Response:
        """Correct the stock, up or down.

        409: `reference_conflict`, or `insufficient_stock` for what is held or not there.
        """
        return self._book(request, AdjustmentIn, AdjustmentOut, StockDocument.Kind.ADJUSTMENT, "delta")

    def _book(
        self,
        request: Request,
        body_in: type[StrictSerializer],
        body_out: type[serializers.Serializer[Any]],
        kind: StockDocument.Kind,
        units: str,
    ) -> Response:
        body = body_in.read(request.data)
        items = tuple((entry["product_id"], entry[units]) for entry in body.pop("items"))
        booked = documents.book(documents.DocumentRequest(kind=kind, items=items, actor=actor_of(request), **body))
        shown = asdict(booked) | {"items": [{"product_id": id_, units: number} for id_, number in booked.items]}
        return Response(body_out(shown).data, status=200 if booked.is_replay else 201)


# --- counters ------------------------------------------------------------------------------------------------------


@extend_schema_serializer(
    examples=[
        schema.example("Everything there is", {}),
        schema.example("What one warehouse stocks", {"warehouse_id": "wh-sp-001"}),
        schema.example("Two products", {"product_ids": [BEANS, MACHINE]}),
    ]
)
class SyncIn(StrictSerializer):
    warehouse_id = WarehouseIdField(required=False, help_text="Only the products that this warehouse stocks.")
    product_ids = BoundedListField(
        child=StrictUUIDField(),
        max_length=settings.AVAILABILITY_MAX_PRODUCTS,
        required=False,
        help_text="Only these; not together with warehouse_id.",
    )


class DriftOut(serializers.Serializer[Any]):
    product_id = serializers.UUIDField()
    field = serializers.CharField(help_text="The warehouse, or `_` for what the counters say of the whole product.")
    counter = serializers.CharField(allow_null=True, help_text="As it stood; null where there was none.")
    database = serializers.CharField(allow_null=True, help_text="As it ought to be; null where nothing ought to be.")


class SyncOut(serializers.Serializer[Any]):
    products_checked = serializers.IntegerField(source="products")
    levels_checked = serializers.IntegerField(source="levels")
    missing = serializers.IntegerField(help_text="Products that had no counters.")
    wrong = serializers.IntegerField(help_text="Products whose counters said something else than the database.")
    repaired = serializers.IntegerField(help_text="Products.")
    drift_units = serializers.IntegerField(help_text="By so much in all the available stock differed.")
    seconds = serializers.FloatField()
    drifts = DriftOut(many=True, help_text="What was found, the first of it.")


class ResetCounterOut(serializers.Serializer[Any]):
    product_id = serializers.UUIDField()
    before = serializers.DictField(child=serializers.CharField(), help_text="The fields as they stood.")
    after = serializers.DictField(child=serializers.CharField(), help_text="The fields as they are now.")


class NothingIn(StrictSerializer):
    pass


class CountersViewSet(ViewSet[Product]):
    required_scopes = scopes.OPERATIONS

    @extend_schema(request=SyncIn, responses={200: SyncOut, **schema.refusals(409, 422)})
    def sync(self, request: Request) -> Response:
        """Compare the counters with the database now, and repair what differs.

        409: `sync_running` while another sync runs; `no_counters` without Redis, so always on SQLite.
        """
        body = SyncIn.read(request.data)
        # Parts may run side by side: one thread each, or they would take the connections that sales need.
        workers = 1 if body else None
        return Response(SyncOut(sync.sync(actor=actor_of(request), workers=workers, **body)).data)

    @extend_schema(parameters=[PRODUCT_ID], request=NothingIn, responses={200: ResetCounterOut, **schema.refusals(409)})
    def reset(self, request: Request, product_id: UUID) -> Response:
        """Rewrite the counters of a product from the database, right or wrong.

        409: `no_counters` without Redis, so always on SQLite.
        """
        NothingIn.read(request.data)
        return Response(ResetCounterOut(sync.reset(product_id, actor=actor_of(request))).data)
