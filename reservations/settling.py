"""Decides and writes what becomes of holds: confirm, release, extend, return. Runs inside its caller's transaction.

Reservations are locked by id, then their levels, then the clock is read. Requests are decided in the order of arrival
over the holds in memory, so that two requests for one hold in a batch see each other.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

from django.conf import settings

from inventory_project.foundation import database, moments, tracing
from inventory_project.foundation.errors import Conflict, Invalid, NotFound, Refusal
from inventory_project.foundation.faults import crash_point
from inventory_project.foundation.messaging import outbox
from inventory_project.foundation.messaging.outbox import Event
from reservations import events, holds
from reservations.events import LineQuantity
from reservations.holds import Hold, HoldLine, Status
from reservations.models import ReservationExtension
from reservations.requests import (
    CallOff,
    Cancel,
    Confirm,
    ExceedsReservation,
    Expire,
    Extend,
    ExtensionLimit,
    Item,
    OrderChanged,
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
    """The locked holds and levels that a batch decides over, and what it has changed so far.

    `booked`: kind and units that a line moved under a reference, of those that were looked up and of this batch.
    """

    holds: dict[UUID, Hold]
    levels: ledger.LockedLevels
    now: datetime
    changed: dict[UUID, Hold] = field(default_factory=dict)
    recorded: list[Event] = field(default_factory=list)
    booked: dict[tuple[UUID, str], tuple[str, int]] = field(default_factory=dict)


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
    outcomes = tracing.decide_each(partial(_of_known, desk, decide), requests)
    close_desk(desk)
    return outcomes


def _of_known(
    desk: Desk, decide: Callable[[Desk, Hold, AnyRequest], Outcome | Refusal], request: AnyRequest
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


def of_orders(
    order_ids: Collection[UUID], locked: Mapping[UUID, Hold], current_ids: Mapping[UUID, UUID]
) -> dict[UUID, Hold | Refusal]:
    """For each order its current reservation, out of the locked ones; NotFound where it has none. One statement.

    `current_ids` is what `holds.current_ids_of_orders` said before the locks. While we waited for one, a hold may have
    been cancelled and the order reserved anew. To lock the new one now would be against the order of locks, so what is
    asked of that order is decided once more: OrderChanged.
    """
    others = holds.current_ids_of_orders(order_ids).items() - current_ids.items()
    current: dict[UUID, Hold | Refusal] = {
        order_id: NotFound(f"There is no reservation for order {order_id}.") for order_id in order_ids
    }
    current.update({order_id: locked[reservation_id] for order_id, reservation_id in current_ids.items()})
    for order_id, _ in others:
        current[order_id] = OrderChanged("The order got another reservation just now; repeat the request.")
    return current


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
        return ReservationExpired(f"Reservation {hold.id} ran out at {moments.shown(hold.expires_at)}.")
    if request.items is None:
        parts: list[LineQuantity] = [(line, line.open) for line in hold.lines]
    else:
        filled = fill(hold, request.items, lambda line: line.open)
        if isinstance(filled, Refusal):
            return filled
        parts = filled
    hold.status = Status.CONFIRMED.value
    hold.settled_at = desk.now
    for line, units in parts:
        line.confirmed = units
        post(desk.levels, Kind.CONFIRM, line, reserved=-units, actor=request.actor)
    desk.recorded.append(events.confirmed(hold))
    rest = [(line, line.open) for line in hold.lines if line.open]
    if rest:
        release(desk, hold, rest, reason="partial", actor=request.actor)
    desk.changed[hold.id] = hold
    return Outcome(hold=hold, is_replay=False)


def _decide_cancel(desk: Desk, hold: Hold, request: Cancel) -> Outcome | Refusal:
    return end(desk, hold, Status.CANCELLED, reason=request.reason, actor=request.actor)


def _decide_expire(desk: Desk, hold: Hold, request: Expire) -> Outcome | Refusal:
    if request.only_if_due and hold.status == Status.ACTIVE and not hold.is_overdue(desk.now):
        return ReservationActive(f"Reservation {hold.id} still has time.")
    return end(desk, hold, Status.EXPIRED, reason="expired", actor=request.actor)


def end(desk: Desk, hold: Hold, status: Status, *, reason: events.ReleaseReason, actor: str) -> Outcome | Refusal:
    """Release all that an ACTIVE hold still has, due or not."""
    if hold.status == status:
        return Outcome(hold=hold, is_replay=True)
    if hold.status != Status.ACTIVE:
        return settled_otherwise(hold)
    release(desk, hold, [(line, line.open) for line in hold.lines if line.open], reason=reason, actor=actor)
    let_go(desk, hold, status)
    return Outcome(hold=hold, is_replay=False)


def let_go(desk: Desk, hold: Hold, status: Status) -> None:
    """A hold that has nothing left is settled, and its order may reserve anew."""
    hold.status, hold.is_live, hold.settled_at = status.value, False, desk.now
    desk.changed[hold.id] = hold


def settled_otherwise(hold: Hold) -> Conflict:
    """The refusal for a hold that has gone another way."""
    refusals: dict[str, type[Conflict]] = {
        Status.CONFIRMED: ReservationConfirmed,
        Status.EXPIRED: ReservationExpired,
        Status.CANCELLED: ReservationCancelled,
    }
    return refusals[hold.status](f"Reservation {hold.id} is {hold.status}.")


def release(
    desk: Desk,
    hold: Hold,
    parts: Sequence[LineQuantity],
    *,
    reason: events.ReleaseReason,
    actor: str,
    reference: str = "",
) -> None:
    """Free these units of the lines; at its end a hold frees without a reference, and so once."""
    for line, units in parts:
        line.released += units
        post(
            desk.levels,
            Kind.RELEASE,
            line,
            available=units,
            reserved=-units,
            actor=actor,
            reason=reason,
            reference=reference,
        )
    if reference:
        book(desk, Kind.RELEASE, parts, reference=reference)
    desk.recorded.append(events.released(hold, parts, reason=reason, reference=reference))


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


def fill(
    hold: Hold, items: Sequence[Item], room: Callable[[HoldLine], int]
) -> list[LineQuantity] | Invalid | ExceedsReservation:
    """Spread the items over the hold's lines, in id order, each up to its `room`; without those that get nothing."""
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
    return [(line, units[line.id]) for line in hold.lines if units[line.id]]


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

    outcomes = tracing.decide_each(partial(_of_known, desk, decide), requests)
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
        return ReservationExpired(f"Reservation {hold.id} ran out at {moments.shown(hold.expires_at)}.")
    levels = [desk.levels.at(line.product_id, line.warehouse_id) for line in hold.lines if line.open]
    blocked = sorted({str(level.product_id) for level in levels if level.is_blocked})
    if blocked:
        return SalesBlocked(f"Sales are blocked: {', '.join(blocked)}.", product_ids=blocked)
    until = request.expires_at
    if until is None:
        until = hold.expires_at + timedelta(minutes=request.minutes or 0)
    limit = hold.created_at + timedelta(minutes=settings.RESERVATION_EXTEND_MAX_MINUTES)
    if until > limit:
        return ExtensionLimit(f"This hold can last until {moments.shown(limit)} at most.", limit=moments.shown(limit))
    if until <= hold.expires_at:
        return Outcome(hold=hold, is_replay=True)
    hold.expires_at = until
    desk.changed[hold.id] = hold
    return Outcome(hold=hold, is_replay=False)


# --- returning -----------------------------------------------------------------------------------------------------


def take_back(requests: Sequence[Return]) -> list[Outcome | Refusal]:
    """Confirmed goods come back to the stock they left."""
    desk = open_desk({request.reservation_id for request in requests})
    look_up(desk, {request.reference for request in requests})
    outcomes = tracing.decide_each(partial(_of_known, desk, decide_return), requests)
    close_desk(desk)
    return outcomes


def decide_return(desk: Desk, hold: Hold, request: Return) -> Outcome | Refusal:
    """Bring the named units back, or all; the reference must have been looked up."""
    repeated = repeat(desk, hold, request)
    if repeated is not None:
        return repeated
    parts = _returnable(hold, request)
    if isinstance(parts, Refusal):
        return parts
    for line, units in parts:
        line.returned += units
        post(desk.levels, Kind.RETURN, line, available=units, actor=request.actor, reference=request.reference)
    book(desk, Kind.RETURN, parts, reference=request.reference)
    hold.is_live = any(line.returned < line.confirmed for line in hold.lines)
    desk.recorded.append(events.released(hold, parts, reason="returned", reference=request.reference))
    desk.changed[hold.id] = hold
    return Outcome(hold=hold, is_replay=False)


def _returnable(hold: Hold, request: Return) -> list[LineQuantity] | Refusal:
    """The units of each line that the request brings back; at least one."""
    if hold.status == Status.ACTIVE:
        return ReservationActive(f"Reservation {hold.id} is ACTIVE; only confirmed goods can come back.")
    if hold.status != Status.CONFIRMED:
        return settled_otherwise(hold)
    if request.items is not None:
        return fill(hold, request.items, lambda line: line.confirmed - line.returned)
    parts = [(line, line.confirmed - line.returned) for line in hold.lines if line.returned < line.confirmed]
    return parts or ExceedsReservation(f"Everything of reservation {hold.id} is back already.")


# --- references ----------------------------------------------------------------------------------------------------


def look_up(desk: Desk, references: set[str]) -> None:
    """Learn what these holds moved under these references before; one statement.

    After the locks, so that a twin's return under the same reference is seen as the repeat it is.
    """
    line_ids = [line.id for hold in desk.holds.values() for line in hold.lines]
    movements = StockMovement.objects.filter(
        kind__in=(Kind.RELEASE, Kind.RETURN), line_id__in=line_ids, reference__in=references
    )
    for line_id, reference, kind, units in movements.values_list("line_id", "reference", "kind", "available_delta"):
        if line_id is not None:
            desk.booked[line_id, reference] = (kind, units)


def book(desk: Desk, kind: ledger.Kind, parts: Sequence[LineQuantity], *, reference: str) -> None:
    """Remember what was moved under the reference, for the requests that come later in the batch."""
    desk.booked.update({(line.id, reference): (kind.value, units) for line, units in parts})


def repeat(desk: Desk, hold: Hold, request: Return | CallOff) -> Outcome | ReferenceConflict | None:
    """The answer where the reference has moved units of this hold before; None where it has not.

    One without items repeats whatever came back under it; what was released under it was never all of a hold.
    """
    earlier = [
        (line, *desk.booked[line.id, request.reference])
        for line in hold.lines
        if (line.id, request.reference) in desk.booked
    ]
    if not earlier:
        return None
    if request.items is None:
        is_same = all(kind == Kind.RETURN for _, kind, _ in earlier)
    else:
        is_same = is_same_content([(line, units) for line, _, units in earlier], request.items)
    if is_same:
        return Outcome(hold=hold, is_replay=True)
    return ReferenceConflict(f"Reference {request.reference!r} was used for other goods of this reservation.")
