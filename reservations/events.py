"""The contract of the reservation events: what each carries."""

from collections.abc import Sequence
from typing import Any, Literal

from inventory_project.messaging.outbox import Event
from reservations.holds import Hold, HoldLine

RESERVED = "inventory.reserved"
CONFIRMED = "inventory.confirmed"
RELEASED = "inventory.released"

ReleaseReason = Literal["cancelled", "expired", "payment_failed", "partial", "returned"]
LineQuantity = tuple[HoldLine, int]


def reserved(hold: Hold) -> Event:
    """Stock is held for the order until `expires_at`."""
    return Event(
        type=RESERVED,
        subject=str(hold.id),
        data={
            "reservation_id": str(hold.id),
            "order_id": str(hold.order_id),
            "expires_at": hold.expires_at.isoformat(),
            "items": _items([(line, line.quantity) for line in hold.lines]),
        },
    )


def confirmed(hold: Hold) -> Event:
    """What was confirmed has left the stock."""
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
    """Units are free again; a return names its reference, which may happen more than once for a reservation."""
    data: dict[str, Any] = {
        "reservation_id": str(hold.id),
        "order_id": str(hold.order_id),
        "reason": reason,
        "items": _items(items),
    }
    if reference:
        data["reference"] = reference
    return Event(type=RELEASED, subject=str(hold.id), data=data, occasion=reference)


def _items(lines: Sequence[LineQuantity]) -> list[dict[str, Any]]:
    return [
        {"product_id": str(line.product_id), "warehouse_id": line.warehouse_id, "quantity": quantity}
        for line, quantity in lines
        if quantity
    ]
