"""The HTTP door of the counters: compare them with the database, or rewrite those of one product."""

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
    field = serializers.CharField(help_text="The warehouse, or `_` for the field of the whole product.")
    counter = serializers.CharField(allow_null=True, help_text="The value in Redis; null if there was none.")
    database = serializers.CharField(
        allow_null=True, help_text="The value by the database; null if there must be none."
    )


class SyncOut(serializers.Serializer[Any]):
    products_checked = serializers.IntegerField(source="products")
    levels_checked = serializers.IntegerField(source="levels")
    missing = serializers.IntegerField(help_text="Products that had no counters.")
    wrong = serializers.IntegerField(help_text="Products whose counters differed from the database.")
    repaired = serializers.IntegerField(help_text="Products.")
    drift_units = serializers.IntegerField(help_text="Total difference in available units.")
    seconds = serializers.FloatField()
    drifts = DriftOut(many=True, help_text="The first differences found, 20 at most.")


class ResetCounterOut(serializers.Serializer[Any]):
    product_id = serializers.UUIDField()
    before = serializers.DictField(child=serializers.CharField(), help_text="The fields before.")
    after = serializers.DictField(child=serializers.CharField(), help_text="The fields now.")


class CountersViewSet(ViewSet[Product]):
    required_scopes = scopes.OPERATIONS

    @extend_schema(request=SyncIn, responses={200: SyncOut, **schema.refusals(409, 422)})
    def sync(self, request: Request) -> Response:
        """Compare the counters with the database now, and repair what differs.

        409: `sync_running` while another sync runs; `no_counters` without Redis, so always on SQLite.
        """
        body = SyncIn.read(request.data)
        # Partial syncs may run at the same time. One thread each, so that they leave connections to the sales.
        workers = 1 if body else None
        return Response(SyncOut(sync.sync(actor=actor_of(request), workers=workers, **body)).data)

    @extend_schema(parameters=[PRODUCT_ID], request=NothingIn, responses={200: ResetCounterOut, **schema.refusals(409)})
    def reset(self, request: Request, product_id: UUID) -> Response:
        """Rewrite the counters of a product from the database, right or wrong.

        409: `no_counters` without Redis, so always on SQLite.
        """
        NothingIn.read(request.data)
        return Response(ResetCounterOut(sync.reset(product_id, actor=actor_of(request))).data)
