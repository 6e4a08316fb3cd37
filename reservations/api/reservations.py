"""The HTTP door of reservations: translate in, one call of the lifecycle, translate out."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet
from django_filters import rest_framework as django_filters
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from inventory_project.foundation import moments
from inventory_project.foundation.access import actor_of, scopes
from inventory_project.foundation.errors import NotFound, Unavailable
from inventory_project.foundation.http import problems, schema
from inventory_project.foundation.http.answers import Answer
from inventory_project.foundation.http.fields import (
    BoundedListField,
    NothingIn,
    ReferenceField,
    StrictBooleanField,
    StrictDateTimeField,
    StrictIntegerField,
    StrictSerializer,
    StrictUUIDField,
)
from inventory_project.foundation.http.filters import ChoiceFilter, UUIDFilter
from inventory_project.foundation.http.views import ViewSet
from reservations import lifecycle
from reservations.api.allocation import AllocationOut
from reservations.api.pages import ReservationPages
from reservations.bodies import items_field, items_of, part_field, part_of
from reservations.holds import Hold
from reservations.models import Reservation, ReservationItem
from reservations.requests import Cancel, Confirm, Expire, Extend, Outcome, Reserve, Return
from stock.examples import BEANS, MACHINE
from warehouses.allocation import explanation
from warehouses.allocation.record import is_readable
from warehouses.fields import PostalCodeField

# --- in ------------------------------------------------------------------------------------------------------------


@extend_schema_serializer(
    examples=[
        schema.example(
            "One line from a warehouse",
            {
                "order_id": "0d9f1c6a-5b7e-4c1d-8a3f-2e6b9c4d7f10",
                "items": [{"product_id": BEANS, "quantity": 2, "warehouse_id": "wh-sp-001"}],
            },
        ),
        schema.example(
            "Several lines, from where the service chooses",
            {
                "order_id": "1d9f1c6a-5b7e-4c1d-8a3f-2e6b9c4d7f10",
                "items": [{"product_id": BEANS, "quantity": 2}, {"product_id": MACHINE, "quantity": 1}],
                "delivery_postal_code": "01310-100",
                "ttl_minutes": 15,
                "allow_split": True,
            },
        ),
    ]
)
class ReserveIn(StrictSerializer):
    order_id = StrictUUIDField()
    items = items_field(help_text="Equal lines are added up. Without warehouse_id the service chooses.")
    delivery_postal_code = PostalCodeField(required=False, allow_blank=True, allow_null=True)
    ttl_minutes = StrictIntegerField(
        required=False,
        min_value=1,
        max_value=settings.RESERVATION_TTL_MAX_MINUTES,
        help_text="How long the stock is held; RESERVATION_TTL_MINUTES by default.",
    )
    allow_split = StrictBooleanField(
        required=False,
        default=True,
        help_text="Whether lines without a warehouse may be served from several warehouses.",
    )


@extend_schema_serializer(
    examples=[
        schema.example(
            "Two orders",
            {
                "orders": [
                    {
                        "order_id": "2d9f1c6a-5b7e-4c1d-8a3f-2e6b9c4d7f10",
                        "items": [{"product_id": BEANS, "quantity": 1}],
                    },
                    {
                        "order_id": "3d9f1c6a-5b7e-4c1d-8a3f-2e6b9c4d7f10",
                        "items": [{"product_id": MACHINE, "quantity": 1}],
                    },
                ]
            },
        )
    ]
)
class BulkReserveIn(StrictSerializer):
    orders = BoundedListField(child=ReserveIn(), max_length=settings.RESERVATION_MAX_ORDERS)


@extend_schema_serializer(
    examples=[
        schema.example("All of it", {}),
        schema.example("A part; the rest is released", {"items": [{"product_id": BEANS, "quantity": 1}]}),
    ]
)
class ConfirmIn(StrictSerializer):
    items = part_field(help_text="Only this part; the rest is released.")


@extend_schema_serializer(examples=[schema.example("Ten minutes", {"minutes": 10, "reference": "slow-payment-1"})])
class ExtendIn(StrictSerializer):
    expires_at = StrictDateTimeField(required=False, help_text="Until then; an earlier moment changes nothing.")
    minutes = StrictIntegerField(required=False, min_value=1, max_value=settings.RESERVATION_EXTEND_MAX_MINUTES)
    reference = ReferenceField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Either a moment, or minutes with the reference that makes a repeat harmless."""
        if attrs.keys() not in ({"expires_at"}, {"minutes", "reference"}):
            message = "Give either expires_at, or minutes together with reference."
            raise ValidationError([ErrorDetail(message, code="invalid")])
        return attrs


@extend_schema_serializer(
    examples=[
        schema.example("All of it", {"reference": "rma-1"}),
        schema.example("A part", {"reference": "rma-2", "items": [{"product_id": BEANS, "quantity": 1}]}),
    ]
)
class ReturnIn(StrictSerializer):
    reference = ReferenceField()
    items = part_field(help_text="Only these; without it, all that has not been returned yet.")


# --- out -----------------------------------------------------------------------------------------------------------


class ItemOut(serializers.Serializer[Any]):
    product_id = serializers.UUIDField()
    warehouse_id = serializers.CharField()
    quantity = serializers.IntegerField()
    confirmed = serializers.IntegerField()
    released = serializers.IntegerField(help_text="Units released without having been confirmed.")
    returned = serializers.IntegerField(help_text="Units returned, out of those confirmed.")


class ReservationOut(serializers.Serializer[Any]):
    """A Reservation with its items; `to_json` formats a Hold in the same way."""

    id = serializers.UUIDField()
    order_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=Reservation.Status.choices)
    expires_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    settled_at = serializers.DateTimeField(allow_null=True)
    replaces_id = serializers.UUIDField(
        allow_null=True, help_text="The ended reservation that a late payment brought back as this one."
    )
    items = ItemOut(many=True, source="lines")


def to_json(hold: Hold) -> dict[str, Any]:
    """Format ReservationOut of a hold by hand, because DRF is too slow for it under load."""
    return {
        "id": str(hold.id),
        "order_id": str(hold.order_id),
        "status": hold.status,
        "expires_at": moments.utc_text(hold.expires_at),
        "created_at": moments.utc_text(hold.created_at),
        "settled_at": None if hold.settled_at is None else moments.utc_text(hold.settled_at),
        "replaces_id": None if hold.replaces_id is None else str(hold.replaces_id),
        "items": [
            {
                "product_id": str(line.product_id),
                "warehouse_id": line.warehouse_id,
                "quantity": line.quantity,
                "confirmed": line.confirmed,
                "released": line.released,
                "returned": line.returned,
            }
            for line in hold.lines
        ],
    }


class OrderResultOut(serializers.Serializer[Any]):
    status = serializers.IntegerField(help_text="What the order would have been answered with on its own.")
    reservation = ReservationOut(required=False, help_text="With 200 and 201.")
    problem = serializers.DictField(required=False, help_text="With any other status, as a refusal of its own.")


class BulkReserveOut(serializers.Serializer[Any]):
    results = OrderResultOut(many=True, help_text="In the order of `orders`.")


class ReservationFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    order_id = UUIDFilter()
    status = ChoiceFilter(choices=Reservation.Status.choices)
    product_id = UUIDFilter(method="with_product")

    def with_product(self, queryset: QuerySet[Reservation], _name: str, product_id: UUID) -> QuerySet[Reservation]:
        """Reservations with a line of the product, each once."""
        return queryset.filter(
            Exists(ReservationItem.objects.filter(reservation=OuterRef("pk"), product_id=product_id))
        )


def reserve_answer(outcome: Outcome) -> Answer:
    """The answer to a reserve: 201 with the path of the new reservation, or 200 with the one that the order has."""
    reservation = to_json(outcome.hold)
    if outcome.is_replay:
        return Answer(200, reservation)
    return Answer(201, reservation, f"/api/inventory/reservations/{outcome.hold.id}")


def order_result(outcome: Outcome | Exception) -> dict[str, Any]:
    """The entry of one order in the answer to a bulk reserve."""
    if isinstance(outcome, Outcome):
        answer = reserve_answer(outcome)
        return {"status": answer.status, "reservation": answer.body}
    problem = problems.of_any(outcome)
    return {"status": problem["status"], "problem": problem}


# --- the door ------------------------------------------------------------------------------------------------------


def _respond(verb: Callable[..., Any], wanted: Any) -> Response:
    return Response(to_json(lifecycle.one(verb, wanted).hold))


def _reserve(body: dict[str, Any], actor: str) -> Reserve:
    return Reserve(
        order_id=body["order_id"],
        items=items_of(body["items"]),
        delivery_postal_code=body.get("delivery_postal_code") or "",
        ttl_minutes=body.get("ttl_minutes"),
        allow_split=body["allow_split"],
        actor=actor,
    )


def _one_of_many(wanted: Reserve, until: float) -> dict[str, Any]:
    if time.monotonic() > until:
        return order_result(Unavailable("The orders before this one took too long; nothing was done for it."))
    try:
        return order_result(lifecycle.one(lifecycle.reserve_many, wanted))
    except Exception as error:  # the other orders have been reserved, and their answers must arrive
        return order_result(error)


class ReservationViewSet(ViewSet[Reservation]):
    queryset = Reservation.objects.prefetch_related("items")
    serializer_class = ReservationOut
    filterset_class = ReservationFilter
    pagination_class = ReservationPages
    ordering = ("-id",)
    required_scopes = {
        "list": scopes.RESERVATIONS_READ,
        "retrieve": scopes.RESERVATIONS_READ,
        "allocation": scopes.RESERVATIONS_READ,
        "create": scopes.RESERVATIONS_WRITE,
        "create_bulk": scopes.RESERVATIONS_WRITE,
        "confirm": scopes.RESERVATIONS_WRITE,
        "cancel": scopes.RESERVATIONS_WRITE,
        "extend": scopes.RESERVATIONS_WRITE,
        "take_back": scopes.RESERVATIONS_WRITE,
        "expire": scopes.OPERATIONS,
    }

    def list(self, request: Request) -> Response:
        """Reservations, the newest first.

        A page also ends when its reservations have some thousand lines; `next` goes on from there.
        """
        return self.page()

    def retrieve(self, request: Request, reservation_id: UUID) -> Response:
        """One reservation.

        A hold past its time still shows ACTIVE until it is released.
        """
        return Response(ReservationOut(self._get(reservation_id)).data)

    @extend_schema(responses=AllocationOut)
    def allocation(self, request: Request, reservation_id: UUID) -> Response:
        """Why these warehouses were chosen."""
        reservation = self._get(reservation_id)
        record = reservation.allocation
        return Response(
            {
                "reservation_id": str(reservation.id),
                "order_id": str(reservation.order_id),
                "delivery_postal_code": reservation.delivery_postal_code,
                "allocation": explanation.explain(record) if is_readable(record) else None,
            }
        )

    @extend_schema(request=ReserveIn, responses={200: ReservationOut, 201: ReservationOut, **schema.refusals(409, 422)})
    def create(self, request: Request) -> Response:
        """Hold stock for an order, all of it or nothing.

        The same order with the same content gets its live reservation again (200). 409: `insufficient_stock` with
        `shortages`, `sales_blocked` with `product_ids`, `order_conflict`.
        """
        wanted = _reserve(ReserveIn.read(request.data), actor_of(request))
        answer = reserve_answer(lifecycle.one(lifecycle.reserve_many, wanted))
        headers = {"Location": answer.location} if answer.location else {}
        return Response(answer.body, status=answer.status, headers=headers)

    @extend_schema(request=BulkReserveIn, responses=BulkReserveOut)
    def create_bulk(self, request: Request) -> Response:
        """Reserve for up to 64 orders in one call.

        The results are in the order of `orders`. Each order is decided on its own: `status` is what a call for it would
        have been answered with. 200 and 201 come with the `reservation`, every other status with the `problem`.
        """
        orders = BulkReserveIn.read(request.data)["orders"]
        until = time.monotonic() + settings.GROUP_COMMIT_WORK_SECONDS
        answers = [_one_of_many(_reserve(order, actor_of(request)), until) for order in orders]
        return Response({"results": answers})

    @extend_schema(request=ConfirmIn, responses={200: ReservationOut, **schema.refusals(409)})
    def confirm(self, request: Request, reservation_id: UUID) -> Response:
        """Deduct the held stock, wholly or in part.

        With `items` only these units; the rest is released. A repeat without `items` answers with what was confirmed.
        """
        part = part_of(ConfirmIn.read(request.data))
        wanted = Confirm(reservation_id=reservation_id, items=part, actor=actor_of(request))
        return _respond(lifecycle.confirm_many, wanted)

    @extend_schema(request=NothingIn, responses={200: ReservationOut, **schema.refusals(409)})
    def cancel(self, request: Request, reservation_id: UUID) -> Response:
        """Release the hold."""
        NothingIn.read(request.data)
        return _respond(lifecycle.cancel_many, Cancel(reservation_id=reservation_id, actor=actor_of(request)))

    @extend_schema(request=ExtendIn, responses={200: ReservationOut, **schema.refusals(409)})
    def extend(self, request: Request, reservation_id: UUID) -> Response:
        """Extend a hold that is ACTIVE and not past its time.

        Until `expires_at`, or `minutes` more with a `reference`.
        """
        body = ExtendIn.read(request.data)
        return _respond(lifecycle.extend_many, Extend(reservation_id=reservation_id, actor=actor_of(request), **body))

    @extend_schema(request=ReturnIn, responses={200: ReservationOut, **schema.refusals(409)})
    def take_back(self, request: Request, reservation_id: UUID) -> Response:
        """Return confirmed goods to the stock they left, all of them or a part."""
        body = ReturnIn.read(request.data)
        wanted = Return(
            reservation_id=reservation_id, reference=body["reference"], items=part_of(body), actor=actor_of(request)
        )
        return _respond(lifecycle.return_many, wanted)

    @extend_schema(request=NothingIn, responses={200: ReservationOut, **schema.refusals(409)})
    def expire(self, request: Request, reservation_id: UUID) -> Response:
        """Expire the hold now, due or not."""
        NothingIn.read(request.data)
        wanted = Expire(reservation_id=reservation_id, only_if_due=False, actor=actor_of(request))
        return _respond(lifecycle.expire_many, wanted)

    def _get(self, reservation_id: UUID) -> Reservation:
        reservation = self.get_queryset().filter(pk=reservation_id).first()
        if reservation is None:
            raise NotFound(f"There is no reservation {reservation_id}.")
        return reservation
