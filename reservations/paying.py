"""A payment for an order, in time or late: the hold becomes a deduction even when it has run out, if stock allows.

ACTIVE, though past its time: confirmed. EXPIRED: reserved again and confirmed in the same transaction, by a new
reservation, at the same warehouses or at others, unless the payment says not to. CANCELLED: never revived.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID

from uuid_utils.compat import uuid7

from inventory_project.foundation import database, tracing
from inventory_project.foundation.errors import Refusal
from inventory_project.foundation.faults import crash_point
from inventory_project.foundation.messaging import outbox
from reservations import events, holds, reserving, settling
from reservations.holds import Hold, Status
from reservations.requests import Confirm, Item, Outcome, Pay, merged
from stock import ledger
from warehouses import network
from warehouses.allocation import policies
from warehouses.allocation.terms import Allocation
from warehouses.allocation.words import REVIVED


def pay(requests: Sequence[Pay]) -> list[Outcome | Refusal]:
    """Confirm the current reservation of each order; inside the caller's transaction."""
    order_ids = {request.order_id for request in requests}
    current_ids = holds.current_ids_of_orders(order_ids)
    locked = holds.locking(set(current_ids.values()), is_for_revival=True)()
    with database.pipelined():
        # All levels of the products, not only those of the lines: an expired hold may find its stock elsewhere.
        locking = ledger.locking({product_id for hold in locked.values() for product_id in hold.product_ids})
        reading = network.current()
    levels = locking()
    current = settling.of_orders(order_ids, locked, current_ids)
    now = database.database_now()
    settled = settling.Desk(holds=locked, levels=levels, now=now)
    revived = reserving.Desk(levels=levels, network=reading(), live={}, now=now)
    outcomes = tracing.decide_each(partial(_decide, settled, revived, current), requests)
    changed = list(settled.changed.values())
    levels.hold_ends = holds.time_left(changed, now)
    with database.pipelined():
        holds.insert(revived.granted)
        holds.update(changed)
        crossings = ledger.write(levels, at=now)
        outbox.record([*settled.recorded, *revived.recorded, *crossings], at=now)
    crash_point("pay.before_commit")
    return outcomes


def _decide(
    settled: settling.Desk, revived: reserving.Desk, current: Mapping[UUID, Hold | Refusal], request: Pay
) -> Outcome | Refusal:
    made = revived.live.get(request.order_id)
    if made is not None:
        return Outcome(hold=made, is_replay=True)  # an earlier payment in this batch has revived it
    hold = current[request.order_id]
    if isinstance(hold, Refusal):
        return hold
    if hold.status == Status.EXPIRED and request.is_revivable:
        return _revive(revived, hold, actor=request.actor)
    return settling.decide_confirm(
        settled, hold, Confirm(reservation_id=hold.id, actor=request.actor), is_late_allowed=True
    )


def _revive(desk: reserving.Desk, expired: Hold, *, actor: str) -> Outcome | Refusal:
    """Reserve what the hold had at its end, and confirm it; a twin elsewhere fails on the order's one live hold."""
    decision = _same_warehouses_or_others(desk, expired)
    if isinstance(decision, Refusal):
        return decision
    hold = Hold(
        id=uuid7(),
        order_id=expired.order_id,
        status=Status.CONFIRMED.value,
        is_live=True,
        expires_at=desk.now,
        created_at=desk.now,
        settled_at=desk.now,
        delivery_postal_code=expired.delivery_postal_code,
        allocation={**decision.record, "notes": [*decision.record["notes"], REVIVED]},
        replaces_id=expired.id,
        actor=actor,
    )
    reserving.grant(desk, hold, decision)
    for line in hold.lines:
        line.confirmed = line.quantity
        settling.post(desk.levels, ledger.Kind.CONFIRM, line, reserved=-line.quantity, actor=actor)
    desk.recorded.append(events.confirmed(hold))
    return Outcome(hold=hold, is_replay=False)


def _same_warehouses_or_others(desk: reserving.Desk, expired: Hold) -> Allocation | Refusal:
    # What the order gave up before the hold ran out is not wanted back.
    wanted = [(line, line.quantity - line.given_up_before) for line in expired.lines]
    same = [Item(line.product_id, units, line.warehouse_id) for line, units in wanted if units]
    view = desk.network.seen_from(expired.delivery_postal_code)
    decision = reserving.allocate(desk, same, view, view.delivery, allow_split=True)
    if not isinstance(decision, ledger.InsufficientStock):
        return decision
    anywhere = [Item(item.product_id, item.quantity) for item in same]
    paid = replace(view.delivery, policy=policies.for_paid(view.delivery.policy))
    return reserving.allocate(desk, merged(anywhere), view, paid, allow_split=True)
