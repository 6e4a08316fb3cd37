"""The HTTP door of products and their sales blocks."""

from typing import Any
from uuid import UUID

from django_filters import rest_framework as django_filters
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory_project.foundation.access import actor_of, scopes
from inventory_project.foundation.errors import NotFound
from inventory_project.foundation.http import schema
from inventory_project.foundation.http.fields import IdentifierField, StrictIntegerField, StrictSerializer, TextField
from inventory_project.foundation.http.filters import TextFilter
from inventory_project.foundation.http.views import ViewSet
from stock import blocking, catalogue
from stock.examples import PRODUCT_ID
from stock.models import Product


class SkuField(IdentifierField):
    """The SKU of a product."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=64, **kwargs)


@extend_schema_serializer(
    examples=[
        schema.example(
            "A seeded product with a threshold of its own",
            {"sku": "COFFEE-BEANS-1KG", "name": "Coffee beans, 1 kg", "low_stock_threshold": 20},
        )
    ]
)
class ProductIn(StrictSerializer):
    sku = SkuField()
    name = TextField(max_length=200)
    low_stock_threshold = StrictIntegerField(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=catalogue.MAX_LOW_STOCK_THRESHOLD,
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
    sku = TextFilter(reader=SkuField)


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
        """Products that are stocked."""
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
        """Create the product or update it.

        409 `sku_conflict`: another product has the SKU.
        """
        body = ProductIn.read(request.data)
        product, is_new = catalogue.put(catalogue.ProductRequest(product_id=product_id, **body))
        return Response(ProductOut(product).data, status=201 if is_new else 200)

    @extend_schema(parameters=[PRODUCT_ID], request=ReasonIn, responses=SalesBlockOut)
    def block_sales(self, request: Request, product_id: UUID) -> Response:
        """Block the sales of the product.

        Nothing of it is sold once this answers. If it is blocked already, the answer is the existing block.
        """
        reason = ReasonIn.read(request.data)["reason"]
        block = blocking.block_product(product_id, reason=reason, actor=actor_of(request))
        return self._block_answer(product_id, True, block.reason, block.blocked_by, block.blocked_at)

    @extend_schema(parameters=[PRODUCT_ID], request=ReasonIn, responses=SalesBlockOut)
    def unblock_sales(self, request: Request, product_id: UUID) -> Response:
        """Lift the block, so that the product is sold again.

        If it is not blocked, nothing changes, and `reason`, `actor` and `at` are null.
        """
        reason = ReasonIn.read(request.data)["reason"]
        block = blocking.unblock_product(product_id, reason=reason, actor=actor_of(request))
        if block is None:
            return self._block_answer(product_id, False, None, None, None)
        return self._block_answer(product_id, False, block.lifted_reason, block.lifted_by, block.lifted_at)

    def _block_answer(self, product_id: UUID, is_blocked: bool, reason: Any, actor: Any, at: Any) -> Response:
        answer = {"product_id": product_id, "is_blocked": is_blocked, "reason": reason, "actor": actor, "at": at}
        return Response(SalesBlockOut(answer).data)
