"""The contract of the reservation events: the data of each."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from inventory_project.foundation import moments
from inventory_project.foundation.errors import Refusal
from inventory_project.foundation.messaging.outbox import Event
from reservations.holds import Hold, HoldLine

RESERVED = "inventory.reserved"
CONFIRMED = "inventory.confirmed"
RELEASED = "inventory.released"
REJECTED = "inventory.rejected"

ReleaseReason = Literal["cancelled", "expired", "payment_failed", "partial", "returned"]
LineQuantity = tuple[HoldLine, int]


def reserved(hold: Hold) -> Event:
    """The event that stock is held for the order until `expires_at`."""
    return Event(
        type=RESERVED,
        subject=str(hold.id),
        data={
            "reservation_id": str(hold.id),
            "order_id": str(hold.order_id),
            "expires_at": moments.utc_text(hold.expires_at),
            "items": _items([(line, line.quantity) for line in hold.lines]),
        },
    )


def confirmed(hold: Hold) -> Event:
    """The event that the confirmed units have left the stock."""
    return Event(
        type=CONFIRMED,
        subject=str(hold.id),
        data={
            "reservation_id": str(hold.id),
            "order_id": str(hold.order_id),
            "items": _items([(line, line.confirmed) for line in hold.lines]),
        },
    )


def released(hold: Hold, items: Sequence[LineQuantity], *, reason: ReleaseReason, reference: str = "") -> Event:
    """The event that units are available again. A return has a reference, because a reservation may have several."""
    data: dict[str, Any] = {
        "reservation_id": str(hold.id),
        "order_id": str(hold.order_id),
        "reason": reason,
        "items": _items(items),
    }
    if reference:
        data["reference"] = reference
    return Event(type=RELEASED, subject=str(hold.id), data=data, occasion=reference)


def rejected(order_id: UUID, cause: str, refusal: Refusal, *, extensions: Mapping[str, str]) -> Event:
    """The event that a message of type `cause` was rejected. An order may have several."""
    return Event(
        type=REJECTED,
        subject=str(order_id),
        occasion=None,
        extensions=extensions,
        data={
            "order_id": str(order_id),
            "cause": cause,
            "code": refusal.code,
            "detail": refusal.detail,
            "shortages": [],
            **refusal.extra,
        },
    )


def _items(lines: Sequence[LineQuantity]) -> list[dict[str, Any]]:
    return [
        {"product_id": str(line.product_id), "warehouse_id": line.warehouse_id, "quantity": quantity}
        for line, quantity in lines
        if quantity
    ]
