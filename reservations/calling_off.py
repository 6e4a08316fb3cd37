"""An order is not wanted any more, or a part of it: its goods are free again, held or confirmed.

ACTIVE, though past its time: released. CONFIRMED: brought back. EXPIRED and CANCELLED have nothing to free. A payment
that failed ends what is ACTIVE alone: goods that were paid for are not taken from the order by an older failure.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID

from inventory_project.foundation import tracing
from inventory_project.foundation.errors import Refusal
from inventory_project.foundation.faults import crash_point
from reservations import holds, settling
from reservations.holds import Hold, Status
from reservations.requests import CallOff, Item, Outcome, Return


def call_off(requests: Sequence[CallOff]) -> list[Outcome | Refusal]:
    """Free what each order's current reservation has, or the named items of it; inside the caller's transaction.

    What comes back, and each part that is released, is booked under the request's reference: a repeat changes nothing.
    Refusals: NotFound; the settled ones; ExceedsReservation; ReferenceConflict, of a reference that freed other items;
    OrderChanged, upon which the request may be decided once more.
    """
    order_ids = {request.order_id for request in requests}
    current_ids = holds.current_ids_of_orders(order_ids)
    desk = settling.open_desk(set(current_ids.values()))
    current = settling.of_orders(order_ids, desk.holds, current_ids)
    settling.look_up(desk, {request.reference for request in requests})
    outcomes = tracing.decide_each(partial(_decide, desk, current), requests)
    settling.close_desk(desk)
    crash_point("call_off.before_commit")
    return outcomes


def _decide(desk: settling.Desk, current: Mapping[UUID, Hold | Refusal], request: CallOff) -> Outcome | Refusal:
    hold = current[request.order_id]
    if isinstance(hold, Refusal):
        return hold
    if hold.status == Status.CONFIRMED and request.reason == "cancelled":
        return _bring_back(desk, hold, request)
    if request.items is None:
        return settling.end(desk, hold, Status.CANCELLED, reason=request.reason, actor=request.actor)
    return _release_part(desk, hold, request, request.items)


def _bring_back(desk: settling.Desk, hold: Hold, request: CallOff) -> Outcome | Refusal:
    if request.items is None and not hold.is_live:
        return Outcome(hold=hold, is_replay=True)  # everything is back already
    wanted = Return(reservation_id=hold.id, reference=request.reference, items=request.items, actor=request.actor)
    return settling.decide_return(desk, hold, wanted)


def _release_part(desk: settling.Desk, hold: Hold, request: CallOff, items: Sequence[Item]) -> Outcome | Refusal:
    repeated = settling.repeat(desk, hold, request)
    if repeated is not None:
        return repeated
    if hold.status != Status.ACTIVE:
        return settling.settled_otherwise(hold)
    parts = settling.fill(hold, items, lambda line: line.open)
    if isinstance(parts, Refusal):
        return parts
    settling.release(desk, hold, parts, reason=request.reason, actor=request.actor, reference=request.reference)
    if not any(line.open for line in hold.lines):
        settling.let_go(desk, hold, Status.CANCELLED)
    desk.changed[hold.id] = hold
    return Outcome(hold=hold, is_replay=False)
