"""Calls off an order or a part of it: its goods become available again, whether they were held or confirmed.

An ACTIVE reservation is released, even past its time. The goods of a CONFIRMED one are returned. EXPIRED and CANCELLED
ones have nothing to free; but where a late payment would serve the order again, the part is kept out of that, so that
the same units are sold whichever of the two comes first. A failed payment ends only an ACTIVE reservation, because an
older failure must not take paid goods from the order.
"""

from collections.abc import Sequence
from functools import partial

from inventory_project.foundation import tracing
from inventory_project.foundation.errors import Refusal
from inventory_project.foundation.faults import crash_point
from reservations import returning, transitions
from reservations.holds import Hold, Status
from reservations.requests import CallOff, Item, Outcome, Return
from reservations.working_set import WorkingSet


def call_off(requests: Sequence[CallOff]) -> list[Outcome | Refusal]:
    """Free everything in each order's current reservation, or the named items; inside the caller's transaction.

    Returned goods and released parts are booked under the request's reference, so a repeat changes nothing. Refusals:
    NotFound; the settled ones; ExceedsReservation; ReferenceConflict if the reference freed other items before;
    OrderChanged, after which the request may be decided again.
    """
    working_set = WorkingSet.lock_orders({request.order_id for request in requests})
    working_set.load_postings({request.reference for request in requests})
    outcomes = tracing.decide_each(partial(_decide, working_set), requests)
    working_set.write()
    crash_point("call_off.before_commit")
    return outcomes


def _decide(working_set: WorkingSet, request: CallOff) -> Outcome | Refusal:
    hold = working_set.current[request.order_id]
    if isinstance(hold, Refusal):
        return hold
    if hold.status == Status.CONFIRMED and request.reason == "cancelled":
        return _bring_back(working_set, hold, request)
    if request.items is None:
        return transitions.end(working_set, hold, Status.CANCELLED, reason=request.reason, actor=request.actor)
    return _release_part(working_set, hold, request, request.items)


def _bring_back(working_set: WorkingSet, hold: Hold, request: CallOff) -> Outcome | Refusal:
    if request.items is None and not hold.is_live:
        return Outcome(hold=hold, is_replay=True)  # everything has been returned already
    wanted = Return(reservation_id=hold.id, reference=request.reference, items=request.items, actor=request.actor)
    return returning.decide_return(working_set, hold, wanted)


def _release_part(working_set: WorkingSet, hold: Hold, request: CallOff, items: Sequence[Item]) -> Outcome | Refusal:
    repeated = transitions.repeated_outcome(working_set, hold, request)
    if repeated is not None:
        return repeated
    if request.is_revivable and request.reason == "cancelled" and hold.is_revivable:
        return _call_off_later(working_set, hold, items)
    if hold.status != Status.ACTIVE:
        return transitions.settled_otherwise(hold)
    parts = transitions.fill(hold, items, lambda line: line.open)
    if isinstance(parts, Refusal):
        return parts
    transitions.release(
        working_set, hold, parts, reason=request.reason, actor=request.actor, reference=request.reference
    )
    if not any(line.open for line in hold.lines):
        transitions.close(working_set, hold, Status.CANCELLED)
    working_set.changed[hold.id] = hold
    return Outcome(hold=hold, is_replay=False)


def _call_off_later(working_set: WorkingSet, hold: Hold, items: Sequence[Item]) -> Outcome | Refusal:
    """Keep these items of a hold that has ended out of a late payment. Nothing is moved."""
    parts = transitions.fill(hold, items, lambda line: line.wanted)
    if isinstance(parts, Refusal):
        return parts
    for line, units in parts:
        line.called_off += units
    working_set.changed[hold.id] = hold
    return Outcome(hold=hold, is_replay=False)
