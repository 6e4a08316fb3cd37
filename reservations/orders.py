"""Applies order and payment messages to reservations, by the table in docs/reference/events.md, which the tests check.

Each verb takes many messages of one type and answers each of them, in the same order. The effect of a message, its
events and its inbox row are written in one transaction, so a second delivery has no second effect. The answer is
Handled, even if the outcome is a published rejection; or it is a refusal, and then nothing is written: NotFound for a
message that came too early, Invalid for an invalid one, Unavailable for one to try again.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from inventory_project.foundation import database
from inventory_project.foundation.batches import Work
from inventory_project.foundation.errors import Conflict, Invalid, NotFound, Refusal
from inventory_project.foundation.faults import crash_point
from inventory_project.foundation.messaging import inbox, outbox
from inventory_project.foundation.messaging.inbox import Handled, Known, Outcome, Received
from reservations import calling_off, choosing, events, lifecycle, obstacles, paying, requests, reserving
from reservations.requests import (
    CallOff,
    OrderConflict,
    Pay,
    ReservationCancelled,
    ReservationConfirmed,
    ReservationExpired,
    Reserve,
)
from stock.ledger import InsufficientStock

logger = logging.getLogger(__name__)

Answer = Handled | Refusal
Verdict = requests.Outcome | Refusal  # a verb's answer to a message's request

UNKNOWN = {"product_ids": "unknown_product", "warehouse_ids": "unknown_warehouse"}
DUPLICATE = Handled(outcome="duplicate")
CALLED_OFF = "order_cancelled"


@dataclass(frozen=True, slots=True)
class Decided:
    """The result for a message, and the verb's answer behind it, which the metrics count."""

    handled: Handled
    verdict: Verdict | None
    rejection: Refusal | None = None


Decision = Decided | Refusal
Decide = Callable[[Known, Sequence[Received[Any]]], list[Decision]]


def created_many(received: Sequence[Received[Reserve]]) -> list[Answer]:
    """Hold stock for each order, or publish a rejection. Invalid: quantities or lines out of bounds."""
    invalid = {i: refusal for i, each in enumerate(received) if (refusal := reserving.check(each.request))}
    handle = partial(
        _handle, "reserve", partial(_created, reserving.reserve), first=partial(_created, choosing.reserve)
    )
    return lifecycle.decide_rest(handle, received, invalid)


def paid_many(received: Sequence[Received[Pay]]) -> list[Answer]:
    """Confirm each order's reservation, in time or late, or publish a rejection. NotFound: no order.created yet."""
    return _handle("pay", _paid, received)


def payment_failed_many(received: Sequence[Received[CallOff]]) -> list[Answer]:
    """Release the hold of each order; a confirmed reservation stays. NotFound: no order.created yet."""
    return _handle("call_off", _payment_failed, received)


def cancelled_many(received: Sequence[Received[CallOff]]) -> list[Answer]:
    """Release what each order holds and return what it bought, all of it or the named items.

    From then on the order is called off: later messages neither reserve nor pay for it. NotFound: no order.created yet;
    on the last try even an unknown order is called off.
    """
    return _handle("call_off", _cancelled, received)


# --- the frame -----------------------------------------------------------------------------------------------------


def _handle(
    verb: str, decide: Decide, received: Sequence[Received[Any]], *, first: Decide | None = None
) -> list[Answer]:
    """Decide and record the messages. `first` is tried before `decide`; see `run_releasing_overdue`."""
    decisions = lifecycle.run_releasing_overdue(
        partial(_work, decide, False),
        received,
        look=obstacles.of_messages,
        first=partial(_work, first, False) if first else None,
        again=partial(_work, decide, True),
    )
    crash_point("orders.after_commit")
    verdicts = [decision.verdict if isinstance(decision, Decided) else decision for decision in decisions]
    lifecycle.counted(verb, [verdict for verdict in verdicts if verdict is not None])
    return [decision.handled if isinstance(decision, Decided) else decision for decision in decisions]


def _work(decide: Decide, is_last: bool, received: Sequence[Received[Any]]) -> list[Decision]:
    """Decide the messages and record them. A lack of stock is final only with `is_last`."""
    known = inbox.lock_and_read(received)
    decisions: list[Decision] = [_of_earlier(known, each) for each in received]
    fresh = [i for i, each in enumerate(received) if not known.has(each.message)]
    for i, decision in zip(fresh, decide(known, [received[i] for i in fresh]) if fresh else [], strict=True):
        decisions[i] = decision if is_last else _left_open(decision)
    decided = [(received[i], decisions[i]) for i in fresh]
    final = [(each, decision) for each, decision in decided if isinstance(decision, Decided)]
    rejected = [
        events.rejected(each.order_id, each.message.type, decision.rejection, extensions=each.message.extensions)
        for each, decision in final
        if decision.rejection is not None
    ]
    now = database.database_now() if rejected else None
    with database.postponed():
        inbox.record([(each, decision.handled) for each, decision in final])
        if now is not None:
            outbox.record(rejected, at=now)
    crash_point("orders.before_commit")
    return decisions


def _of_earlier(known: Known, received: Received[Any]) -> Decision:
    """The decision for a message that came before; Invalid for another message under the same id."""
    if known.has(received.message) and not known.is_same(received):
        return Invalid(
            f"The id {received.message.id} was used before, for another message of {received.message.source}."
        )
    return Decided(DUPLICATE, None)


def _left_open(decision: Decision) -> Decision:
    if isinstance(decision, Decided) and isinstance(decision.rejection, InsufficientStock):
        return decision.rejection
    return decision


def _rejected(verdict: Verdict | None, refusal: Refusal) -> Decided:
    return Decided(Handled(outcome=Outcome.REJECTED, code=refusal.code), verdict, rejection=refusal)


def _done(verdict: requests.Outcome, outcome: Outcome) -> Decided:
    return Decided(Handled(outcome=Outcome.REPEATED if verdict.is_replay else outcome), verdict)


def _noted(outcome: Outcome, refusal: Refusal) -> Decided:
    """The message is handled by recording the outcome and the refusal's code in the inbox."""
    return Decided(Handled(outcome=outcome, code=refusal.code), refusal)


def _called_off() -> Conflict:
    return Conflict("The order was cancelled.", code=CALLED_OFF)


# --- the rows of the table -----------------------------------------------------------------------------------------


def _created(reserve: Work[Reserve, Verdict], known: Known, received: Sequence[Received[Reserve]]) -> list[Decision]:
    dead = {i: _called_off() for i, each in enumerate(received) if each.order_id in known.called_off}
    verdicts = lifecycle.decide_rest(reserve, [each.request for each in received], dead)
    return [_of_created(verdict) for verdict in verdicts]


def _of_created(verdict: Verdict) -> Decision:
    match verdict:
        case requests.Outcome():
            return _done(verdict, Outcome.RESERVED)
        case OrderConflict():
            return _noted(Outcome.CONFLICT, verdict)
        case Conflict():
            return _rejected(verdict, verdict)
        case Invalid() if "unknown" in verdict.extra:
            return _rejected(verdict, _of_unknown(verdict))
    return verdict


def _of_unknown(refusal: Invalid) -> Conflict:
    """The rejection for unknown products or warehouses. The message is valid, so the shop gets a rejection event."""
    unknown = {name: ids for name, ids in refusal.extra["unknown"].items() if ids}
    return Conflict(refusal.detail, code=UNKNOWN[next(iter(unknown))], **unknown)


def _paid(known: Known, received: Sequence[Received[Pay]]) -> list[Decision]:
    asked = [replace(each.request, is_revivable=each.order_id not in known.called_off) for each in received]
    return [_of_paid(known, each, verdict) for each, verdict in zip(received, paying.pay(asked), strict=True)]


def _of_paid(known: Known, received: Received[Pay], verdict: Verdict) -> Decision:
    match verdict:
        case requests.Outcome():
            return _done(verdict, Outcome.CONFIRMED)
        case NotFound() | ReservationExpired() if received.order_id in known.called_off:
            return _rejected(verdict, _called_off())
        case NotFound() if received.order_id in known.rejected:
            return _rejected(verdict, Conflict("The order was rejected when it was created.", code="order_rejected"))
        case Conflict():
            return _rejected(verdict, verdict)
    return verdict


def _payment_failed(known: Known, received: Sequence[Received[CallOff]]) -> list[Decision]:
    verdicts = calling_off.call_off([each.request for each in received])
    return [_of_failed(known, each, verdict) for each, verdict in zip(received, verdicts, strict=True)]


def _of_failed(known: Known, received: Received[CallOff], verdict: Verdict) -> Decision:
    match verdict:
        case requests.Outcome():
            return _done(verdict, Outcome.RELEASED)
        case Conflict():
            return _noted(Outcome.IGNORED, verdict)
        case NotFound() if known.is_over(received.order_id):
            return _noted(Outcome.IGNORED, verdict)
    return verdict


def _cancelled(known: Known, received: Sequence[Received[CallOff]]) -> list[Decision]:
    asked = [replace(each.request, is_revivable=each.order_id not in known.called_off) for each in received]
    verdicts = calling_off.call_off(asked)
    return [
        (_of_cancelled if each.request.items is None else _of_part)(known, each, verdict)
        for each, verdict in zip(received, verdicts, strict=True)
    ]


def _of_cancelled(known: Known, received: Received[CallOff], verdict: Verdict) -> Decision:
    match verdict:
        case NotFound() if not known.is_over(received.order_id) and not received.message.is_last_try:
            return verdict
        case requests.Outcome() | NotFound() | ReservationConfirmed() | ReservationExpired() | ReservationCancelled():
            is_repeated = received.order_id in known.called_off and not _has_changed(verdict)
            return Decided(Handled(outcome=Outcome.REPEATED if is_repeated else Outcome.CANCELLED), verdict)
        case Conflict():
            return _noted(Outcome.CONFLICT, verdict)
    return verdict


def _of_part(known: Known, received: Received[CallOff], verdict: Verdict) -> Decision:
    match verdict:
        case requests.Outcome():
            return _done(verdict, Outcome.RELEASED)
        case ReservationConfirmed() | ReservationExpired() | ReservationCancelled():
            return _noted(Outcome.IGNORED, verdict)
        case NotFound() if known.is_over(received.order_id):
            return _noted(Outcome.IGNORED, verdict)
        case Conflict():
            return _noted(Outcome.CONFLICT, verdict)
    return verdict


def _has_changed(verdict: Verdict) -> bool:
    return isinstance(verdict, requests.Outcome) and not verdict.is_replay
