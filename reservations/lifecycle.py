"""The life of a reservation: reserve, confirm, cancel, expire, extend, return, pay.

Each verb takes many requests and returns an Outcome or a Refusal for each, in the same order. It owns the transaction,
needs a constant number of statements, and counts in the metrics after the commit. `one` is for a single request. Every
verb may be repeated and then gives the same answer.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from django.db import Error
from django.db.models import Q

from inventory_project.foundation import batches, database, tracing
from inventory_project.foundation.batches import Work
from inventory_project.foundation.bulkhead import Look
from inventory_project.foundation.errors import Refusal, Unavailable
from inventory_project.foundation.faults import crash_point
from reservations import choosing, expiring, extending, gate, metrics, obstacles, paying, reserving, returning, settling
from reservations.holds import Hold, Status
from reservations.models import Reservation
from reservations.requests import (
    Cancel,
    Confirm,
    Expire,
    Extend,
    HeldByOverdue,
    NotDecidedYet,
    OrderChanged,
    Outcome,
    Pay,
    Reserve,
    Return,
)
from stock.ledger import InsufficientStock

logger = logging.getLogger(__name__)

Answer = Outcome | Refusal
Request = TypeVar("Request")
Result = TypeVar("Result")

AGAIN = (InsufficientStock, HeldByOverdue, OrderChanged)  # refusals that may turn into another answer a moment later
SWEEP_LIMIT = 500  # overdue holds released in one transaction
MAX_LEFT_BEHIND = 10_000  # holds counted after a sweep
SWEEPER = "system:expiry"


@dataclass(frozen=True, slots=True)
class Sweep:
    """How many holds a sweep has released, and how many it left behind although they were overdue when it began."""

    released: int
    left_behind: int


def reserve_many(requests: Sequence[Reserve]) -> list[Answer]:
    """Hold stock for each order, all of the order or nothing.

    The same order with the same content gets its live reservation again. Refusals: Invalid (also `unknown_ids`),
    OrderConflict, InsufficientStock with all shortages, SalesBlocked. Before a request is refused for lack of stock,
    overdue holds on its products are released and it is decided again. A refusal by the gate skips that; its probes do
    it.
    """
    invalid = {i: refusal for i, request in enumerate(requests) if (refusal := reserving.check(request))}
    answers = decide_rest(_reserve, requests, invalid)
    crash_point("reserve.after_commit")
    return counted("reserve", answers)


def decide_rest(
    decide: Callable[[Sequence[Request]], list[Result | Refusal]],
    requests: Sequence[Request],
    refused: Mapping[int, Refusal],
) -> list[Result | Refusal]:
    """Decide the requests that are not refused yet. Returns all answers in order. `refused` is by position."""
    others = [i for i in range(len(requests)) if i not in refused]
    answers = {**refused, **dict(zip(others, decide([requests[i] for i in others]), strict=True))}
    return [answers[i] for i in range(len(requests))]


def _reserve(requests: Sequence[Reserve]) -> list[Answer]:
    screening = gate.screen(requests)
    decide = partial(run_releasing_overdue, reserving.reserve, first=choosing.reserve, look=obstacles.of_reserve)
    answers = decide_rest(decide, requests, screening.refused)
    gate.correct_counters(screening, answers)
    return answers


def run_releasing_overdue(
    work: Work[Request, Result | Refusal],
    requests: Sequence[Request],
    *,
    look: Look[Request],
    first: Work[Request, Result | Refusal] | None = None,
    again: Work[Request, Result | Refusal] | None = None,
) -> list[Result | Refusal]:
    """Run the batch. Requests that lack stock or meet an overdue hold are decided again once those are released.

    `first`, if it is given, decides in place of `work` until a transaction of it postpones all of its requests.
    `again`, if it is given, decides the second time, even if nothing was released.

    The release has its own transaction, because inside the batch it would lock reservations after levels and deadlock.
    From there on nothing is raised: the other requests are committed, and their callers must get their answers.
    """
    answers = _run_to_the_end(work, requests, look=look, first=first)
    lacking = [i for i, answer in enumerate(answers) if isinstance(answer, AGAIN)]
    if not lacking:
        return answers
    try:
        # If a concurrent sweeper releases them instead, the stock is available as well.
        is_released = _release_for([answers[i] for i in lacking])
        is_changed = any(isinstance(answers[i], OrderChanged) for i in lacking)
        if not (again or is_released or is_changed):
            return answers
        second = _run_to_the_end(again or work, [requests[i] for i in lacking], look=look)
    except Unavailable as refusal:
        second = [refusal] * len(lacking)
    except Error as error:
        logger.exception("releasing overdue holds failed")
        second = [batches.reported(error)] * len(lacking)
    for i, answer in zip(lacking, second, strict=True):
        answers[i] = answer
    return answers


def _run_to_the_end(
    work: Work[Request, Result | Refusal],
    requests: Sequence[Request],
    *,
    look: Look[Request],
    first: Work[Request, Result | Refusal] | None = None,
) -> list[Result | Refusal]:
    """Run the batch in a transaction, and what that has postponed in further ones, in order.

    The first transaction may raise. The others are after a commit, so nothing is raised there any more. Each of them
    decides something: `work` always does, and `first` is given up when it does not.
    """
    now = first or work
    answers = batches.run(now, requests, look=look)
    while left := [i for i, answer in enumerate(answers) if isinstance(answer, NotDecidedYet)]:
        try:
            decided = batches.run(now, [requests[i] for i in left], look=look)
        except Unavailable as refusal:
            decided = [refusal] * len(left)
        except Error as error:
            logger.exception("deciding what was postponed failed")
            decided = [batches.reported(error)] * len(left)
        for i, answer in zip(left, decided, strict=True):
            answers[i] = answer
        if all(isinstance(answer, NotDecidedYet) for answer in decided):
            now = work
    return answers


def _release_for(refusals: Sequence[object]) -> bool:
    """Release the overdue holds that block these requests. Returns whether there were any, apart from those left out.

    If another session keeps one locked, such as a sweeper or another buyer, it is waited for, but only briefly.
    """
    facts = [refusal.extra for refusal in refusals if isinstance(refusal, Refusal)]
    product_ids = {shortage["product_id"] for extra in facts for shortage in extra.get("shortages", ())}
    reservation_ids = {extra["reservation_id"] for extra in facts if "reservation_id" in extra}
    in_the_way = Q(items__product_id__in=product_ids) | Q(id__in=reservation_ids)
    overdue = Reservation.objects.overdue(database.database_now()).filter(in_the_way).distinct()
    ids = next(expiring.pages(overdue, size=SWEEP_LIMIT), [])
    _expire(ids)
    return bool(ids)


def confirm_many(requests: Sequence[Confirm]) -> list[Answer]:
    """Turn each hold into a deduction, whole or the named items, the rest being released.

    Refusals: NotFound, ReservationExpired (also past its time), ReservationCancelled, ReservationConfirmed (with
    other items), ExceedsReservation.
    """
    return counted("confirm", batches.run(settling.confirm, requests, look=obstacles.of_reservations))


def cancel_many(requests: Sequence[Cancel]) -> list[Answer]:
    """Release each hold. Refusals: NotFound, ReservationConfirmed, ReservationExpired."""
    return counted("cancel", batches.run(settling.cancel, requests, look=obstacles.of_reservations))


def expire_many(requests: Sequence[Expire]) -> list[Answer]:
    """Release each hold as expired, due or not. Refusals: NotFound, ReservationConfirmed, ReservationCancelled."""
    return counted("expire", batches.run(settling.expire, requests, look=obstacles.of_reservations))


def extend_many(requests: Sequence[Extend]) -> list[Answer]:
    """Give each hold more time, never less.

    Refusals: NotFound, ReservationExpired and the other settled ones, SalesBlocked, ExtensionLimit,
    ReferenceConflict.
    """
    return counted("extend", batches.run(extending.extend, requests, look=obstacles.of_reservations))


def return_many(requests: Sequence[Return]) -> list[Answer]:
    """Put confirmed goods back into stock. Once all of them are back, the order may reserve again.

    Refusals: NotFound, ReservationActive and the settled ones, ExceedsReservation, ReferenceConflict.
    """
    return counted("return", batches.run(returning.return_goods, requests, look=obstacles.of_reservations))


def pay_many(requests: Sequence[Pay]) -> list[Answer]:
    """Confirm the reservation of each order, reviving one that has expired by a new one where stock allows.

    Refusals: NotFound, ReservationCancelled, InsufficientStock, SalesBlocked. As in `reserve_many`, overdue holds of
    other orders are released before a request is refused for lack of stock.
    """
    return counted("pay", run_releasing_overdue(paying.pay, requests, look=obstacles.of_payments))


def sweep(*, size: int | None = None, should_stop: Callable[[], bool] = lambda: False) -> Sweep:
    """Release all overdue holds, the longest overdue first, in batches of `size` or else of SWEEP_LIMIT.

    What others keep locked, and what cannot be settled, is passed over. It is reported, and is the next sweep's work.
    Several sweeps may run at once. `should_stop` is called after each batch. Raises Unavailable or the database's error
    if the database cannot be used.
    """
    began_at = database.database_now()
    released = 0
    for ids in expiring.pages(Reservation.objects.overdue(began_at), size=size or SWEEP_LIMIT):
        released += _released(_expire(ids))
        crash_point("sweep.after_batch")
        if should_stop():
            break
    return Sweep(released=released, left_behind=_left_behind(began_at))


def _expire(ids: Sequence[UUID]) -> list[Answer]:
    """Expire these overdue holds in one batch. Those that cannot be settled are left out for some minutes."""
    # The time limit ended them, not the request that noticed it, so their events carry no trace of it.
    requests = [Expire(reservation_id=id_, only_if_due=True, actor=SWEEPER, extensions=tracing.NOTHING) for id_ in ids]
    answers = counted("expire", batches.run(settling.expire, requests, look=obstacles.of_reservations))
    _leave_out([id_ for id_, answer in zip(ids, answers, strict=True) if expiring.is_unsettleable(answer)])
    return answers


def _leave_out(ids: Sequence[UUID]) -> None:
    if ids:
        logger.error(
            "%s overdue holds cannot be settled, the first is %s; they are left out for %s s",
            len(ids), ids[0], expiring.UNSETTLEABLE_SECONDS,
        )  # fmt: skip
        expiring.unsettleable.add(ids, seconds=expiring.UNSETTLEABLE_SECONDS)


def _released(answers: Sequence[Answer]) -> int:
    return sum(isinstance(answer, Outcome) and not answer.is_replay for answer in answers)


def _left_behind(began_at: datetime) -> int:
    """How many holds were overdue when the sweep began and still are, MAX_LEFT_BEHIND at most. Recorded for monitoring.

    It does not matter why: locked by another session, even by another sweeper, or damaged. Only a sweep that leaves
    none behind counts as a success of the job.
    """
    number = Reservation.objects.overdue(began_at)[:MAX_LEFT_BEHIND].count()
    metrics.left_behind.set(number)
    if not number:
        database.job_last_success.labels("expire_reservations").set_to_current_time()
    return number


def one(verb: Callable[[Sequence[Request]], list[Answer]], request: Request) -> Outcome:
    """The outcome of a single request. Raises its refusal."""
    return batches.result_of(verb([request])[0])


def counted(verb: str, answers: list[Answer]) -> list[Answer]:
    """Count the answers in the metrics, and return them."""
    for answer in answers:
        if isinstance(answer, Refusal):
            metrics.refusals.labels(verb, answer.code).inc()
        elif answer.is_replay:
            metrics.replays.labels(verb).inc()
        else:
            _count_new(verb, answer.hold)
    return answers


def _count_new(verb: str, hold: Hold) -> None:
    if verb == "reserve" or (verb == "pay" and hold.replaces_id is not None):
        metrics.reservations.inc()
    if verb in ("confirm", "cancel", "expire", "pay") or (verb == "call_off" and hold.status == Status.CANCELLED):
        metrics.settlements.labels(hold.status).inc()
    if verb == "expire":
        metrics.expired.inc()
