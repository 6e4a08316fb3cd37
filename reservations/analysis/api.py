"""The HTTP door of the inspection: the numbers of one product by Redis, levels, ledger and holds."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory_project.foundation.access import scopes
from inventory_project.foundation.http.views import ViewSet
from reservations.analysis import inspection
from reservations.analysis.inspection import CounterState
from stock.examples import PRODUCT_ID
from stock.models import Product


class LevelCounterOut(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    available = serializers.IntegerField()
    reserved = serializers.IntegerField()
    incoming = serializers.IntegerField()
    is_sellable = serializers.BooleanField()
    replenished = serializers.IntegerField()


class LevelNumbersOut(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    available = serializers.IntegerField()
    reserved = serializers.IntegerField()
    incoming = serializers.IntegerField()
    replenished = serializers.IntegerField()
    is_blocked = serializers.BooleanField()
    is_closed = serializers.BooleanField()


class LedgerSumsOut(serializers.Serializer[Any]):
    available = serializers.IntegerField()
    reserved = serializers.IntegerField()
    incoming = serializers.IntegerField()


class ActiveHoldsOut(serializers.Serializer[Any]):
    lines = serializers.IntegerField()
    units = serializers.IntegerField()


@extend_schema_serializer(component_name="PlaceOut")  # its name in the document since it was first published
class InspectedWarehouseOut(serializers.Serializer[Any]):
    warehouse_id = serializers.CharField()
    counter = LevelCounterOut(allow_null=True, help_text="The counter in Redis; null if it is missing or not used.")
    counter_text = serializers.CharField(allow_null=True, help_text="The counter's text in Redis, used or not.")
    database = LevelNumbersOut(allow_null=True, help_text="The stock level; null if there is none.")
    ledger = LedgerSumsOut(help_text="The sums of all movements.")
    active_holds = ActiveHoldsOut()
    drift = serializers.IntegerField(
        allow_null=True,
        help_text="The counter's available minus the database's. Under load it includes sales between the readings.",
    )


class InspectionOut(serializers.Serializer[Any]):
    product_id = serializers.UUIDField()
    is_blocked = serializers.BooleanField()
    low_stock_threshold = serializers.IntegerField(allow_null=True)
    counters = serializers.ChoiceField(
        choices=[state.value for state in CounterState],
        help_text="Whether the counters are used; if not, the database answers instead.",
    )
    summary_text = serializers.CharField(allow_null=True, help_text="The field of the whole product in the counters.")
    warehouses = InspectedWarehouseOut(many=True)


class InspectionViewSet(ViewSet[Product]):
    required_scopes = scopes.OPERATIONS

    @extend_schema(parameters=[PRODUCT_ID], responses=InspectionOut)
    def retrieve(self, request: Request, product_id: UUID) -> Response:
        """Compare a product's numbers by Redis, levels, ledger and holds, for each warehouse."""
        return Response(InspectionOut(inspection.of_product(product_id)).data)
