"""Reservations in memory, and the set-based statements that read and write them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from uuid_utils.compat import uuid7

from inventory_project import database
from reservations.models import Reservation, ReservationItem

Status = Reservation.Status

FIELDS = (
    "id", "order_id", "status", "is_live", "expires_at", "created_at", "settled_at",
    "delivery_postal_code", "allocation", "replaces_id", "actor",
)  # fmt: skip
LINE_FIELDS = ("id", "product_id", "warehouse_id", "quantity", "confirmed", "returned")
RESERVATION_COLUMNS = tuple(name.removesuffix("_id") if name == "replaces_id" else name for name in FIELDS)
ITEM_COLUMNS = ("id", "reservation", "product", "warehouse", "quantity", "confirmed", "returned")


@dataclass(slots=True)
class HoldLine:
    """Units of one product at one warehouse; `released` follows from the hold's status."""

    id: UUID
    product_id: UUID
    warehouse_id: str
    quantity: int
    confirmed: int = 0
    returned: int = 0


@dataclass(slots=True)
class Hold:
    """A reservation with its lines (in id order), as one transaction knows it."""

    id: UUID
    order_id: UUID
    status: str
    is_live: bool
    expires_at: datetime
    created_at: datetime
    settled_at: datetime | None
    delivery_postal_code: str
    allocation: dict[str, Any]
    replaces_id: UUID | None
    actor: str
    lines: list[HoldLine] = field(default_factory=list)

    def is_overdue(self, now: datetime) -> bool:
        """Still ACTIVE though its time is up: nobody has released it yet."""
        return self.status == Status.ACTIVE and self.expires_at <= now

    @property
    def product_ids(self) -> set[UUID]:
        return {line.product_id for line in self.lines}

    @property
    def warehouse_ids(self) -> set[str]:
        return {line.warehouse_id for line in self.lines}


def new_line(*, product_id: UUID, warehouse_id: str, quantity: int) -> HoldLine:
    return HoldLine(id=uuid7(), product_id=product_id, warehouse_id=warehouse_id, quantity=quantity)


# --- reading -------------------------------------------------------------------------------------------------------


def of(queryset: QuerySet[Reservation]) -> list[Hold]:
    """The holds of a query of reservations, in its order; two statements."""
    holds = {row[0]: Hold(*row) for row in queryset.values_list(*FIELDS)}
    lines = ReservationItem.objects.filter(reservation_id__in=holds).order_by("id")
    for reservation_id, *line in lines.values_list("reservation_id", *LINE_FIELDS):
        holds[reservation_id].lines.append(HoldLine(*line))
    return list(holds.values())


def lock(reservation_ids: Collection[UUID]) -> dict[UUID, Hold]:
    """Lock these reservations in the order of their ids and read them; unknown ids are left out."""
    queryset = Reservation.objects.select_for_update(no_key=True).filter(pk__in=reservation_ids).order_by("id")
    return {hold.id: hold for hold in of(queryset)}


def live_of_orders(order_ids: Collection[UUID]) -> dict[UUID, Hold]:
    """The live reservation of each order that has one; one statement, nothing is locked."""
    rows = (
        ReservationItem.objects.filter(reservation__order_id__in=order_ids, reservation__is_live=True)
        .order_by("id")
        .values_list(*(f"reservation__{name}" for name in FIELDS), *LINE_FIELDS)
    )
    found: dict[UUID, Hold] = {}
    for row in rows:
        hold = found.get(row[1])
        if hold is None:
            hold = found[row[1]] = Hold(*row[: len(FIELDS)])
        hold.lines.append(HoldLine(*row[len(FIELDS) :]))
    return found


def current_ids_of_orders(order_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """For each order its live reservation, else its latest one; one statement, nothing is locked."""
    rows = Reservation.objects.filter(order_id__in=order_ids).values_list("order_id", "id")
    # The last of an order wins: live after settled, later after earlier. Later by the database's clock, not by the
    # ids, which processes make by clocks of their own.
    return dict(rows.order_by("is_live", "created_at", "id"))


# --- writing -------------------------------------------------------------------------------------------------------


def insert(holds: Iterable[Hold]) -> None:
    """Write new reservations and their lines; two statements, sorted by order so that twins meet in one order."""
    ordered = sorted(holds, key=lambda hold: hold.order_id)
    database.insert_rows(
        Reservation, RESERVATION_COLUMNS, [tuple(getattr(hold, name) for name in FIELDS) for hold in ordered]
    )
    database.insert_rows(
        ReservationItem,
        ITEM_COLUMNS,
        [
            (line.id, hold.id, line.product_id, line.warehouse_id, line.quantity, line.confirmed, line.returned)
            for hold in ordered
            for line in hold.lines
        ],
    )


def update(holds: Sequence[Hold]) -> None:
    """Write what settling, extending or returning changed; two statements."""
    database.update_rows(
        Reservation,
        ("id", "status", "is_live", "expires_at", "settled_at"),
        [(hold.id, hold.status, hold.is_live, hold.expires_at, hold.settled_at) for hold in holds],
    )
    database.update_rows(
        ReservationItem,
        ("id", "confirmed", "returned"),
        [(line.id, line.confirmed, line.returned) for hold in holds for line in hold.lines],
    )
