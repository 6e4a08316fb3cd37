"""Grants or refuses a batch of reservations, in the order of arrival. Runs inside its caller's transaction."""

from collections.abc import Mapping, Sequence, Set
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from uuid_utils.compat import uuid7

from inventory_project.foundation.access import limits
from inventory_project.foundation.errors import Invalid, Refusal, unknown_ids
from inventory_project.foundation.faults import crash_point
from reservations import events, holds
from reservations.holds import Hold, Status
from reservations.requests import (
    HeldByOverdue,
    Item,
    LiveLimit,
    OrderConflict,
    Outcome,
    Reserve,
    SalesBlocked,
    TooManyParts,
    is_same_content,
    merged,
)
from reservations.working_set import WorkingSet
from stock import ledger
from warehouses.allocation import decision
from warehouses.allocation.terms import Allocation, Candidate, Delivery, Line
from warehouses.network import Network, View

Kind = ledger.Kind

MAX_NAMED = 10  # warehouses in a refusal's sentence


def check(request: Reserve) -> Invalid | None:
    """What is wrong with the request, regardless of the stock; None if it is valid."""
    if not 1 <= len(request.items) <= settings.RESERVATION_MAX_LINES:
        return Invalid(f"A reservation has 1 to {settings.RESERVATION_MAX_LINES} lines.")
    for item in merged(request.items):
        if item.quantity < 1 or item.quantity > settings.RESERVATION_MAX_QUANTITY:
            return Invalid(
                f"The quantity of product {item.product_id} must be 1 to {settings.RESERVATION_MAX_QUANTITY}, "
                f"equal lines added up; it is {item.quantity}."
            )
    units = sum(item.quantity for item in request.items)
    if units > settings.RESERVATION_MAX_UNITS:
        return Invalid(f"A reservation has at most {settings.RESERVATION_MAX_UNITS} units; this one has {units}.")
    ttl = request.ttl_minutes
    if ttl is not None and not 1 <= ttl <= settings.RESERVATION_TTL_MAX_MINUTES:
        return Invalid(f"ttl_minutes must be 1 to {settings.RESERVATION_TTL_MAX_MINUTES}, not {ttl}.")
    return None


def reserve(requests: Sequence[Reserve]) -> list[Outcome | Refusal]:
    """Grant or refuse each request over all levels of its products. A refusal does not affect the other requests.

    NotDecidedYet is the answer for those that the transaction had no time for.
    """
    product_ids = {item.product_id for request in requests for item in request.items}
    crash_point("reserve.before_lock")
    working_set = WorkingSet.lock_products(
        product_ids, order_ids={request.order_id for request in requests}, actors=bounded_actors(requests)
    )
    crash_point("reserve.after_lock")
    outcomes = working_set.decide_in_time(_decide, requests)
    working_set.write()
    crash_point("reserve.before_commit")
    return outcomes


def _decide(working_set: WorkingSet, request: Reserve) -> Outcome | Refusal:
    answer = _unknown(working_set, request) or answer_of_twin(working_set, request) or over_limit(working_set, request)
    if answer is not None:
        return answer
    chosen = allocate(request, working_set.levels, working_set.network, unstocked=working_set.unstocked)
    return chosen if isinstance(chosen, Refusal) else grant_new(working_set, request, chosen)


def answer_of_twin(working_set: WorkingSet, request: Reserve) -> Outcome | Refusal | None:
    """The answer that follows from the order's live reservation; None if it has none."""
    twin = working_set.live.get(request.order_id)
    if twin is None:
        return None
    if twin.is_overdue(working_set.now):
        detail = "The order's earlier hold has run out and is about to be released; repeat the request."
        return HeldByOverdue(detail, reservation_id=str(twin.id))
    if is_same_content([(line, line.quantity) for line in twin.lines], request.items):
        return Outcome(hold=twin, is_replay=True)
    return OrderConflict(
        f"Order {request.order_id} has a live reservation with other content.", reservation_id=str(twin.id)
    )


def bounded_actors(requests: Sequence[Reserve]) -> set[str]:
    """The actors of the requests that may hold only so much at a time."""
    if not settings.MAX_LIVE_ORDERS_PER_TOKEN and not settings.MAX_LIVE_UNITS_PER_TOKEN:
        return set()
    return {request.actor for request in requests if limits.is_bounded_token(request.actor)}


def over_limit(working_set: WorkingSet, request: Reserve) -> LiveLimit | None:
    """The refusal of an actor that would hold more than it may; None if it may."""
    live = working_set.live_of_actors.get(request.actor)
    if live is None:
        return None
    units = sum(item.quantity for item in request.items)
    for what, held, requested, limit in (
        ("orders", live.orders, 1, settings.MAX_LIVE_ORDERS_PER_TOKEN),
        ("units", live.units, units, settings.MAX_LIVE_UNITS_PER_TOKEN),
    ):
        if limit and held + requested > limit:
            return LiveLimit(
                f"This token may hold {limit} {what} at a time. It holds {held}, and asks for {requested} more.",
                what=what,
                limit=limit,
                live=held,
                requested=requested,
            )
    return None


def grant_new(working_set: WorkingSet, request: Reserve, chosen: Allocation) -> Outcome:
    """Hold what was chosen for the request."""
    ttl = settings.RESERVATION_TTL_MINUTES if request.ttl_minutes is None else request.ttl_minutes
    hold = Hold(
        id=uuid7(),
        order_id=request.order_id,
        status=Status.ACTIVE.value,
        is_live=True,
        expires_at=working_set.now + timedelta(minutes=float(ttl)),
        created_at=working_set.now,
        settled_at=None,
        delivery_postal_code=request.delivery_postal_code,
        allocation=chosen.record,
        replaces_id=None,
        actor=request.actor,
    )
    grant(working_set, hold, chosen)
    if live := working_set.live_of_actors.get(request.actor):
        live.orders += 1
        live.units += sum(line.quantity for line in hold.lines)
    return Outcome(hold=hold, is_replay=False)


def _unknown(working_set: WorkingSet, request: Reserve) -> Invalid | None:
    stocked, unstocked, sites = working_set.levels.by_product, working_set.unstocked, working_set.network.sites
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
    request: Reserve, levels: ledger.LockedLevels, network: Network, *, unstocked: Mapping[UUID, bool]
) -> Allocation | Refusal:
    """Choose warehouses for the request from what the batch's earlier grants have left on the levels.

    `unstocked` are products without a level, and whether their sales are blocked.
    """
    view = network.seen_from(request.delivery_postal_code)
    items = merged(request.items)
    product_ids = [item.product_id for item in items]
    stock = candidates(levels, product_ids, view)
    blocked_ids = {product_id for product_id in product_ids if unstocked.get(product_id)}
    chosen = decide(items, stock, blocked_ids, view.delivery, allow_split=request.allow_split)
    if isinstance(chosen, Allocation) and len(chosen.parts) > settings.RESERVATION_MAX_PARTS:
        parts, limit = len(chosen.parts), settings.RESERVATION_MAX_PARTS
        return TooManyParts(
            f"The order would be served in {parts} parts, and at most {limit} are allowed; send it as several orders.",
            parts=parts,
            limit=limit,
        )
    return chosen


def decide(
    items: Sequence[Item],
    stock: Mapping[UUID, Sequence[Candidate]],
    blocked_ids: Set[UUID],
    delivery: Delivery,
    *,
    allow_split: bool,
) -> Allocation | Refusal:
    """Choose warehouses for the items, or return the refusal. `blocked_ids` are blocked products without a level."""
    lines = [Line(item.product_id, item.quantity, item.warehouse_id) for item in items]
    answer = decision.allocate(lines, stock, delivery=delivery, allow_split=allow_split)
    refusal = refusal_of(answer, delivery, blocked_ids)
    return answer if refusal is None else refusal


def refusal_of(answer: Allocation, delivery: Delivery, blocked_ids: Set[UUID] = frozenset()) -> Refusal | None:
    """The refusal that follows from an allocation: SalesBlocked or InsufficientStock; None if it serves the order."""
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
    return None


def _lack(answer: Allocation, delivery: Delivery) -> str:
    """The shortage in sentences, with the warehouses that have stock but do not serve the region."""
    said = ["There is not enough stock for this order."]
    if answer.lacking == "parcels":
        said = ["There is enough stock for this order, but not in as few warehouses as it may come from."]
    if answer.is_given_up:
        said.append(f"Not all ways to serve it in {delivery.policy.most_parcels} parcels were tried.")
    if answer.not_serving:
        named = ", ".join(answer.not_serving[:MAX_NAMED])
        more = f" and {len(answer.not_serving) - MAX_NAMED} more" if len(answer.not_serving) > MAX_NAMED else ""
        said.append(f"These warehouses do not serve the region {delivery.region}: {named}{more}.")
    return " ".join(said)


def candidates(levels: ledger.LockedLevels, product_ids: Sequence[UUID], view: View) -> dict[UUID, list[Candidate]]:
    """The levels of these products as candidates for the allocation, seen from the delivery."""
    return {
        product_id: [
            Candidate(
                view[level.warehouse_id],
                level.available,
                level.is_blocked,
                level.is_closed,
                level.reserved,
                level.replenished,
            )
            for level in levels.by_product.get(product_id, ())
        ]
        for product_id in product_ids
    }


def grant(working_set: WorkingSet, hold: Hold, chosen: Allocation) -> None:
    """Take the stock for a new hold in memory; it is written with the batch."""
    for part in chosen.parts:
        line = holds.new_line(product_id=part.product_id, warehouse_id=part.warehouse_id, quantity=part.quantity)
        hold.lines.append(line)
        ledger.post(
            working_set.levels,
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
    working_set.granted.append(hold)
    working_set.live[hold.order_id] = hold
    working_set.recorded.append(events.reserved(hold))
