"""The way it is written by the book: lock, read, write, commit, for each request on its own, through the ORM.

It takes the same decision over the same locked rows and writes the same rows as `lifecycle.reserve_many`, and tests
hold the two against each other. It is spared what that does besides: validation, replays, thresholds, the database's
clock, metrics.
"""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from uuid_utils.compat import uuid7

from inventory_project.foundation import moments
from inventory_project.foundation.messaging.models import OutboxEvent
from reservations.events import RESERVED
from reservations.models import Reservation, ReservationItem
from reservations.requests import Reserve
from stock.models import StockLevel, StockMovement
from warehouses.allocation.decision import allocate
from warehouses.allocation.preferences import Place
from warehouses.allocation.terms import Allocation, Candidate, Line


@transaction.atomic
def reserve(request: Reserve) -> tuple[Reservation, list[ReservationItem]]:
    """Hold stock for an order of one line. Raises ValueError when the order has a hold or the stock does not do."""
    [item] = request.items
    levels = {
        level.warehouse_id: level
        for level in StockLevel.objects.select_for_update(of=("self",))
        .filter(product_id=item.product_id)
        .select_related("warehouse")
        .order_by("product_id", "warehouse_id")
    }
    if Reservation.objects.filter(order_id=request.order_id, is_live=True).exists():
        raise ValueError(f"Order {request.order_id} has a live reservation.")
    candidates = [
        Candidate(
            Place(level.warehouse_id, level.warehouse.region, level.warehouse.priority),
            level.available,
            level.is_blocked,
            level.is_closed,
            level.reserved,
            level.replenished,
        )
        for level in levels.values()
    ]
    line = Line(item.product_id, item.quantity, item.warehouse_id)
    decision = allocate([line], {item.product_id: candidates}, allow_split=request.allow_split)
    if not decision.parts:
        raise ValueError(f"There is not enough of product {item.product_id}.")
    return _write(request, decision, levels)


def _write(
    request: Reserve, decision: Allocation, levels: dict[str, StockLevel]
) -> tuple[Reservation, list[ReservationItem]]:
    now = timezone.now()
    reservation = Reservation.objects.create(
        id=uuid7(),
        order_id=request.order_id,
        expires_at=now + timedelta(minutes=request.ttl_minutes or 0),
        created_at=now,
        delivery_postal_code=request.delivery_postal_code,
        allocation=decision.record,
        actor=request.actor,
    )
    lines = [_take(reservation, levels[part.warehouse_id], part.quantity) for part in decision.parts]
    OutboxEvent.objects.create(
        event_id=uuid7(),
        type=RESERVED,
        subject=str(reservation.id),
        occasion="",
        data={
            "reservation_id": str(reservation.id),
            "order_id": str(reservation.order_id),
            "expires_at": moments.utc_text(reservation.expires_at),
            "items": [
                {"product_id": str(part.product_id), "warehouse_id": part.warehouse_id, "quantity": part.quantity}
                for part in decision.parts
            ],
        },
        occurred_at=now,
    )
    return reservation, lines


def _take(reservation: Reservation, level: StockLevel, quantity: int) -> ReservationItem:
    line = ReservationItem.objects.create(
        id=uuid7(),
        reservation=reservation,
        product_id=level.product_id,
        warehouse_id=level.warehouse_id,
        quantity=quantity,
    )
    level.available -= quantity
    level.reserved += quantity
    level.last_movement += 1
    level.version += 1
    level.updated_at = reservation.created_at
    StockMovement.objects.create(
        id=uuid7(),
        product_id=level.product_id,
        warehouse_id=level.warehouse_id,
        kind=StockMovement.Kind.RESERVE,
        available_delta=-quantity,
        reserved_delta=quantity,
        number=level.last_movement,
        available_after=level.available,
        reserved_after=level.reserved,
        incoming_after=level.incoming,
        line_id=line.id,
        actor=reservation.actor,
        created_at=reservation.created_at,
    )
    level.save()
    return line
