"""An order is not wanted any more, or a part of it: its goods are free again, held or confirmed.

ACTIVE, though past its time: released. CONFIRMED: brought back. EXPIRED and CANCELLED have nothing to free. A payment
that failed ends what is ACTIVE alone: goods that were paid for are not taken from the order by an older failure.
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
    """Free what each order's current reservation has, or the named items of it; inside the caller's transaction.

    What comes back, and each part that is released, is booked under the request's reference: a repeat changes nothing.
    Refusals: NotFound; the settled ones; ExceedsReservation; ReferenceConflict, of a reference that freed other items;
    OrderChanged, upon which the request may be decided once more.
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
        return Outcome(hold=hold, is_replay=True)  # everything is back already
    wanted = Return(reservation_id=hold.id, reference=request.reference, items=request.items, actor=request.actor)
    return returning.decide_return(working_set, hold, wanted)


def _release_part(working_set: WorkingSet, hold: Hold, request: CallOff, items: Sequence[Item]) -> Outcome | Refusal:
    repeated = transitions.repeated_outcome(working_set, hold, request)
    if repeated is not None:
        return repeated
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
