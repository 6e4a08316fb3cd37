"""Returns confirmed goods to the stock levels they left, once for each reference."""

from collections.abc import Sequence

from inventory_project.foundation.errors import Refusal
from inventory_project.foundation.faults import crash_point
from reservations import events, transitions
from reservations.events import LineQuantity
from reservations.holds import Hold, Status
from reservations.requests import ExceedsReservation, Outcome, ReservationActive, Return
from reservations.working_set import WorkingSet
from stock import ledger

Kind = ledger.Kind


def return_goods(requests: Sequence[Return]) -> list[Outcome | Refusal]:
    """Put the confirmed goods of each request back into the stock they left."""
    working_set = WorkingSet.lock({request.reservation_id for request in requests})
    working_set.load_postings({request.reference for request in requests})
    outcomes = working_set.decide_each(decide_return, requests)
    working_set.write()
    crash_point("settle.before_commit")
    return outcomes


def decide_return(working_set: WorkingSet, hold: Hold, request: Return) -> Outcome | Refusal:
    """Return the named units or all of them. `load_postings` must have loaded the reference before."""
    repeated = transitions.repeated_outcome(working_set, hold, request)
    if repeated is not None:
        return repeated
    parts = _returnable(hold, request)
    if isinstance(parts, Refusal):
        return parts
    for line, units in parts:
        line.returned += units
        transitions.post(
            working_set.levels, Kind.RETURN, line, available=units, actor=request.actor, reference=request.reference
        )
    transitions.remember_posting(working_set, hold, Kind.RETURN, parts, reference=request.reference)
    hold.is_live = any(line.returned < line.confirmed for line in hold.lines)
    working_set.recorded.append(events.released(hold, parts, reason="returned", reference=request.reference))
    working_set.changed[hold.id] = hold
    return Outcome(hold=hold, is_replay=False)


def _returnable(hold: Hold, request: Return) -> list[LineQuantity] | Refusal:
    """The units of each line that the request returns, at least one; or the refusal."""
    if hold.status == Status.ACTIVE:
        return ReservationActive(f"Reservation {hold.id} is ACTIVE; only confirmed goods can be returned.")
    if hold.status != Status.CONFIRMED:
        return transitions.settled_otherwise(hold)
    if request.items is not None:
        return transitions.fill(hold, request.items, lambda line: line.confirmed - line.returned)
    parts = [(line, line.confirmed - line.returned) for line in hold.lines if line.returned < line.confirmed]
    return parts or ExceedsReservation(f"All items of reservation {hold.id} have already been returned.")
