"""The HTTP door of reservations: translate in, one call of the lifecycle, translate out."""

from collections.abc import Callable
from typing import Any, get_args
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet
from django.urls import reverse
from django_filters import rest_framework as django_filters
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from inventory_project.foundation import moments
from inventory_project.foundation.access import actor_of, scopes
from inventory_project.foundation.errors import NotFound
from inventory_project.foundation.group_commit import GroupCommit
from inventory_project.foundation.http import schema
from inventory_project.foundation.http.fields import (
    ReferenceField,
    StrictBooleanField,
    StrictDateTimeField,
    StrictIntegerField,
    StrictSerializer,
    StrictUUIDField,
)
from inventory_project.foundation.http.filters import ChoiceFilter, UUIDFilter
from inventory_project.foundation.http.views import ViewSet
from reservations import inspection, lifecycle
from reservations.bodies import items_field, items_of, part_of
from reservations.holds import Hold
from reservations.models import Reservation, ReservationItem
from reservations.requests import Cancel, Confirm, Expire, Extend, Outcome, Reserve, Return
from stock.api import BEANS, MACHINE, PRODUCT_ID, NothingIn
from stock.models import Product
from warehouses.allocation import explanation, words
from warehouses.allocation.geography import Precision
from warehouses.allocation.policies import PREFERENCES, SPLITS
from warehouses.allocation.preferences import BY_ID
from warehouses.allocation.record import is_readable
from warehouses.allocation.terms import NOT_SERVED
from warehouses.api import PostalCodeField

LOST_BY = (*PREFERENCES, BY_ID)

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
    delivery_postal_code = PostalCodeField(required=False)
    ttl_minutes = StrictIntegerField(
        required=False,
        min_value=1,
        max_value=settings.RESERVATION_TTL_MAX_MINUTES,
        help_text="How long the stock is held; RESERVATION_TTL_MINUTES unless given.",
    )
    allow_split = StrictBooleanField(
        required=False, default=True, help_text="May the lines that name no warehouse come from several?"
    )


@extend_schema_serializer(
    examples=[
        schema.example("All of it", {}),
        schema.example("A part; the rest is released", {"items": [{"product_id": BEANS, "quantity": 1}]}),
    ]
)
class ConfirmIn(StrictSerializer):
    items = items_field(required=False, help_text="Only this part; the rest is released.")


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
    items = items_field(required=False, help_text="Only these; without it, all that is not back yet.")


# --- out -----------------------------------------------------------------------------------------------------------


class ItemOut(serializers.Serializer[Any]):
    product_id = serializers.UUIDField()
    warehouse_id = serializers.CharField()
    quantity = serializers.IntegerField()
    confirmed = serializers.IntegerField()
    released = serializers.IntegerField(help_text="Free again without having been confirmed.")
    returned = serializers.IntegerField(help_text="Of those confirmed.")


class ReservationOut(serializers.Serializer[Any]):
    """A Reservation read with its items; `_shown` makes the same of a Hold."""

    id = serializers.UUIDField()
    order_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=Reservation.Status.choices)
    expires_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    settled_at = serializers.DateTimeField(allow_null=True)
    replaces_id = serializers.UUIDField(
        allow_null=True, help_text="The expired reservation that a late payment brought back as this one."
    )
    items = ItemOut(many=True, source="lines")


def _shown(hold: Hold) -> dict[str, Any]:
    """ReservationOut of a hold, by hand: DRF would copy and ask a dozen fields for each response of a rush."""
    return {
        "id": str(hold.id),
        "order_id": str(hold.order_id),
        "status": hold.status,
        "expires_at": moments.shown(hold.expires_at),
        "created_at": moments.shown(hold.created_at),
        "settled_at": None if hold.settled_at is None else moments.shown(hold.settled_at),
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


class AllocationPolicyOut(serializers.Serializer[Any]):
    region = serializers.CharField(allow_blank=True, help_text="Empty: every region without a policy of its own.")
    preferences = serializers.ListField(
        child=serializers.CharField(), help_text=f"In their order, of {', '.join(PREFERENCES)}."
    )
    tolerance_km = serializers.FloatField(help_text="No more than this farther than the nearest is equally near.")
    split = serializers.ChoiceField(choices=SPLITS)
    most_parcels = serializers.IntegerField(allow_null=True, help_text="Only with `at_most`.")
    is_built_in = serializers.BooleanField(help_text="Staff have made none that holds there.")


class DeliveryOut(serializers.Serializer[Any]):
    area = serializers.CharField(allow_blank=True, help_text="Country and known beginning of the code, `BR 01310`.")
    name = serializers.CharField(allow_blank=True)
    precision = serializers.ChoiceField(
        choices=get_args(Precision), help_text="How much of the postal code is known; `region`: the state or the like."
    )
    region = serializers.CharField(allow_blank=True)


class AllocationNoteOut(serializers.Serializer[Any]):
    code = serializers.ChoiceField(choices=list(words.NOTES))
    detail = serializers.CharField(help_text="A sentence for a person.")


class AllocationCandidateOut(serializers.Serializer[Any]):
    """A warehouse that might sell one of the products there; `available` and `share_taken` are by product id."""

    warehouse_id = serializers.CharField()
    region = serializers.CharField()
    priority = serializers.IntegerField()
    distance_km = serializers.FloatField(allow_null=True, help_text="To the delivery; null where that is not known.")
    lost_by = serializers.ChoiceField(
        choices=LOST_BY,
        allow_null=True,
        help_text="The preference by which it fell behind, where it could serve alone.",
    )
    available = serializers.DictField(child=serializers.IntegerField(), help_text="Units, before this order.")
    share_taken = serializers.DictField(
        child=serializers.FloatField(),
        help_text="0 to 1, of what was there after the last replenishment: what had been sold or was held by then.",
    )


class AllocationRejectedOut(serializers.Serializer[Any]):
    warehouse_id = serializers.CharField()
    product_id = serializers.UUIDField()
    reason = serializers.ChoiceField(choices=["blocked", "closed", NOT_SERVED, "insufficient"])
    requested = serializers.IntegerField(required=False, help_text="Only where it was insufficient.")
    available = serializers.IntegerField(required=False, help_text="Likewise.")


class AllocationSaidOut(serializers.Serializer[Any]):
    preference = serializers.ChoiceField(choices=PREFERENCES)
    best = serializers.FloatField(
        allow_null=True, help_text="Parcels, kilometres, priorities or shares, added up; null where none is known."
    )
    left = serializers.IntegerField(help_text="How many sets of warehouses it left, one being a set too.")


class AllocationPartOut(serializers.Serializer[Any]):
    product_id = serializers.UUIDField()
    warehouse_id = serializers.CharField()
    quantity = serializers.IntegerField()


class AllocationDecisionOut(serializers.Serializer[Any]):
    strategy = serializers.ChoiceField(choices=list(words.STRATEGIES))
    tie_break = serializers.ChoiceField(choices=list(words.TIE_BREAKS), allow_null=True)
    said = AllocationSaidOut(many=True, help_text="What each preference that was asked said, in their order.")
    parts = AllocationPartOut(many=True)


class AllocationReasonsOut(serializers.Serializer[Any]):
    """The record that was kept, in full; null is what version 1 did not keep."""

    version = serializers.IntegerField(help_text="Of the record's form; 1 says less.")
    sentence = serializers.CharField(help_text="All of it for a person.")
    strategy = serializers.ChoiceField(
        choices=list(words.STRATEGIES), help_text="Of the decision that had to go furthest."
    )
    tie_break = serializers.ChoiceField(
        choices=list(words.TIE_BREAKS), allow_null=True, help_text="What decided there; null where all was named."
    )
    policy = AllocationPolicyOut(allow_null=True)
    allow_split = serializers.BooleanField(allow_null=True, help_text="As the order asked.")
    delivery = DeliveryOut(allow_null=True)
    notes = AllocationNoteOut(many=True, help_text="What had to be done without.")
    steps = serializers.IntegerField(allow_null=True, help_text="Sets of warehouses that were looked at.")
    candidates = AllocationCandidateOut(many=True, help_text="The nearest first, then by priority and id.")
    candidates_left_out = serializers.IntegerField(help_text="Less preferred ones that were not kept.")
    rejected = AllocationRejectedOut(many=True, help_text="What kept a warehouse from serving a line whole.")
    chosen = AllocationDecisionOut(many=True)


class AllocationOut(serializers.Serializer[Any]):
    """Why these warehouses; `ReservationViewSet.allocation` makes it by hand."""

    reservation_id = serializers.UUIDField()
    order_id = serializers.UUIDField()
    delivery_postal_code = serializers.CharField(allow_blank=True)
    allocation = AllocationReasonsOut(
        allow_null=True,
        help_text="Null where another version of the service kept it in a form that this one cannot read.",
    )


class ReservationFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    order_id = UUIDFilter()
    status = ChoiceFilter(choices=Reservation.Status.choices)
    product_id = UUIDFilter(method="with_product")

    def with_product(self, queryset: QuerySet[Reservation], _name: str, product_id: UUID) -> QuerySet[Reservation]:
        """Reservations with a line of the product; each once."""
        return queryset.filter(
            Exists(ReservationItem.objects.filter(reservation=OuterRef("pk"), product_id=product_id))
        )


# --- the door ------------------------------------------------------------------------------------------------------


def _keep_no_connection() -> None:
    """Give the database connection that this thread took, to see who calls, back to the pool."""
    if not connection.in_atomic_block:
        connection.close()


def _gatherer(name: str, verb: Callable[..., Any]) -> GroupCommit[Any, Outcome]:
    return GroupCommit(
        name,
        verb,
        max_batch=settings.GROUP_COMMIT_MAX_BATCH,
        max_waiting=settings.GROUP_COMMIT_MAX_WAITING,
        patience_seconds=settings.GROUP_COMMIT_PATIENCE_SECONDS,
        work_seconds=settings.GROUP_COMMIT_WORK_SECONDS,
        slow_seconds=settings.GROUP_COMMIT_SLOW_SECONDS,
        let_go=_keep_no_connection,
    )


GATHERERS = {
    lifecycle.reserve_many: _gatherer("reserve", lifecycle.reserve_many),
    lifecycle.confirm_many: _gatherer("confirm", lifecycle.confirm_many),
    lifecycle.cancel_many: _gatherer("cancel", lifecycle.cancel_many),
}


def _one(verb: Callable[..., Any], wanted: Any) -> Outcome:
    """The outcome of one request, decided together with what other threads ask of the verb at this moment."""
    if settings.GROUP_COMMIT and verb in GATHERERS:
        return GATHERERS[verb].call(wanted)
    return lifecycle.one(verb, wanted)


def _answer(verb: Callable[..., Any], wanted: Any) -> Response:
    return Response(_shown(_one(verb, wanted).hold))


class ReservationViewSet(ViewSet[Reservation]):
    queryset = Reservation.objects.prefetch_related("items")
    serializer_class = ReservationOut
    filterset_class = ReservationFilter
    ordering = ("-id",)
    required_scopes = {
        "list": scopes.RESERVATIONS_READ,
        "retrieve": scopes.RESERVATIONS_READ,
        "allocation": scopes.RESERVATIONS_READ,
        "create": scopes.RESERVATIONS_WRITE,
        "confirm": scopes.RESERVATIONS_WRITE,
        "cancel": scopes.RESERVATIONS_WRITE,
        "extend": scopes.RESERVATIONS_WRITE,
        "take_back": scopes.RESERVATIONS_WRITE,
        "expire": scopes.OPERATIONS,
    }

    def list(self, request: Request) -> Response:
        """Reservations, the newest first."""
        return self.page()

    def retrieve(self, request: Request, reservation_id: UUID) -> Response:
        """One reservation.

        A hold past its time still shows ACTIVE until it is released.
        """
        return Response(ReservationOut(self._get(reservation_id)).data)

    @extend_schema(responses=AllocationOut)
    def allocation(self, request: Request, reservation_id: UUID) -> Response:
        """Why these warehouses."""
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
        body = ReserveIn.read(request.data)
        wanted = Reserve(
            order_id=body["order_id"],
            items=items_of(body["items"]),
            delivery_postal_code=body.get("delivery_postal_code", ""),
            ttl_minutes=body.get("ttl_minutes"),
            allow_split=body["allow_split"],
            actor=actor_of(request),
        )
        outcome = _one(lifecycle.reserve_many, wanted)
        made = _shown(outcome.hold)
        if outcome.is_replay:
            return Response(made)
        location = reverse("reservation", kwargs={"reservation_id": outcome.hold.id})
        return Response(made, status=201, headers={"Location": location})

    @extend_schema(request=ConfirmIn, responses={200: ReservationOut, **schema.refusals(409)})
    def confirm(self, request: Request, reservation_id: UUID) -> Response:
        """The hold becomes a deduction, whole or in part.

        With `items` only these units; the rest is released. A repeat without `items` answers with what was confirmed.
        """
        part = part_of(ConfirmIn.read(request.data))
        wanted = Confirm(reservation_id=reservation_id, items=part, actor=actor_of(request))
        return _answer(lifecycle.confirm_many, wanted)

    @extend_schema(request=NothingIn, responses={200: ReservationOut, **schema.refusals(409)})
    def cancel(self, request: Request, reservation_id: UUID) -> Response:
        """The hold is released."""
        NothingIn.read(request.data)
        return _answer(lifecycle.cancel_many, Cancel(reservation_id=reservation_id, actor=actor_of(request)))

    @extend_schema(request=ExtendIn, responses={200: ReservationOut, **schema.refusals(409)})
    def extend(self, request: Request, reservation_id: UUID) -> Response:
        """More time, while the hold is ACTIVE and not past its time.

        Until `expires_at`, or `minutes` more with a `reference`.
        """
        body = ExtendIn.read(request.data)
        return _answer(lifecycle.extend_many, Extend(reservation_id=reservation_id, actor=actor_of(request), **body))

    @extend_schema(request=ReturnIn, responses={200: ReservationOut, **schema.refusals(409)})
    def take_back(self, request: Request, reservation_id: UUID) -> Response:
        """Confirmed goods come back to the stock they left, all or a part."""
        body = ReturnIn.read(request.data)
        wanted = Return(
            reservation_id=reservation_id, reference=body["reference"], items=part_of(body), actor=actor_of(request)
        )
        return _answer(lifecycle.return_many, wanted)

    @extend_schema(request=NothingIn, responses={200: ReservationOut, **schema.refusals(409)})
    def expire(self, request: Request, reservation_id: UUID) -> Response:
        """Expire the hold now, due or not."""
        NothingIn.read(request.data)
        wanted = Expire(reservation_id=reservation_id, only_if_due=False, actor=actor_of(request))
        return _answer(lifecycle.expire_many, wanted)

    def _get(self, reservation_id: UUID) -> Reservation:
        reservation = self.get_queryset().filter(pk=reservation_id).first()
        if reservation is None:
            raise NotFound(f"There is no reservation {reservation_id}.")
        return reservation


# --- looking for a difference --------------------------------------------------------------------------------------


class LevelCounterOut(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    available = serializers.IntegerField()
    reserved = serializers.IntegerField()
    incoming = serializers.IntegerField()
    is_sellable = serializers.BooleanField()
    replenished = serializers.IntegerField()


class LevelNumbersOut(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    available = serializers.IntegerField()
    reserved = serializers.IntegerField()
    incoming = serializers.IntegerField()
    replenished = serializers.IntegerField()
    is_blocked = serializers.BooleanField()
    is_closed = serializers.BooleanField()


class LedgerSumsOut(serializers.Serializer[Any]):
    available = serializers.IntegerField()
    reserved = serializers.IntegerField()
    incoming = serializers.IntegerField()


class ActiveHoldsOut(serializers.Serializer[Any]):
    lines = serializers.IntegerField()
    units = serializers.IntegerField()


class PlaceOut(serializers.Serializer[Any]):
    warehouse_id = serializers.CharField()
    counter = LevelCounterOut(allow_null=True, help_text="What Redis says; null where it says nothing that is used.")
    counter_text = serializers.CharField(allow_null=True, help_text="What stands there, used or not.")
    database = LevelNumbersOut(allow_null=True, help_text="The stock level; null where there is none.")
    ledger = LedgerSumsOut(help_text="What all movements add up to.")
    active_holds = ActiveHoldsOut()
    drift = serializers.IntegerField(
        allow_null=True,
        help_text="The counter's available less the database's; amid sales also what was sold between the two.",
    )


class InspectionOut(serializers.Serializer[Any]):
    product_id = serializers.UUIDField()
    is_blocked = serializers.BooleanField()
    low_stock_threshold = serializers.IntegerField(allow_null=True)
    counters = serializers.ChoiceField(
        choices=["sound", "missing", "odd", "away", "none"],
        help_text="Whether they are used; if not, the database answers in their place.",
    )
    summary_text = serializers.CharField(allow_null=True, help_text="What the counters say of the whole product.")
    warehouses = PlaceOut(many=True)


class InspectionViewSet(ViewSet[Product]):
    required_scopes = scopes.OPERATIONS

    @extend_schema(parameters=[PRODUCT_ID], responses=InspectionOut)
    def retrieve(self, request: Request, product_id: UUID) -> Response:
        """A product as Redis, the levels, the ledger and the holds have it, by warehouse."""
        return Response(InspectionOut(inspection.of_product(product_id)).data)
