"""A small API on the HTTP kit, so that its parts are tested as they are used: by real views behind real middleware."""

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from inventory_project.foundation import access
from inventory_project.foundation.access import scopes
from inventory_project.foundation.errors import Conflict, Invalid, NotFound, Unavailable, unknown_ids
from inventory_project.foundation.http import fields, paths, schema

assert paths.CanonicalUUIDConverter.regex  # importing the module registers `<id:...>`

RAISED: dict[str, Exception] = {
    "invalid": Invalid("This makes no sense."),
    "unknown": unknown_ids(product_ids=["b", "a"]),
    "missing": NotFound("No such order."),
    "conflict": Conflict("Too few.", code="insufficient_stock", shortages=[{"requested": 2, "available": 1}]),
    "overwriting": Conflict("Too late.", code="reservation_expired", status="EXPIRED"),
    "busy": Unavailable("The queue is full."),
    "unknown_outcome": Unavailable("The connection was lost at commit.", code="outcome_unknown"),
    "http404": Http404("secret reason"),
    "denied": PermissionDenied("secret reason"),
    "suspicious": SuspiciousOperation("secret reason"),
    "throttled": Throttled(wait=2.5),
    "operational": OperationalError("connection refused at 10.0.0.7"),
    "interface": InterfaceError("connection already closed"),
    "defect": ZeroDivisionError("secret reason"),
}


class LineIn(fields.StrictSerializer):
    """A line of an order."""

    product_id = fields.StrictUUIDField()
    quantity = fields.StrictIntegerField(min_value=1, max_value=10_000)
    warehouse_id = fields.TextField(max_length=64, pattern=r"[a-z0-9][a-z0-9-]*", required=False)


class OrderIn(fields.StrictSerializer):
    """An order."""

    order_id = fields.StrictUUIDField()
    items = fields.BoundedListField(child=LineIn(), max_length=3)
    allow_split = fields.StrictBooleanField(required=False)
    expires_at = fields.StrictDateTimeField(required=False)
    note = fields.TextField(max_length=20, required=False)


class OrderOut(serializers.Serializer[Any]):
    """What came of it."""

    order_id = serializers.UUIDField()
    units = serializers.IntegerField()
    actor = serializers.CharField()


class OrderQuery(fields.StrictSerializer):
    """Query parameters of an order."""

    quantity = fields.DigitsField(min_value=1, max_value=100, required=False)


class OrderViewSet(viewsets.GenericViewSet[Any]):
    """Orders."""

    serializer_class = OrderOut
    required_scopes = {  # as every viewset here declares it
        "create": scopes.RESERVATIONS_WRITE,
        "retrieve": scopes.RESERVATIONS_READ,
        "fail": scopes.OPERATIONS,
    }

    @extend_schema(request=OrderIn, responses={201: OrderOut, **schema.refusals(409, 422)})
    def create(self, request: Request) -> Response:
        """Place an order."""
        wanted = OrderIn.read(request.data)
        units = sum(line["quantity"] for line in wanted["items"])
        order = {"order_id": wanted["order_id"], "units": units, "actor": access.actor_of(request)}
        return Response(OrderOut(order).data, status=201)

    @extend_schema(parameters=[OrderQuery], responses=OrderOut)
    def retrieve(self, request: Request, order_id: UUID) -> Response:
        """Look at an order."""
        query = OrderQuery.read(request.query_params)
        order = {"order_id": order_id, "units": query.get("quantity", 0), "actor": access.actor_of(request)}
        return Response(OrderOut(order).data)

    @extend_schema(exclude=True)
    def fail(self, request: Request, kind: str) -> Response:
        """Raise what `kind` names."""
        raise RAISED[kind]

    @extend_schema(exclude=True)
    def undeclared(self, request: Request) -> Response:
        """An action whose scope was forgotten."""
        return Response({"open": True})


urlpatterns = [
    path("api/orders", OrderViewSet.as_view({"post": "create"})),
    path("api/orders/<id:order_id>", OrderViewSet.as_view({"get": "retrieve"})),
    path("api/fail/<str:kind>", OrderViewSet.as_view({"get": "fail"})),
    path("api/undeclared", OrderViewSet.as_view({"get": "undeclared"})),
]
handler400 = "inventory_project.foundation.http.problems.bad_request"
handler403 = "inventory_project.foundation.http.problems.permission_denied"
handler404 = "inventory_project.foundation.http.problems.not_found"
handler500 = "inventory_project.foundation.http.problems.server_error"
