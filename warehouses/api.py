"""The HTTP door of the warehouses: reading them. Who makes and changes them uses the admin or `manage.py seed`."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory_project.foundation.access import scopes
from inventory_project.foundation.http.fields import TextField
from inventory_project.foundation.http.views import ViewSet
from warehouses import catalogue
from warehouses.allocation import policies
from warehouses.models import ID_PATTERN, POSTAL_CODE_PATTERN, Warehouse

WAREHOUSE_ID = OpenApiParameter(
    "warehouse_id", str, OpenApiParameter.PATH, examples=[OpenApiExample("A seeded warehouse", value="wh-sp-001")]
)


class WarehouseIdField(TextField):
    """The id of a warehouse in a body or a query; whether there is such a warehouse is for the domain to say."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(pattern=ID_PATTERN, pattern_hint="a warehouse id such as wh-sp-001", max_length=64, **kwargs)


class PostalCodeField(TextField):
    """A postal code of any country."""

    def __init__(self, **kwargs: Any) -> None:
        hint = "letters, digits, spaces and hyphens"
        super().__init__(pattern=POSTAL_CODE_PATTERN, pattern_hint=hint, max_length=16, **kwargs)


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
