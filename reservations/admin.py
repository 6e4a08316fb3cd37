"""The admin page of reservations: their allocation and history, and actions that end holds."""

from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from inventory_project.foundation.admin import LargeTableAdmin, ReadOnly, ReadOnlyInline, flag, staff_actor
from reservations import lifecycle
from reservations.models import Reservation, ReservationExtension, ReservationItem
from reservations.requests import Cancel, Expire
from stock.links import movements_link
from stock.models import Product
from warehouses.allocation import explanation, words
from warehouses.allocation.record import is_readable


class ReservationItemInline(ReadOnlyInline[ReservationItem, Reservation]):
    """The lines of a reservation."""

    model = ReservationItem
    fields = readonly_fields = ("product", "warehouse", "quantity", "confirmed", "released", "returned", "movements")
    ordering = ("id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReservationItem]:
        """With the products and warehouses, which each line names."""
        return super().get_queryset(request).select_related("product", "warehouse")

    @admin.display(description="ledger")
    def movements(self, item: ReservationItem) -> SafeString:
        """A link to the movements of the line."""
        return movements_link(line_id=item.pk)


class ReservationExtensionInline(ReadOnlyInline[ReservationExtension, Reservation]):
    """The extensions of a reservation."""

    model = ReservationExtension
    fields = ("reference", "minutes", "expires_at", "actor", "created_at")
    ordering = ("id",)


@admin.register(Reservation)
class ReservationAdmin(ReadOnly, LargeTableAdmin[Reservation]):
    """List and view reservations; expire and cancel them."""

    list_display = ("id", "order_id", "status", "created_at", "expires_at", "settled_at")
    list_filter = ("status", "is_live")
    search_fields = ("id", "order_id", "items__id")
    search_help_text = "The id of a reservation, of an order or of a line. The list ends after 10,000 rows."
    ordering = ("-id",)
    inlines = (ReservationItemInline, ReservationExtensionInline)
    fields = (
        *("id", "order_id", "status", "live", "created_at", "expires_at", "settled_at"),
        *("delivery_postal_code", "explanation", "replaces", "actor"),
    )
    readonly_fields = ("explanation", "live")
    actions = ("expire_now", "cancel_now")
    live = flag("is_live", "live")

    def has_settle_permission(self, request: HttpRequest) -> bool:
        """Whether the user may end reservations: with the permission to change them. No field can be edited."""
        return request.user.has_perm("reservations.change_reservation")

    @admin.action(description="Expire the selected reservations now", permissions=["settle"])
    def expire_now(self, request: HttpRequest, queryset: QuerySet[Reservation]) -> HttpResponse | None:
        """Release the holds as expired, even before their time limit."""
        return self.ask_first(
            request,
            queryset,
            question="Expire these reservations now?",
            done="Reservations expired",
            act=partial(_expire, actor=staff_actor(request)),
        )

    @admin.action(description="Cancel the selected reservations", permissions=["settle"])
    def cancel_now(self, request: HttpRequest, queryset: QuerySet[Reservation]) -> HttpResponse | None:
        """Release the holds as cancelled."""
        return self.ask_first(
            request,
            queryset,
            question="Cancel these reservations?",
            done="Reservations cancelled",
            act=partial(_cancel, actor=staff_actor(request)),
        )

    @admin.display(description="why these warehouses")
    def explanation(self, reservation: Reservation) -> SafeString:
        """The allocation as text and tables."""
        record = reservation.allocation
        allocation = explanation.explain(record) if is_readable(record) else None
        return render_to_string(
            "admin/reservations/allocation.html",
            allocation
            and {
                "sentence": allocation["sentence"],
                "delivery": words.describe_delivery(allocation["delivery"]),
                "policy": words.describe_policy(allocation),
                "rows": _considered(allocation),
                "said": [words.describe_step(**one) for decision in allocation["chosen"] for one in decision["said"]],
                "left_out": allocation["candidates_left_out"],
            },
        )


def _considered(allocation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of `words.considered` with the product of each, sorted by product."""
    rows = words.considered(allocation)
    products = Product.objects.in_bulk({UUID(row["product_id"]) for row in rows})
    named = [{**row, "product": str(products.get(UUID(row["product_id"]), row["product_id"]))} for row in rows]
    return sorted(named, key=itemgetter("product", "product_id"))


def _expire(reservation_ids: Sequence[UUID], _form: dict[str, Any], *, actor: str) -> Sequence[object]:
    return lifecycle.expire_many(
        [Expire(reservation_id=id_, only_if_due=False, actor=actor) for id_ in reservation_ids]
    )


def _cancel(reservation_ids: Sequence[UUID], _form: dict[str, Any], *, actor: str) -> Sequence[object]:
    return lifecycle.cancel_many([Cancel(reservation_id=id_, actor=actor) for id_ in reservation_ids])
