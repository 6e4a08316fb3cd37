"""The HTTP door of the warehouses: reading them. Who makes and changes them uses the admin or `manage.py seed`."""

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
    """The regions that the choice of a warehouse goes by, whatever else was written past the admin."""

    child = serializers.CharField()

    def get_attribute(self, instance: Warehouse) -> list[str]:
        """Those of the row."""
        return policies.regions_of(instance.served_regions)


class WarehouseOut(serializers.ModelSerializer[Warehouse]):
    """A warehouse as callers see it."""

    served_regions = ServedRegionsField(help_text="The regions that goods may go to from here; none named: to all.")

    class Meta:
        model = Warehouse
        fields = (
            *("id", "name", "region", "priority", "postal_code", "latitude", "longitude", "served_regions"),
            "is_active",
        )


class WarehouseViewSet(ViewSet[Warehouse]):
    """Places."""

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
