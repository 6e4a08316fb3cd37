"""The HTTP door of the ledger: lists of the stock levels and of the movements that add up to them."""

from django_filters import rest_framework as django_filters
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory_project.foundation.access import scopes
from inventory_project.foundation.http.fields import ReferenceField
from inventory_project.foundation.http.filters import BooleanFilter, ChoiceFilter, MomentFilter, TextFilter, UUIDFilter
from inventory_project.foundation.http.views import ViewSet
from stock.models import StockLevel, StockMovement
from warehouses.fields import WarehouseIdField


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
    warehouse_id = TextFilter(reader=WarehouseIdField)
    low = BooleanFilter(field_name="is_low")


class StockLevelViewSet(ViewSet[StockLevel]):
    queryset = StockLevel.objects.all()
    serializer_class = StockLevelOut
    filterset_class = StockLevelFilter
    ordering = ("id",)
    required_scopes = scopes.STOCK_READ

    def list(self, request: Request) -> Response:
        """Stock levels, as the database has them."""
        return self.page()


class MovementOut(serializers.ModelSerializer[StockMovement]):
    product_id = serializers.UUIDField()
    warehouse_id = serializers.CharField()

    class Meta:
        model = StockMovement
        fields = [
            "id", "product_id", "warehouse_id", "kind", "available_delta", "reserved_delta", "incoming_delta",
            "number", "available_after", "reserved_after", "incoming_after",
            "line_id", "reference", "actor", "reason", "created_at",
        ]  # fmt: skip


class MovementFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    product_id = UUIDFilter()
    warehouse_id = TextFilter(reader=WarehouseIdField)
    kind = ChoiceFilter(choices=StockMovement.Kind.choices)
    reference = TextFilter(reader=ReferenceField)
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
