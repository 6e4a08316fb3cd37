"""Confirms the reservation of a paid order. If the hold has ended, the order is served again if stock allows.

An ACTIVE reservation is confirmed, even past its time. For an EXPIRED one, or one that was CANCELLED only because an
earlier payment failed, a new reservation is created and confirmed in the same transaction, at the same warehouses or
others, unless the payment is not revivable. One that somebody cancelled is never revived.
"""

from collections.abc import Sequence

from uuid_utils.compat import uuid7

from inventory_project.foundation.errors import Refusal
from inventory_project.foundation.faults import crash_point
from reservations import events, reserving, reviving, transitions
from reservations.holds import Hold, Status
from reservations.requests import Confirm, Outcome, Pay, ReservationCancelled
from reservations.working_set import WorkingSet
from stock import ledger
from warehouses.allocation.terms import Line
from warehouses.allocation.words import REVIVED


def pay(requests: Sequence[Pay]) -> list[Outcome | Refusal]:
    """Confirm the current reservation of each order; inside the caller's transaction.

    NotDecidedYet is the answer for those that the transaction had no time for.
    """
    working_set = WorkingSet.lock_orders_for_payment({request.order_id for request in requests})
    outcomes = working_set.decide_in_time(_decide, requests)
    working_set.write()
    crash_point("pay.before_commit")
    return outcomes


def _decide(working_set: WorkingSet, request: Pay) -> Outcome | Refusal:
    revived = working_set.live.get(request.order_id)
    if revived is not None:
        return Outcome(hold=revived, is_replay=True)  # an earlier payment in this batch has revived it
    hold = working_set.current[request.order_id]
    if isinstance(hold, Refusal):
        return hold
    if request.is_revivable and hold.is_revivable:
        return _revive(working_set, hold, actor=request.actor)
    return transitions.decide_confirm(
        working_set, hold, Confirm(reservation_id=hold.id, actor=request.actor), is_late_allowed=True
    )


def _revive(working_set: WorkingSet, ended: Hold, *, actor: str) -> Outcome | Refusal:
    """Reserve and confirm what the hold had at its end. A concurrent twin fails: an order has one live reservation."""
    lines = [Line(line.product_id, line.wanted, line.warehouse_id) for line in ended.lines if line.wanted]
    if not lines:
        return ReservationCancelled(f"All items of reservation {ended.id} were cancelled after it had ended.")
    view = working_set.network.seen_from(ended.delivery_postal_code)
    stock = reserving.candidates(working_set.levels, [line.product_id for line in lines], view)
    decision, delivery = reviving.allocate_again(lines, stock, view.delivery)
    refusal = reserving.refusal_of(decision, delivery)
    if refusal is not None:
        return refusal
    hold = Hold(
        id=uuid7(),
        order_id=ended.order_id,
        status=Status.CONFIRMED.value,
        is_live=True,
        expires_at=working_set.now,
        created_at=working_set.now,
        settled_at=working_set.now,
        delivery_postal_code=ended.delivery_postal_code,
        allocation={**decision.record, "notes": [*decision.record["notes"], REVIVED]},
        replaces_id=ended.id,
        actor=actor,
    )
    reserving.grant(working_set, hold, decision)
    for line in hold.lines:
        line.confirmed = line.quantity
        transitions.post(working_set.levels, ledger.Kind.CONFIRM, line, reserved=-line.quantity, actor=actor)
    working_set.recorded.append(events.confirmed(hold))
    return Outcome(hold=hold, is_replay=False)
