"""The two views of the bare service: one reserves, one does nothing."""

from typing import Any
from uuid import UUID

from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from benchmarks import bare, textbook


@api_view(["POST"])
def reserve(request: Request) -> Response:
    """One unit or more of one product, for an order."""
    order: dict[str, Any] = dict(request.data)
    [item] = order["items"]
    try:
        reservation, line = textbook.reserve(
            order_id=UUID(order["order_id"]),
            product_id=UUID(item["product_id"]),
            quantity=item["quantity"],
            ttl_minutes=order["ttl_minutes"],
        )
    except textbook.SoldOut as error:
        return Response({"detail": str(error)}, status=409)
    body = {
        "id": reservation.id,
        "order_id": reservation.order_id,
        "status": reservation.status,
        "expires_at": reservation.expires_at,
        "items": [{"product_id": line.product_id, "warehouse_id": line.warehouse_id, "quantity": line.quantity}],
    }
    return Response(body, status=201)


@api_view(["GET", "POST"])
def empty(request: Request) -> Response:
    """Parse the body, if there is one, and answer: no view of REST framework can be faster."""
    return Response({"members": len(request.data)})


urlpatterns = [path(bare.RESERVATIONS.lstrip("/"), reserve), path(bare.EMPTY.lstrip("/"), empty)]
