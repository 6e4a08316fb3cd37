"""The HTTP door of availability: what can be sold now of one product or of many."""

from typing import Any
from uuid import UUID

from django.conf import settings
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory_project.foundation import moments
from inventory_project.foundation.access import scopes
from inventory_project.foundation.http import schema
from inventory_project.foundation.http.fields import BoundedListField, DigitsField, StrictSerializer, StrictUUIDField
from inventory_project.foundation.http.views import ViewSet
from stock import availability
from stock.examples import BEANS, MACHINE, PRODUCT_ID
from stock.models import Product
from warehouses.fields import PostalCodeField, WarehouseIdField

POSTAL_CODE_HELP = "The delivery: distances are to there, and served_by names the warehouses that would send the goods."


class AvailabilityQuery(StrictSerializer):
    quantity = DigitsField(
        required=False,
        min_value=1,
        max_value=settings.RESERVATION_MAX_QUANTITY,
        help_text="Adds is_sufficient to the answer.",
    )
    warehouse_id = WarehouseIdField(required=False)
    postal_code = PostalCodeField(required=False, help_text=POSTAL_CODE_HELP)


@extend_schema_serializer(examples=[schema.example("Two products", {"product_ids": [BEANS, MACHINE]})])
class BulkAvailabilityIn(StrictSerializer):
    product_ids = BoundedListField(child=StrictUUIDField(), max_length=settings.AVAILABILITY_MAX_PRODUCTS)
    postal_code = PostalCodeField(required=False, allow_blank=True, allow_null=True, help_text=POSTAL_CODE_HELP)


class WarehouseAvailabilityOut(serializers.Serializer[Any]):
    warehouse_id = serializers.CharField()
    available = serializers.IntegerField()
    reserved = serializers.IntegerField()
    incoming = serializers.IntegerField()
    distance_km = serializers.FloatField(
        allow_null=True, help_text="To the postal code; null without one, or if one of the two positions is not known."
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
        help_text="`reserved`: nothing is free now, but holds at open warehouses may come back.",
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


def to_json(product: availability.ProductAvailability) -> dict[str, Any]:
    """Format AvailabilityOut by hand, because DRF takes longer for so many fields than the counters for the numbers."""
    body: dict[str, Any] = {
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
        "as_of": moments.utc_text(product.as_of),
    }
    if product.is_sufficient is not None:
        body["is_sufficient"] = product.is_sufficient
    if product.served_by is not None:
        body["served_by"] = [serving._asdict() for serving in product.served_by]
    return body


class AvailabilityViewSet(ViewSet[Product]):
    required_scopes = scopes.STOCK_READ

    @extend_schema(parameters=[PRODUCT_ID, AvailabilityQuery], responses={200: AvailabilityOut, **schema.refusals(422)})
    def retrieve(self, request: Request, product_id: UUID) -> Response:
        """What can be sold of a product now."""
        query = AvailabilityQuery.read(request.query_params) if request.query_params else {}
        return Response(to_json(availability.of_product(product_id, **query)))

    @extend_schema(request=BulkAvailabilityIn, responses={200: BulkAvailabilityOut, **schema.refusals(422)})
    def bulk(self, request: Request) -> Response:
        """What can be sold of up to 500 products now, in the order asked."""
        body = BulkAvailabilityIn.read(request.data)
        found = availability.of_products(body["product_ids"], postal_code=body.get("postal_code") or "")
        return Response({"products": [to_json(product) for product in found]})
