"""The transitions of one reservation: confirm, release, close.

Every function changes a locked hold and its levels in memory; `WorkingSet.write` writes them. So two requests for the
same hold in one batch see each other's changes.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from uuid import UUID

from inventory_project.foundation import moments
from inventory_project.foundation.errors import Conflict, Invalid, Refusal
from reservations import events
from reservations.events import LineQuantity
from reservations.holds import Hold, HoldLine, Status
from reservations.requests import (
    CallOff,
    Confirm,
    ExceedsReservation,
    Item,
    Outcome,
    ReservationCancelled,
    ReservationConfirmed,
    ReservationExpired,
    Return,
    is_same_content,
)
from reservations.working_set import WorkingSet
from stock import ledger
from stock.documents import ReferenceConflict

Kind = ledger.Kind


def decide_confirm(
    working_set: WorkingSet, hold: Hold, request: Confirm, *, is_late_allowed: bool
) -> Outcome | Refusal:
    """Confirm an ACTIVE hold, wholly or the named part. `is_late_allowed` allows it past its time as well."""
    if hold.status == Status.CONFIRMED:
        confirmed = [(line, line.confirmed) for line in hold.lines]
        if request.items is None or is_same_content(confirmed, request.items):
            return Outcome(hold=hold, is_replay=True)
        return ReservationConfirmed(f"Reservation {hold.id} was confirmed before, with other items.")
    if hold.status != Status.ACTIVE:
        return settled_otherwise(hold)
    if hold.is_overdue(working_set.now) and not is_late_allowed:
        return ReservationExpired(f"Reservation {hold.id} ran out at {moments.utc_text(hold.expires_at)}.")
    if request.items is None:
        parts: list[LineQuantity] = [(line, line.open) for line in hold.lines]
    else:
        filled = fill(hold, request.items, lambda line: line.open)
        if isinstance(filled, Refusal):
            return filled
        parts = filled
    hold.status = Status.CONFIRMED.value
    hold.settled_at = working_set.now
    for line, units in parts:
        line.confirmed = units
        post(working_set.levels, Kind.CONFIRM, line, reserved=-units, actor=request.actor)
    working_set.recorded.append(events.confirmed(hold))
    rest = [(line, line.open) for line in hold.lines if line.open]
    if rest:
        release(working_set, hold, rest, reason="partial", actor=request.actor)
    working_set.changed[hold.id] = hold
    return Outcome(hold=hold, is_replay=False)


def end(
    working_set: WorkingSet, hold: Hold, status: Status, *, reason: events.ReleaseReason, actor: str
) -> Outcome | Refusal:
    """Release everything that an ACTIVE hold still has, due or not, and settle it with this status."""
    if hold.status == status:
        return Outcome(hold=hold, is_replay=True)
    if hold.status != Status.ACTIVE:
        return settled_otherwise(hold)
    release(working_set, hold, [(line, line.open) for line in hold.lines if line.open], reason=reason, actor=actor)
    close(working_set, hold, status)
    return Outcome(hold=hold, is_replay=False)


def close(working_set: WorkingSet, hold: Hold, status: Status) -> None:
    """Settle a hold that has no open units left. Its order may then reserve again."""
    hold.status, hold.is_live, hold.settled_at = status.value, False, working_set.now
    working_set.changed[hold.id] = hold


def settled_otherwise(hold: Hold) -> Conflict:
    """The refusal for a hold that is settled in another way."""
    refusals: dict[str, type[Conflict]] = {
        Status.CONFIRMED: ReservationConfirmed,
        Status.EXPIRED: ReservationExpired,
        Status.CANCELLED: ReservationCancelled,
    }
    return refusals[hold.status](f"Reservation {hold.id} is {hold.status}.")


def release(
    working_set: WorkingSet,
    hold: Hold,
    parts: Sequence[LineQuantity],
    *,
    reason: events.ReleaseReason,
    actor: str,
    reference: str = "",
) -> None:
    """Release these units of the lines. The release at a hold's end has no reference, so it can happen only once."""
    for line, units in parts:
        line.released += units
        if not reference:
            line.end_reason = reason
        post(
            working_set.levels,
            Kind.RELEASE,
            line,
            available=units,
            reserved=-units,
            actor=actor,
            reason=reason,
            reference=reference,
        )
    if reference:
        remember_posting(working_set, hold, Kind.RELEASE, parts, reference=reference)
    working_set.recorded.append(events.released(hold, parts, reason=reason, reference=reference))


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
    """Post a change on account of a line. A change of zero leaves no movement."""
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
    """Distribute the items over the hold's lines in id order, each line up to its `room`; only lines that get units."""
    if not items or any(item.quantity < 1 for item in items):
        return Invalid("`items` must contain at least one item, each with a quantity of 1 or more.")
    left = {line.id: room(line) for line in hold.lines}
    units: dict[UUID, int] = defaultdict(int)
    lines_of: dict[UUID, list[HoldLine]] = defaultdict(list)
    for line in hold.lines:
        lines_of[line.product_id].append(line)
    # Items that name a warehouse come first, so that the others do not take their lines.
    for item in sorted(items, key=lambda item: item.warehouse_id is None):
        wanted = item.quantity
        for line in lines_of[item.product_id]:
            if item.warehouse_id in (None, line.warehouse_id):
                taken = min(wanted, left[line.id])
                left[line.id] -= taken
                units[line.id] += taken
                wanted -= taken
        if wanted:
            return ExceedsReservation(
                f"You named {item.quantity} units of product {item.product_id}; "
                f"reservation {hold.id} has {item.quantity - wanted} of them.",
                product_id=str(item.product_id),
            )
    return [(line, units[line.id]) for line in hold.lines if units[line.id]]


# --- references ----------------------------------------------------------------------------------------------------


def remember_posting(
    working_set: WorkingSet, hold: Hold, kind: ledger.Kind, parts: Sequence[LineQuantity], *, reference: str
) -> None:
    """Remember what was moved under the reference, for later requests in the same batch."""
    working_set.postings.update({(line.id, reference): units for line, units in parts})
    if kind == Kind.RETURN:
        working_set.last_returns[hold.id] = reference


def repeated_outcome(
    working_set: WorkingSet, hold: Hold, request: Return | CallOff
) -> Outcome | ReferenceConflict | None:
    """The answer if the reference has moved units of this hold before, else None.

    A request without items names everything that is not back yet, so it repeats only the return after which everything
    was back. It never repeats a release, because releases under a reference are always partial.
    """
    earlier = [
        (line, working_set.postings[line.id, request.reference])
        for line in hold.lines
        if (line.id, request.reference) in working_set.postings
    ]
    if not earlier:
        return None
    if request.items is None:
        is_same = not hold.is_live and working_set.last_returns.get(hold.id) == request.reference
    else:
        is_same = is_same_content(earlier, request.items)
    if is_same:
        return Outcome(hold=hold, is_replay=True)
    return ReferenceConflict(f"Reference {request.reference!r} was used for other goods of this reservation.")
