"""Decides and writes what becomes of holds: confirm, release, extend, return. Runs inside its caller's transaction.

Reservations are locked by id, then their levels, then the clock is read. Requests are decided in the order of arrival
over the holds in memory, so that two requests for one hold in a batch see each other.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from django.conf import settings

from inventory_project import database
from inventory_project.errors import Conflict, Invalid, NotFound, Refusal
from inventory_project.faults import crash_point
from inventory_project.messaging import outbox
from inventory_project.messaging.outbox import Event
from reservations import events, holds
from reservations.events import LineQuantity
from reservations.holds import Hold, HoldLine, Status
from reservations.models import ReservationExtension
from reservations.requests import (
    Cancel,
    Confirm,
    ExceedsReservation,
    Expire,
    Extend,
    ExtensionLimit,
    Item,
    Outcome,
    ReservationActive,
    ReservationCancelled,
    ReservationConfirmed,
    ReservationExpired,
    Return,
    SalesBlocked,
    is_same_content,
)
from stock import ledger
from stock.documents import ReferenceConflict
from stock.models import StockMovement

Kind = ledger.Kind
AnyRequest = TypeVar("AnyRequest", Confirm, Cancel, Expire, Extend, Return)


@dataclass(slots=True)
class Desk:
    """The locked holds and levels that a batch decides over, and what it has changed so far."""

    holds: dict[UUID, Hold]
    levels: ledger.LockedLevels
    now: datetime
    changed: dict[UUID, Hold] = field(default_factory=dict)
    recorded: list[Event] = field(default_factory=list)


def confirm(requests: Sequence[Confirm]) -> list[Outcome | Refusal]:
    """Each hold becomes a deduction, whole or in part; past its time it is refused."""
    return _settle(requests, lambda desk, hold, request: decide_confirm(desk, hold, request, is_late_allowed=False))


def cancel(requests: Sequence[Cancel]) -> list[Outcome | Refusal]:
    """Each hold is released."""
    return _settle(requests, _decide_cancel)


def expire(requests: Sequence[Expire]) -> list[Outcome | Refusal]:
    """Each hold is released because its time is up, or because somebody says so."""
    return _settle(requests, _decide_expire)


# --- the frame of a batch ------------------------------------------------------------------------------------------


def _settle(
    requests: Sequence[AnyRequest], decide: Callable[[Desk, Hold, AnyRequest], Outcome | Refusal]
) -> list[Outcome | Refusal]:
    desk = open_desk({request.reservation_id for request in requests})
    outcomes = [_of_known(desk, request, decide) for request in requests]
    close_desk(desk)
    return outcomes


def _of_known(
    desk: Desk, request: AnyRequest, decide: Callable[[Desk, Hold, AnyRequest], Outcome | Refusal]
) -> Outcome | Refusal:
    hold = desk.holds.get(request.reservation_id)
    if hold is None:
        return NotFound(f"There is no reservation {request.reservation_id}.")
    return decide(desk, hold, request)


def open_desk(reservation_ids: set[UUID]) -> Desk:
    """Lock these reservations, then the levels of their lines, then read the clock."""
    with database.pipelined():
        locked = holds.locking(reservation_ids)
        levels = holds.locking_levels(reservation_ids)
        now = database.read_clock()
    crash_point("settle.after_lock")
    return Desk(holds=locked(), levels=levels(), now=now())


def close_desk(desk: Desk) -> None:
    """Write everything the batch decided."""
    changed = list(desk.changed.values())
    desk.levels.hold_ends = holds.time_left(changed, desk.now)
    with database.pipelined():
        holds.update(changed)
        crossings = ledger.write(desk.levels, at=desk.now)
        outbox.record([*desk.recorded, *crossings], at=desk.now)
    crash_point("settle.before_commit")


# --- decisions -----------------------------------------------------------------------------------------------------


def decide_confirm(desk: Desk, hold: Hold, request: Confirm, *, is_late_allowed: bool) -> Outcome | Refusal:
    """Confirm an ACTIVE hold, whole or the named part; `is_late_allowed` also past its time."""
    if hold.status == Status.CONFIRMED:
        confirmed = [(line, line.confirmed) for line in hold.lines]
        if request.items is None or is_same_content(confirmed, request.items):
            return Outcome(hold=hold, is_replay=True)
        return ReservationConfirmed(f"Reservation {hold.id} was confirmed before, with other items.")
    if hold.status != Status.ACTIVE:
        return settled_otherwise(hold)
    if hold.is_overdue(desk.now) and not is_late_allowed:
        return ReservationExpired(f"Reservation {hold.id} ran out at {hold.expires_at.isoformat()}.")
    if request.items is None:
        parts: list[LineQuantity] = [(line, line.quantity) for line in hold.lines]
    else:
        filled = _fill(hold, request.items, lambda line: line.quantity)
        if isinstance(filled, Refusal):
            return filled
        parts = filled
    hold.status = Status.CONFIRMED.value
    hold.settled_at = desk.now
    for line, units in parts:
        line.confirmed = units
        post(desk.levels, Kind.CONFIRM, line, reserved=-units, actor=request.actor)
    desk.recorded.append(events.confirmed(hold))
    rest = [(line, line.quantity - line.confirmed) for line in hold.lines if line.confirmed < line.quantity]
    if rest:
        _release(desk, hold, rest, reason="partial", actor=request.actor)
    desk.changed[hold.id] = hold
    return Outcome(hold=hold, is_replay=False)


def _decide_cancel(desk: Desk, hold: Hold, request: Cancel) -> Outcome | Refusal:
    return _end(desk, hold, Status.CANCELLED, reason=request.reason, actor=request.actor)


def _decide_expire(desk: Desk, hold: Hold, request: Expire) -> Outcome | Refusal:
    if request.only_if_due and hold.status == Status.ACTIVE and not hold.is_overdue(desk.now):
        return ReservationActive(f"Reservation {hold.id} still has time.")
    return _end(desk, hold, Status.EXPIRED, reason="expired", actor=request.actor)


def _end(desk: Desk, hold: Hold, status: Status, *, reason: events.ReleaseReason, actor: str) -> Outcome | Refusal:
    if hold.status == status:
        return Outcome(hold=hold, is_replay=True)
    if hold.status != Status.ACTIVE:
        return settled_otherwise(hold)
    hold.status, hold.is_live, hold.settled_at = status.value, False, desk.now
    _release(desk, hold, [(line, line.quantity) for line in hold.lines], reason=reason, actor=actor)
    desk.changed[hold.id] = hold
    return Outcome(hold=hold, is_replay=False)


def settled_otherwise(hold: Hold) -> Conflict:
    """The refusal for a hold that has gone another way."""
    refusals: dict[str, type[Conflict]] = {
        Status.CONFIRMED: ReservationConfirmed,
        Status.EXPIRED: ReservationExpired,
        Status.CANCELLED: ReservationCancelled,
    }
    return refusals[hold.status](f"Reservation {hold.id} is {hold.status}.")


def _release(
    desk: Desk, hold: Hold, parts: Sequence[LineQuantity], *, reason: events.ReleaseReason, actor: str
) -> None:
    for line, units in parts:
        post(desk.levels, Kind.RELEASE, line, available=units, reserved=-units, actor=actor, reason=reason)
    desk.recorded.append(events.released(hold, parts, reason=reason))


def post(
    levels: ledger.LockedLevels,
    kind: ledger.Kind,
    line: HoldLine,
    *,
    available: int = 0,
    reserved: int = 0,
    actor: str,
    reason: str = "",
    reference: str = "",
) -> None:
    """Post a change on account of a line; one that changes nothing leaves no movement."""
    if available == 0 and reserved == 0:
        return
    ledger.post(
        levels,
        ledger.Posting(
            kind=kind,
            product_id=line.product_id,
            warehouse_id=line.warehouse_id,
            available=available,
            reserved=reserved,
            line_id=line.id,
            reference=reference,
            actor=actor,
            reason=reason,
        ),
    )


def _fill(
    hold: Hold, items: Sequence[Item], room: Callable[[HoldLine], int]
) -> list[LineQuantity] | Invalid | ExceedsReservation:
    """Spread the items over the hold's lines, in id order, each up to its `room`."""
    if not items or any(item.quantity < 1 for item in items):
        return Invalid("A part names at least one item, each with a quantity of 1 or more.")
    left = {line.id: room(line) for line in hold.lines}
    units: dict[UUID, int] = defaultdict(int)
    # Items that name a warehouse first, so that one that does not leaves them their lines.
    for item in sorted(items, key=lambda item: item.warehouse_id is None):
        wanted = item.quantity
        for line in hold.lines:
            if line.product_id == item.product_id and item.warehouse_id in (None, line.warehouse_id):
                taken = min(wanted, left[line.id])
                left[line.id] -= taken
                units[line.id] += taken
                wanted -= taken
        if wanted:
            return ExceedsReservation(
                f"Reservation {hold.id} has {wanted} fewer of product {item.product_id} than was named.",
                product_id=str(item.product_id),
            )
    return [(line, units[line.id]) for line in hold.lines]


# --- extending -----------------------------------------------------------------------------------------------------


def extend(requests: Sequence[Extend]) -> list[Outcome | Refusal]:
    """Each hold lasts longer; never shorter, never past RESERVATION_EXTEND_MAX_MINUTES after it was made."""
    desk = open_desk({request.reservation_id for request in requests})
    known = {
        (extension.reservation_id, extension.reference): extension
        for extension in ReservationExtension.objects.filter(
            reservation_id__in=desk.holds, reference__in={request.reference for request in requests}
        )
    }
    made: list[ReservationExtension] = []

    def decide(desk: Desk, hold: Hold, request: Extend) -> Outcome | Refusal:
        earlier = known.get((hold.id, request.reference))
        if earlier is not None:
            return _replayed_extension(hold, request, earlier)
        outcome = _decide_extend(desk, hold, request)
        if isinstance(outcome, Outcome) and request.minutes is not None:
            made.append(_extension(desk, hold, request, request.minutes))
            known[hold.id, request.reference] = made[-1]
        return outcome

    outcomes = [_of_known(desk, request, decide) for request in requests]
    close_desk(desk)
    ReservationExtension.objects.bulk_create(made)
    return outcomes


def _replayed_extension(hold: Hold, request: Extend, earlier: ReservationExtension) -> Outcome | Refusal:
    if request.minutes == earlier.minutes:
        return Outcome(hold=hold, is_replay=True)
    return ReferenceConflict(f"Reference {request.reference!r} extended this hold by {earlier.minutes} minutes.")


def _extension(desk: Desk, hold: Hold, request: Extend, minutes: int) -> ReservationExtension:
    return ReservationExtension(
        reservation_id=hold.id,
        reference=request.reference,
        minutes=minutes,
        expires_at=hold.expires_at,
        actor=request.actor,
        created_at=desk.now,
    )


def _decide_extend(desk: Desk, hold: Hold, request: Extend) -> Outcome | Refusal:
    if hold.status != Status.ACTIVE:
        return settled_otherwise(hold)
    if hold.is_overdue(desk.now):
        return ReservationExpired(f"Reservation {hold.id} ran out at {hold.expires_at.isoformat()}.")
    levels = [desk.levels.at(line.product_id, line.warehouse_id) for line in hold.lines]
    blocked = sorted({str(level.product_id) for level in levels if level.is_blocked})
    if blocked:
        return SalesBlocked(f"Sales are blocked: {', '.join(blocked)}.", product_ids=blocked)
    until = request.expires_at
    if until is None:
        until = hold.expires_at + timedelta(minutes=request.minutes or 0)
    limit = hold.created_at + timedelta(minutes=settings.RESERVATION_EXTEND_MAX_MINUTES)
    if until > limit:
        return ExtensionLimit(f"This hold can last until {limit.isoformat()} at most.", limit=limit.isoformat())
    if until <= hold.expires_at:
        return Outcome(hold=hold, is_replay=True)
    hold.expires_at = until
    desk.changed[hold.id] = hold
    return Outcome(hold=hold, is_replay=False)


# --- returning -----------------------------------------------------------------------------------------------------


def take_back(requests: Sequence[Return]) -> list[Outcome | Refusal]:
    """Confirmed goods come back to the stock they left."""
    desk = open_desk({request.reservation_id for request in requests})
    # After the locks, so that a twin's return under the same reference is seen as the replay it is.
    booked = _returns_booked(desk, {request.reference for request in requests})

    def decide(desk: Desk, hold: Hold, request: Return) -> Outcome | Refusal:
        earlier = [(line, booked.get((line.id, request.reference), 0)) for line in hold.lines]
        if any(units for _, units in earlier):
            return _replayed_return(hold, request, earlier)
        parts = _returnable(hold, request)
        if isinstance(parts, Refusal):
            return parts
        booked.update({(line.id, request.reference): units for line, units in parts})
        return _return(desk, hold, request, parts)

    outcomes = [_of_known(desk, request, decide) for request in requests]
    close_desk(desk)
    return outcomes


def _returns_booked(desk: Desk, references: set[str]) -> dict[tuple[UUID | None, str], int]:
    """Units of each line that came back under each of these references before."""
    line_ids = [line.id for hold in desk.holds.values() for line in hold.lines]
    movements = StockMovement.objects.filter(kind=Kind.RETURN, line_id__in=line_ids, reference__in=references)
    return {
        (line_id, reference): units
        for line_id, reference, units in movements.values_list("line_id", "reference", "available_delta")
    }


def _replayed_return(hold: Hold, request: Return, earlier: Sequence[LineQuantity]) -> Outcome | Refusal:
    if request.items is None or is_same_content(earlier, request.items):
        return Outcome(hold=hold, is_replay=True)
    return ReferenceConflict(f"Reference {request.reference!r} brought back other goods of this reservation.")


def _returnable(hold: Hold, request: Return) -> list[LineQuantity] | Refusal:
    """The units of each line that the request brings back; at least one."""
    if hold.status == Status.ACTIVE:
        return ReservationActive(f"Reservation {hold.id} is ACTIVE; only confirmed goods can come back.")
    if hold.status != Status.CONFIRMED:
        return settled_otherwise(hold)
    if request.items is None:
        parts = [(line, line.confirmed - line.returned) for line in hold.lines]
    else:
        filled = _fill(hold, request.items, lambda line: line.confirmed - line.returned)
        if isinstance(filled, Refusal):
            return filled
        parts = filled
    parts = [(line, units) for line, units in parts if units]
    return parts or ExceedsReservation(f"Everything of reservation {hold.id} is back already.")


def _return(desk: Desk, hold: Hold, request: Return, parts: Sequence[LineQuantity]) -> Outcome:
    for line, units in parts:
        line.returned += units
        post(desk.levels, Kind.RETURN, line, available=units, actor=request.actor, reference=request.reference)
    hold.is_live = any(line.returned < line.confirmed for line in hold.lines)
    desk.recorded.append(events.released(hold, parts, reason="returned", reference=request.reference))
    desk.changed[hold.id] = hold
    return Outcome(hold=hold, is_replay=False)
