"""Decides a batch of reservations over locked stock, in the order of arrival, and writes all that was granted.

Runs inside the transaction of its caller. First the levels are locked, then live reservations of the same orders are
looked up, then the clock is read: so twins in other processes are seen, and the clock is not as old as the wait.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from uuid_utils.compat import uuid7

from inventory_project.foundation import database, tracing
from inventory_project.foundation.errors import Invalid, Refusal, unknown_ids
from inventory_project.foundation.faults import crash_point
from inventory_project.foundation.messaging import outbox
from inventory_project.foundation.messaging.outbox import Event
from reservations import events, holds
from reservations.holds import Hold, Status
from reservations.requests import (
    HeldByOverdue,
    Item,
    OrderConflict,
    Outcome,
    Reserve,
    SalesBlocked,
    is_same_content,
    merged,
)
from stock import ledger
from stock.models import Product
from warehouses import network
from warehouses.allocation import decision
from warehouses.allocation.terms import Allocation, Candidate, Delivery, Line
from warehouses.network import Network, View

Kind = ledger.Kind

MOST_NAMED = 10  # warehouses in a refusal's sentence


@dataclass(slots=True)
class Desk:
    """Everything a batch decides over, and what it has granted so far."""

    levels: ledger.LockedLevels
    network: Network
    live: dict[UUID, Hold]
    now: datetime
    unstocked: dict[UUID, bool] = field(default_factory=dict)  # products without a level, and whether they are blocked
    granted: list[Hold] = field(default_factory=list)
    recorded: list[Event] = field(default_factory=list)


def check(request: Reserve) -> Invalid | None:
    """What is wrong with the request whatever the stock; None when nothing is."""
    if not 1 <= len(request.items) <= settings.RESERVATION_MAX_LINES:
        return Invalid(f"A reservation has 1 to {settings.RESERVATION_MAX_LINES} lines.")
    for item in merged(request.items):
        if item.quantity < 1 or item.quantity > settings.RESERVATION_MAX_QUANTITY:
            return Invalid(
                f"The quantity of product {item.product_id} must be 1 to {settings.RESERVATION_MAX_QUANTITY}, "
                f"equal lines added up; it is {item.quantity}."
            )
    ttl = request.ttl_minutes
    if ttl is not None and not 1 <= ttl <= settings.RESERVATION_TTL_MAX_MINUTES:
        return Invalid(f"ttl_minutes must be 1 to {settings.RESERVATION_TTL_MAX_MINUTES}, not {ttl}.")
    return None


def reserve(requests: Sequence[Reserve]) -> list[Outcome | Refusal]:
    """Grant or refuse each request; one refusal leaves its neighbours alone."""
    product_ids = {item.product_id for request in requests for item in request.items}
    crash_point("reserve.before_lock")
    with database.pipelined():
        locking = ledger.locking(product_ids)
        reading = network.current()  # after the levels: a warehouse that one of them names is there by then
        live = holds.live_of_orders({request.order_id for request in requests})
        now = database.read_clock()
    crash_point("reserve.after_lock")
    levels = locking()
    desk = Desk(levels=levels, network=reading(), live=live(), now=now(), unstocked=_unstocked(product_ids, levels))
    outcomes = tracing.decide_each(partial(_decide, desk), requests)
    levels.hold_ends = holds.time_left(desk.granted, desk.now)
    with database.pipelined():
        holds.insert(desk.granted)
        crossings = ledger.write(levels, at=desk.now)
        outbox.record([*desk.recorded, *crossings], at=desk.now)
    crash_point("reserve.before_commit")
    return outcomes


def _unstocked(product_ids: set[UUID], levels: ledger.LockedLevels) -> dict[UUID, bool]:
    """Of the products that are stocked nowhere those that exist, and whether their sales are blocked."""
    unstocked = product_ids - levels.by_product.keys()
    return dict(Product.objects.filter(pk__in=unstocked).values_list("id", "is_blocked")) if unstocked else {}


def _decide(desk: Desk, request: Reserve) -> Outcome | Refusal:
    unknown = _unknown(desk, request)
    if unknown is not None:
        return unknown
    twin = desk.live.get(request.order_id)
    if twin is not None:
        if twin.is_overdue(desk.now):
            detail = "The order's earlier hold has run out and is about to be released; repeat the request."
            return HeldByOverdue(detail, reservation_id=str(twin.id))
        if is_same_content([(line, line.quantity) for line in twin.lines], request.items):
            return Outcome(hold=twin, is_replay=True)
        return OrderConflict(
            f"Order {request.order_id} has a live reservation with other content.", reservation_id=str(twin.id)
        )
    view = desk.network.seen_from(request.delivery_postal_code)
    decision = allocate(desk, merged(request.items), view, view.delivery, allow_split=request.allow_split)
    if isinstance(decision, Refusal):
        return decision
    ttl = settings.RESERVATION_TTL_MINUTES if request.ttl_minutes is None else request.ttl_minutes
    hold = Hold(
        id=uuid7(),
        order_id=request.order_id,
        status=Status.ACTIVE.value,
        is_live=True,
        expires_at=desk.now + timedelta(minutes=float(ttl)),
        created_at=desk.now,
        settled_at=None,
        delivery_postal_code=request.delivery_postal_code,
        allocation=decision.record,
        replaces_id=None,
        actor=request.actor,
    )
    grant(desk, hold, decision)
    return Outcome(hold=hold, is_replay=False)


def _unknown(desk: Desk, request: Reserve) -> Invalid | None:
    stocked, unstocked, sites = desk.levels.by_product, desk.unstocked, desk.network.sites
    product_ids = {
        str(item.product_id)
        for item in request.items
        if item.product_id not in stocked and item.product_id not in unstocked
    }
    warehouse_ids = {
        item.warehouse_id for item in request.items if item.warehouse_id is not None and item.warehouse_id not in sites
    }
    if not product_ids and not warehouse_ids:
        return None
    return unknown_ids(product_ids=list(product_ids), warehouse_ids=list(warehouse_ids))


def allocate(
    desk: Desk, items: Sequence[Item], view: View, delivery: Delivery, *, allow_split: bool
) -> Allocation | Refusal:
    """Choose warehouses over the numbers as they stand after the batch's earlier grants."""
    stock = {item.product_id: _candidates(desk, item.product_id, view) for item in items}
    blocked_ids = {item.product_id for item in items if desk.unstocked.get(item.product_id)}
    return decide(items, stock, blocked_ids, delivery, allow_split=allow_split)


def decide(
    items: Sequence[Item],
    stock: Mapping[UUID, Sequence[Candidate]],
    blocked_ids: Set[UUID],
    delivery: Delivery,
    *,
    allow_split: bool,
) -> Allocation | Refusal:
    """Choose warehouses for the items, or say what forbids it; `blocked_ids` are blocked whatever their stock says."""
    lines = [Line(item.product_id, item.quantity, item.warehouse_id) for item in items]
    answer = decision.allocate(lines, stock, delivery=delivery, allow_split=allow_split)
    blocked = sorted(str(product_id) for product_id in {*answer.blocked_product_ids, *blocked_ids})
    if blocked:
        return SalesBlocked(f"Sales are blocked: {', '.join(blocked)}.", product_ids=blocked)
    if answer.shortages:
        shortages: list[dict[str, Any]] = [
            {
                "product_id": str(shortage.product_id),
                "warehouse_id": shortage.warehouse_id,
                "requested": shortage.requested,
                "available": shortage.available,
            }
            for shortage in answer.shortages
        ]
        return ledger.InsufficientStock(_lack(answer, delivery), shortages=shortages, lacking=answer.lacking)
    return answer


def _lack(decision: Allocation, delivery: Delivery) -> str:
    """The shortage in sentences, with the warehouses that have stock and do not serve the region."""
    said = ["There is not enough stock for this order."]
    if decision.lacking == "parcels":
        said = ["There is enough stock for this order, but not in as few warehouses as it may come from."]
    if decision.is_given_up:
        said.append(f"Of the ways to serve it in {delivery.policy.most_parcels} parcels not all were looked at.")
    if decision.not_serving:
        named = ", ".join(decision.not_serving[:MOST_NAMED])
        more = f" and {len(decision.not_serving) - MOST_NAMED} more" if len(decision.not_serving) > MOST_NAMED else ""
        said.append(f"These warehouses do not serve the region {delivery.region}: {named}{more}.")
    return " ".join(said)


def _candidates(desk: Desk, product_id: UUID, view: View) -> list[Candidate]:
    return [
        Candidate(
            view[level.warehouse_id],
            level.available,
            level.is_blocked,
            level.is_closed,
            level.reserved,
            level.replenished,
        )
        for level in desk.levels.by_product.get(product_id, ())
    ]


def grant(desk: Desk, hold: Hold, decision: Allocation) -> None:
    """Take the stock for a new hold; written with the batch."""
    for part in decision.parts:
        line = holds.new_line(product_id=part.product_id, warehouse_id=part.warehouse_id, quantity=part.quantity)
        hold.lines.append(line)
        ledger.post(
            desk.levels,
            ledger.Posting(
                kind=Kind.RESERVE,
                product_id=part.product_id,
                warehouse_id=part.warehouse_id,
                available=-part.quantity,
                reserved=part.quantity,
                line_id=line.id,
                actor=hold.actor,
            ),
        )
    desk.granted.append(hold)
    desk.live[hold.order_id] = hold
    desk.recorded.append(events.reserved(hold))
