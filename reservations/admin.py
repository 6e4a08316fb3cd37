"""Reservations in the admin: why which warehouse was chosen, what became of the hold, and ending it now."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from typing import Any, cast
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
from warehouses import explanation
from warehouses.admin import EVERY_OTHER, PRECISIONS, WORDS
from warehouses.geography import Precision
from warehouses.policies import Preference

SPLITS = {
    "never": "never into several parcels",
    "by_line": "each line whole from one warehouse",
    "fewest_parcels": "into as few parcels as can be",
    "at_most": "into {most_parcels} parcels at most",
}
UNITS: dict[Preference, str] = {
    "fewest_parcels": "{:.0f}",
    "nearest": "{:,.1f}\N{NO-BREAK SPACE}km",
    "priority": "{:.0f}",
    "balance": "{:.1%}",
}
REJECTED = {
    "blocked": "sales are blocked",
    "closed": "closed",
    "not_served": "does not serve the region",
    "insufficient": "not enough alone: {available} of {requested}",
}
LOST = {
    "fewest_parcels": "another choice makes fewer parcels",
    "nearest": "another is nearer",
    "priority": "another has a lower priority number",
    "balance": "of another a smaller share was taken",
    "id": "equal in everything, and the id decided",
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
        """The allocation as a sentence and tables."""
        record = reservation.allocation
        allocation = explanation.shown(record) if explanation.is_readable(record) else None
        return render_to_string(
            "admin/reservations/allocation.html",
            allocation
            and {
                "sentence": allocation["sentence"],
                "delivery": _delivery(allocation["delivery"]),
                "policy": _policy(allocation),
                "rows": _considered(allocation),
                "said": [_said(**one) for decision in allocation["chosen"] for one in decision["said"]],
                "left_out": allocation["candidates_left_out"],
            },
        )


def _expire(reservation_ids: Sequence[UUID], _form: dict[str, Any], *, actor: str) -> Sequence[object]:
    return lifecycle.expire_many(
        [Expire(reservation_id=id_, only_if_due=False, actor=actor) for id_ in reservation_ids]
    )


def _cancel(reservation_ids: Sequence[UUID], _form: dict[str, Any], *, actor: str) -> Sequence[object]:
    return lifecycle.cancel_many([Cancel(reservation_id=id_, actor=actor) for id_ in reservation_ids])


# --- the allocation in words ---------------------------------------------------------------------------------------


def _delivery(delivery: dict[str, str] | None) -> str:
    """Where the order goes, and how well that is known; empty where it was not kept."""
    if delivery is None:
        return ""
    if not delivery["area"]:
        return "Not known."
    region = f", region {delivery['region']}" if delivery["region"] else ""
    return f"{delivery['name']} ({delivery['area']}{region}). {PRECISIONS[cast('Precision', delivery['precision'])]}"


def _policy(allocation: dict[str, Any]) -> str:
    """What the choice went by; empty where it was not kept."""
    policy = allocation["policy"]
    if policy is None:
        return ""
    near = f" (up to {policy['tolerance_km']:,g} km farther is equally near)"
    order = ", then ".join(WORDS[name] + (near if name == "nearest" else "") for name in policy["preferences"])
    split = SPLITS[policy["split"]].format(**policy)
    forbidden = "" if allocation["allow_split"] else " This order forbade splitting."
    return f"For {policy['region'] or EVERY_OTHER}: {order}; {split}.{forbidden}"


def _said(preference: Preference, best: float | None, left: int) -> dict[str, str]:
    """What a preference found."""
    return {"preference": WORDS[preference], "best": _with_unit(preference, best) or "not known", "left": f"{left:,}"}


def _with_unit(preference: Preference, score: float | None) -> str:
    """A score of the preference for a person; empty where there is none."""
    return "" if score is None else UNITS[preference].format(score)


def _considered(allocation: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each product and warehouse that was considered: by product, the nearest first, the ruled out last."""
    places = {candidate["warehouse_id"]: candidate for candidate in allocation["candidates"]}
    taken: Counter[tuple[str, str]] = Counter()
    for decision in allocation["chosen"]:
        for part in decision["parts"]:
            taken[part["product_id"], part["warehouse_id"]] += part["quantity"]
    against = _against(allocation)
    # Where the warehouse was taken all the same, only that it was not enough alone is of interest.
    rejected = {(one["product_id"], one["warehouse_id"]) for one in allocation["rejected"]}
    products = Product.objects.in_bulk([UUID(product_id) for product_id, _ in {*taken, *against}])
    nearness = {warehouse_id: position for position, warehouse_id in enumerate(places)}
    rows = []
    for product_id, warehouse_id in {*taken, *against}:
        key = (product_id, warehouse_id)
        place = places.get(warehouse_id, {})
        product = str(products.get(UUID(product_id), product_id))
        row = {
            "product_id": product_id,
            "product": product,
            "warehouse_id": warehouse_id,
            "region": place.get("region"),
            "priority": place.get("priority"),
            "distance": _with_unit("nearest", place.get("distance_km")),
            "available": place.get("available", {}).get(product_id),
            "share": _with_unit("balance", place.get("share_taken", {}).get(product_id)),
            "taken": taken[key],
            "reason": against.get(key, "") if key in rejected or not taken[key] else "",
        }
        rows.append(((product, product_id, nearness.get(warehouse_id, len(places)), warehouse_id), row))
    return [row for _, row in sorted(rows, key=itemgetter(0))]


def _against(allocation: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Why nothing, or no more, was taken, by product and warehouse."""
    free = [decision for decision in allocation["chosen"] if decision["strategy"] != "named"]
    free_product_ids = {part["product_id"] for decision in free for part in decision["parts"]}
    short = {one["warehouse_id"] for one in allocation["rejected"]}
    found = {}
    for candidate in allocation["candidates"]:
        warehouse_id, lost_by = candidate["warehouse_id"], candidate["lost_by"]
        for product_id in candidate["available"]:
            if product_id not in free_product_ids:
                reason = "the line named another"
            elif lost_by is not None:
                reason = LOST[lost_by]
            else:
                reason = "not enough for the other lines" if warehouse_id in short else "another choice was preferred"
            found[product_id, warehouse_id] = reason
    for one in allocation["rejected"]:
        found[one["product_id"], one["warehouse_id"]] = REJECTED[one["reason"]].format(**one)
    return found
