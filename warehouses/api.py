"""The HTTP door of the warehouses. It only reads them: the admin and `manage.py seed` create and change them."""

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory_project.foundation.access import scopes
from inventory_project.foundation.http.views import ViewSet
from warehouses import catalogue
from warehouses.allocation import policies
from warehouses.models import Warehouse

WAREHOUSE_ID = OpenApiParameter(
    "warehouse_id", str, OpenApiParameter.PATH, examples=[OpenApiExample("A seeded warehouse", value="wh-sp-001")]
)


class ServedRegionsField(serializers.ListField):
    """The served regions as the allocation reads them, even if the row holds something invalid."""

    child = serializers.CharField()

    def get_attribute(self, instance: Warehouse) -> list[str]:
        """The valid served regions of the warehouse; empty if the row holds anything but a list of texts."""
        return policies.regions_of(instance.served_regions)


class WarehouseOut(serializers.ModelSerializer[Warehouse]):
    """A warehouse as callers see it."""

    served_regions = ServedRegionsField(help_text="Regions this warehouse ships to. Empty: all regions.")

    class Meta:
        model = Warehouse
        fields = (
            *("id", "name", "region", "priority", "postal_code", "latitude", "longitude", "served_regions"),
            "is_active",
        )


class WarehouseViewSet(ViewSet[Warehouse]):
    """List the warehouses, or read one."""

    queryset = Warehouse.objects.all()
    serializer_class = WarehouseOut
    ordering = ("id",)
    required_scopes = scopes.STOCK_READ

    def list(self, request: Request) -> Response:
        """All warehouses in the order of their ids, closed ones too."""
        return self.page()

    @extend_schema(parameters=[WAREHOUSE_ID])
    def retrieve(self, request: Request, warehouse_id: str) -> Response:
        """One warehouse."""
        return Response(self.get_serializer(catalogue.get(warehouse_id)).data)
