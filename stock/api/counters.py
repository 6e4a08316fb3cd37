"""Comparing the counters with the database, and rewriting those of one product."""

from typing import Any
from uuid import UUID

from django.conf import settings
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory_project.foundation.access import actor_of, scopes
from inventory_project.foundation.http import schema
from inventory_project.foundation.http.fields import BoundedListField, NothingIn, StrictSerializer, StrictUUIDField
from inventory_project.foundation.http.views import ViewSet
from stock.counters import sync
from stock.examples import BEANS, MACHINE, PRODUCT_ID
from stock.models import Product
from warehouses.fields import WarehouseIdField


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
