"""Reservations in the admin: why which warehouse was chosen, what became of the hold, and ending it now."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from inventory_project.admin import LargeTableAdmin, ReadOnly, ReadOnlyInline, flag, staff_actor
from reservations import lifecycle
from reservations.models import Reservation, ReservationExtension, ReservationItem
from reservations.requests import Cancel, Expire
from stock.admin import movements_link
from stock.models import Product

STRATEGIES = {
    "named": "Each line comes from the warehouse it named.",
    "one_warehouse": "One warehouse serves all lines that named none.",
    "split_by_line": "No warehouse could serve the whole order, so its lines come whole from different ones.",
    "split_line": "No warehouse could serve a line whole, so it comes from as few as could.",
}
TIE_BREAKS = {
    "only_candidate": "There was nothing to choose between.",
    "fewest_warehouses": "Of those that could, the choice makes the fewest parcels.",
    "priority": "Of those that could, the region with the lowest priority number was preferred.",
    "stock": "Of those that could, equal in priority, the fullest was preferred.",
    "id": "Those that could were equal in priority and stock, so the id decided.",
}


class ReservationItemInline(ReadOnlyInline[ReservationItem, Reservation]):
    """The lines."""

    model = ReservationItem
    fields = readonly_fields = ("product", "warehouse", "quantity", "confirmed", "released", "returned", "movements")
    ordering = ("id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReservationItem]:
        """With the products and warehouses, which each line names."""
        return super().get_queryset(request).select_related("product", "warehouse")

    @admin.display(description="ledger")
    def movements(self, item: ReservationItem) -> SafeString:
        """The way to what was booked on account of the line."""
        return movements_link(line_id=item.pk)


class ReservationExtensionInline(ReadOnlyInline[ReservationExtension, Reservation]):
    """The time that was added."""

    model = ReservationExtension
    fields = ("reference", "minutes", "expires_at", "actor", "created_at")
    ordering = ("id",)


@admin.register(Reservation)
class ReservationAdmin(ReadOnly, LargeTableAdmin[Reservation]):
    """List, look, expire and cancel."""

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
        """Who may change reservations may end them; nothing of one can be edited."""
        return request.user.has_perm("reservations.change_reservation")

    @admin.action(description="Expire the selected reservations now", permissions=["settle"])
    def expire_now(self, request: HttpRequest, queryset: QuerySet[Reservation]) -> HttpResponse | None:
        """Release the holds as if their time were up."""
        return self.ask_first(
            request,
            queryset,
            question="Expire these reservations now?",
            done="Reservations that are expired now",
            act=partial(_expire, actor=staff_actor(request)),
        )

    @admin.action(description="Cancel the selected reservations", permissions=["settle"])
    def cancel_now(self, request: HttpRequest, queryset: QuerySet[Reservation]) -> HttpResponse | None:
        """Release the holds as if the orders were cancelled."""
        return self.ask_first(
            request,
            queryset,
            question="Cancel these reservations?",
            done="Reservations that are cancelled now",
            act=partial(_cancel, actor=staff_actor(request)),
        )

    @admin.display(description="why these warehouses")
    def explanation(self, reservation: Reservation) -> SafeString:
        """The allocation as a sentence and a table."""
        allocation = reservation.allocation
        return render_to_string(
            "admin/reservations/allocation.html",
            {
                "strategy": STRATEGIES.get(allocation.get("strategy"), ""),
                "tie_break": TIE_BREAKS.get(allocation.get("tie_break"), ""),
                "rows": _considered(allocation),
                "left_out": allocation.get("candidates_left_out", 0),
            },
        )


def _expire(reservation_ids: Sequence[UUID], _form: dict[str, Any], *, actor: str) -> Sequence[object]:
    return lifecycle.expire_many(
        [Expire(reservation_id=id_, only_if_due=False, actor=actor) for id_ in reservation_ids]
    )


def _cancel(reservation_ids: Sequence[UUID], _form: dict[str, Any], *, actor: str) -> Sequence[object]:
    return lifecycle.cancel_many([Cancel(reservation_id=id_, actor=actor) for id_ in reservation_ids])


def _considered(allocation: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each product and warehouse that was considered: what was there, what was taken, what spoke against."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}

    def row(product_id: str, warehouse_id: str) -> dict[str, Any]:
        return rows.setdefault((product_id, warehouse_id), {"product_id": product_id, "warehouse_id": warehouse_id})

    for candidate in allocation.get("candidates", ()):
        for product_id, available in candidate["available"].items():
            place = {"region": candidate["region"], "priority": candidate["priority"], "available": available}
            row(product_id, candidate["warehouse_id"]).update(place)
    for rejected in allocation.get("rejected", ()):
        row(rejected["product_id"], rejected["warehouse_id"])["reason"] = rejected["reason"]
    for decision in allocation.get("chosen", ()):
        for part in decision["parts"]:
            row(part["product_id"], part["warehouse_id"])["taken"] = part["quantity"]
    products = Product.objects.in_bulk([UUID(product_id) for product_id, _ in rows])
    return [{**rows[key], "product": products.get(UUID(key[0]), key[0])} for key in sorted(rows)]
