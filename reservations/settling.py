"""Settles holds: confirms, cancels or expires them. Runs inside its caller's transaction."""

from collections.abc import Callable, Sequence
from functools import partial

from inventory_project.foundation.errors import Refusal
from inventory_project.foundation.faults import crash_point
from reservations import transitions
from reservations.holds import Hold, Status
from reservations.requests import Cancel, Confirm, Expire, Outcome, ReservationActive
from reservations.working_set import AnyRequest, WorkingSet


def confirm(requests: Sequence[Confirm]) -> list[Outcome | Refusal]:
    """Deduct the stock of each hold, wholly or in part. A hold past its time is refused."""
    return _settle(requests, partial(transitions.decide_confirm, is_late_allowed=False))


def cancel(requests: Sequence[Cancel]) -> list[Outcome | Refusal]:
    """Release each hold as cancelled."""
    return _settle(requests, _decide_cancel)


def expire(requests: Sequence[Expire]) -> list[Outcome | Refusal]:
    """Release each hold as expired, because its time is up or because staff asked for it."""
    return _settle(requests, _decide_expire)


def _settle(
    requests: Sequence[AnyRequest], decide: Callable[[WorkingSet, Hold, AnyRequest], Outcome | Refusal]
) -> list[Outcome | Refusal]:
    working_set = WorkingSet.lock({request.reservation_id for request in requests})
    outcomes = working_set.decide_each(decide, requests)
    working_set.write()
    crash_point("settle.before_commit")
    return outcomes


def _decide_cancel(working_set: WorkingSet, hold: Hold, request: Cancel) -> Outcome | Refusal:
    return transitions.end(working_set, hold, Status.CANCELLED, reason=request.reason, actor=request.actor)


def _decide_expire(working_set: WorkingSet, hold: Hold, request: Expire) -> Outcome | Refusal:
    if request.only_if_due and hold.status == Status.ACTIVE and not hold.is_overdue(working_set.now):
        return ReservationActive(f"Reservation {hold.id} has not expired yet.")
    return transitions.end(working_set, hold, Status.EXPIRED, reason="expired", actor=request.actor)
