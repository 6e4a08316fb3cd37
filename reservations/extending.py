"""Extends holds: never to an earlier time, never past the limit, and once for each reference."""

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings

from inventory_project.foundation import moments
from inventory_project.foundation.errors import Refusal
from inventory_project.foundation.faults import crash_point
from reservations import transitions
from reservations.holds import Hold, Status
from reservations.models import ReservationExtension
from reservations.requests import Extend, ExtensionLimit, Outcome, ReservationExpired, SalesBlocked
from reservations.working_set import WorkingSet
from stock.documents import ReferenceConflict


def extend(requests: Sequence[Extend]) -> list[Outcome | Refusal]:
    """Extend each hold. None ends earlier than before, or past RESERVATION_EXTEND_MAX_MINUTES after its creation."""
    working_set = WorkingSet.lock({request.reservation_id for request in requests})
    known = {
        (extension.reservation_id, extension.reference): extension
        for extension in ReservationExtension.objects.filter(
            reservation_id__in=working_set.holds, reference__in={request.reference for request in requests}
        )
    }
    new: list[ReservationExtension] = []

    def decide(working_set: WorkingSet, hold: Hold, request: Extend) -> Outcome | Refusal:
        earlier = known.get((hold.id, request.reference))
        if earlier is not None:
            return _replayed_extension(hold, request, earlier)
        outcome = _decide_extend(working_set, hold, request)
        if isinstance(outcome, Outcome) and request.minutes is not None:
            new.append(_extension(working_set, hold, request, request.minutes))
            known[hold.id, request.reference] = new[-1]
        return outcome

    outcomes = working_set.decide_each(decide, requests)
    working_set.write()
    ReservationExtension.objects.bulk_create(new)
    crash_point("settle.before_commit")
    return outcomes


def _replayed_extension(hold: Hold, request: Extend, earlier: ReservationExtension) -> Outcome | Refusal:
    if request.minutes == earlier.minutes:
        return Outcome(hold=hold, is_replay=True)
    return ReferenceConflict(f"Reference {request.reference!r} extended this hold by {earlier.minutes} minutes.")


def _extension(working_set: WorkingSet, hold: Hold, request: Extend, minutes: int) -> ReservationExtension:
    return ReservationExtension(
        reservation_id=hold.id,
        reference=request.reference,
        minutes=minutes,
        expires_at=hold.expires_at,
        actor=request.actor,
        created_at=working_set.now,
    )


def _decide_extend(working_set: WorkingSet, hold: Hold, request: Extend) -> Outcome | Refusal:
    if request.expires_at is not None and request.expires_at <= hold.expires_at:
        return Outcome(hold=hold, is_replay=True)  # whatever has happened since: it lasted, or lasts, until then
    if hold.status != Status.ACTIVE:
        return transitions.settled_otherwise(hold)
    if hold.is_overdue(working_set.now):
        return ReservationExpired(f"Reservation {hold.id} ran out at {moments.utc_text(hold.expires_at)}.")
    levels = [working_set.levels.at(line.product_id, line.warehouse_id) for line in hold.lines if line.open]
    blocked = sorted({str(level.product_id) for level in levels if level.is_blocked})
    if blocked:
        return SalesBlocked(f"Sales are blocked: {', '.join(blocked)}.", product_ids=blocked)
    until = request.expires_at
    if until is None:
        until = hold.expires_at + timedelta(minutes=request.minutes or 0)
    limit = hold.created_at + timedelta(minutes=settings.RESERVATION_EXTEND_MAX_MINUTES)
    if until > limit:
        return ExtensionLimit(
            f"This hold can last until {moments.utc_text(limit)} at most.", limit=moments.utc_text(limit)
        )
    hold.expires_at = until
    working_set.changed[hold.id] = hold
    return Outcome(hold=hold, is_replay=False)
