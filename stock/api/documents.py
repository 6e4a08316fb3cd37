"""The HTTP door of receipts and adjustments, the documents that change the stock."""

from dataclasses import asdict
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory_project.foundation.access import actor_of, scopes
from inventory_project.foundation.http import schema
from inventory_project.foundation.http.fields import (
    BoundedListField,
    ReferenceField,
    StrictIntegerField,
    StrictSerializer,
    StrictUUIDField,
    TextField,
)
from inventory_project.foundation.http.views import ViewSet
from stock import documents
from stock.examples import BEANS
from stock.models import StockDocument
from warehouses.fields import WarehouseIdField

MAX_QUANTITY = settings.DOCUMENT_MAX_QUANTITY


class ReceiptItem(StrictSerializer):
    product_id = StrictUUIDField()
    quantity = StrictIntegerField(min_value=1, max_value=MAX_QUANTITY)


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
    delta = StrictIntegerField(min_value=-MAX_QUANTITY, max_value=MAX_QUANTITY, help_text="Units, signed, not 0.")


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

        The first receipt creates the stock level. 409: `reference_conflict`.
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
