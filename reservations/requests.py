"""The requests about reservations, their outcome, and the possible refusals. Pure data."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from inventory_project.foundation import tracing
from inventory_project.foundation.errors import Conflict, Unavailable
from reservations.events import LineQuantity, ReleaseReason
from reservations.holds import Hold

CallOffReason = Literal["cancelled", "payment_failed"]


@dataclass(frozen=True, slots=True)
class Item:
    """Units of a product, at a named warehouse or at any."""

    product_id: UUID
    quantity: int
    warehouse_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The base of all requests: the actor, and the trace of its events (see `foundation.tracing`)."""

    actor: str
    extensions: Mapping[str, str] = field(default_factory=tracing.current, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve(Request):
    """Hold stock for an order; `ttl_minutes` None means RESERVATION_TTL_MINUTES."""

    order_id: UUID
    items: tuple[Item, ...]
    delivery_postal_code: str = ""
    ttl_minutes: int | None = None
    allow_split: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm(Request):
    """Turn the hold into a deduction; with `items` only that part, and the rest is released."""

    reservation_id: UUID
    items: tuple[Item, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Request):
    """Release the hold."""

    reservation_id: UUID
    reason: ReleaseReason = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire(Request):
    """Release the hold as expired. `only_if_due` refuses if its time is not up yet."""

    reservation_id: UUID
    only_if_due: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Extend(Request):
    """Give the hold more time: until `expires_at`, or `minutes` more under a `reference`."""

    reservation_id: UUID
    expires_at: datetime | None = None
    minutes: int | None = None
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Return(Request):
    """Return confirmed goods to the warehouses they left; without `items`, all that have not been returned yet."""

    reservation_id: UUID
    reference: str
    items: tuple[Item, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pay(Request):
    """A payment for the order arrived, in time or late. Without `is_revivable` a hold that has ended stays so."""

    order_id: UUID
    is_revivable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOff(Request):
    """Call off the order, or these `items` of it: its goods become available again, held or confirmed.

    A failed payment frees only what is held, not confirmed goods. `is_revivable`: a late payment may still serve the
    order again, so items that are cancelled after its hold has ended count too.
    """

    order_id: UUID
    items: tuple[Item, ...] | None = None
    reason: CallOffReason
    reference: str
    is_revivable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The reservation after the request; `is_replay` if the request changed nothing."""

    hold: Hold
    is_replay: bool


# --- refusals ------------------------------------------------------------------------------------------------------


class OrderConflict(Conflict):
    """The order has a live reservation with other content."""

    code = "order_conflict"


class SalesBlocked(Conflict):
    """Sales of a product are blocked; `product_ids` names them."""

    code = "sales_blocked"


class LiveLimit(Conflict):
    """The API token would hold more than it may: `limit` of `what`, of which `live` are held and `requested` wanted."""

    code = "live_limit"


class TooManyParts(Conflict):
    """The order would take its units from too many places: `parts`, of which at most `limit` are allowed."""

    code = "too_many_parts"


class ReservationActive(Conflict):
    """The reservation is not confirmed yet."""

    code = "reservation_active"


class ReservationConfirmed(Conflict):
    """The reservation was confirmed before."""

    code = "reservation_confirmed"


class ReservationExpired(Conflict):
    """The reservation has expired."""

    code = "reservation_expired"


class ReservationCancelled(Conflict):
    """The reservation was cancelled before."""

    code = "reservation_cancelled"


class ExceedsReservation(Conflict):
    """The request names more units than the reservation has."""

    code = "exceeds_reservation"


class ExtensionLimit(Conflict):
    """The extension would exceed the longest time that a hold may last."""

    code = "extension_limit"


class OrderChanged(Unavailable):
    """The order got another reservation while this request waited."""


class HeldByOverdue(Unavailable):
    """The order's earlier hold has run out and is not released yet."""


class NotDecidedYet(Unavailable):
    """Not decided in this transaction; the lifecycle decides it in the next one."""


def weight(request: Reserve | Confirm | Cancel) -> int:
    """The weight of a request in a batch: the number of lines that it names, at least 1."""
    items = None if isinstance(request, Cancel) else request.items
    return max(1, len(items or ()))


def merged(items: Sequence[Item]) -> tuple[Item, ...]:
    """Add up equal lines: one item for each product and warehouse, in order of first mention."""
    units: dict[tuple[UUID, str | None], int] = defaultdict(int)
    for item in items:
        units[item.product_id, item.warehouse_id] += item.quantity
    return tuple(Item(product_id, quantity, warehouse_id) for (product_id, warehouse_id), quantity in units.items())


def is_same_content(parts: Sequence[LineQuantity], items: Sequence[Item]) -> bool:
    """Whether the items match the parts: equal totals per product, and enough units at each named warehouse."""
    held: dict[UUID, int] = defaultdict(int)
    at: dict[tuple[UUID, str], int] = {}
    for line, units in parts:
        if units:
            held[line.product_id] += units
            at[line.product_id, line.warehouse_id] = units
    asked: dict[UUID, int] = defaultdict(int)
    for item in items:
        asked[item.product_id] += item.quantity
    named = [(item.product_id, item.warehouse_id, item.quantity) for item in merged(items) if item.warehouse_id]
    return held == asked and all(
        at.get((product_id, warehouse_id), 0) >= quantity for product_id, warehouse_id, quantity in named
    )
