"""The paths of the service, and beside them what it is measured against: the empty view and the textbook way.

Both come through the same server, middleware, authentication, scopes, parser and serializer as a reservation does.
"""

from types import SimpleNamespace

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response

from benchmarks import textbook
from inventory_project.foundation.access import actor_of, scopes
from inventory_project.foundation.http.views import ViewSet
from inventory_project.urls import handler400, handler403, handler404, handler500
from inventory_project.urls import urlpatterns as own
from reservations.api.reservations import ReservationOut, ReserveIn
from reservations.models import Reservation
from reservations.requests import Item, Reserve
from stock.api.availability import BulkAvailabilityIn

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

NOTHING = {"status": "ok"}


class MeasuredViewSet(ViewSet[Reservation]):
    required_scopes = {
        "empty": scopes.RESERVATIONS_WRITE,
        "empty_read": scopes.STOCK_READ,
        "empty_bulk_read": scopes.STOCK_READ,
        "textbook": scopes.RESERVATIONS_WRITE,
    }

    def empty(self, request: Request) -> Response:
        """What no reservation can be quicker than: the token and the body are looked at, and that is all."""
        ReserveIn.read(request.data)
        return Response(NOTHING, status=201)

    def empty_read(self, request: Request) -> Response:
        """The same for a read."""
        return Response(NOTHING)

    def empty_bulk_read(self, request: Request) -> Response:
        """The same for a read of many products."""
        BulkAvailabilityIn.read(request.data)
        return Response(NOTHING)

    def textbook(self, request: Request) -> Response:
        """A reservation the way it is written by the book, in and out as at the service's own door."""
        body = ReserveIn.read(request.data)
        [item] = body["items"]
        wanted = Reserve(
            order_id=body["order_id"],
            items=(Item(item["product_id"], item["quantity"]),),
            ttl_minutes=body["ttl_minutes"],
            allow_split=body["allow_split"],
            actor=actor_of(request),
        )
        reservation, lines = textbook.reserve(wanted)
        # Spared the query by which a nested serializer would read the lines again.
        made = SimpleNamespace(**vars(reservation), lines=lines)
        return Response(ReservationOut(made).data, status=201)


urlpatterns = [
    *own,
    path("bench/empty", MeasuredViewSet.as_view({"post": "empty", "get": "empty_read"})),
    path("bench/empty/bulk", MeasuredViewSet.as_view({"post": "empty_bulk_read"})),
    path("bench/textbook", MeasuredViewSet.as_view({"post": "textbook"})),
]
