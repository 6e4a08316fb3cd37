"""The life of a reservation: reserve, confirm, cancel, expire, extend, return, pay.

Each verb takes many requests and returns an Outcome or a Refusal for each, in the same order. It owns the transaction,
needs a constant number of statements, and counts in the metrics after the commit. `one` is for a single request. Every
verb may be repeated and then gives the same answer.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from django.db import Error
from django.db.models import Q, QuerySet

from inventory_project.foundation import batches, database, tracing
from inventory_project.foundation.batches import Work
from inventory_project.foundation.bulkhead import Look
from inventory_project.foundation.errors import Refusal, Unavailable
from inventory_project.foundation.faults import crash_point
from reservations import extending, gate, metrics, obstacles, paying, reserving, returning, settling
from reservations.holds import Hold, Status
from reservations.models import Reservation
from reservations.requests import (
    Cancel,
    Confirm,
    Expire,
    Extend,
    HeldByOverdue,
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
SWEEPER = "system:expiry"


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
    decide = partial(run_releasing_overdue, reserving.reserve, look=obstacles.of_reserve)
    answers = decide_rest(decide, requests, screening.refused)
    gate.correct_counters(screening, answers)
    return answers


def run_releasing_overdue(
    work: Work[Request, Result | Refusal],
    requests: Sequence[Request],
    *,
    look: Look[Request],
    again: Work[Request, Result | Refusal] | None = None,
) -> list[Result | Refusal]:
    """Run the batch. Requests that lack stock or meet an overdue hold are decided again once those are released.

    `again`, if it is given, decides the second time, even if nothing was released.

    The release has its own transaction, because inside the batch it would lock reservations after levels and deadlock.
    From there on nothing is raised: the other requests are committed, and their callers must get their answers.
    """
    answers = batches.run(work, requests, look=look)
    lacking = [i for i, answer in enumerate(answers) if isinstance(answer, AGAIN)]
    if not lacking:
        return answers
    try:
        # If a concurrent sweeper releases them instead, the stock is available as well.
        is_released = _release_for([answers[i] for i in lacking])
        is_changed = any(isinstance(answers[i], OrderChanged) for i in lacking)
        if not (again or is_released or is_changed):
            return answers
        second = batches.run(again or work, [requests[i] for i in lacking], look=look)
    except Unavailable as refusal:
        second = [refusal] * len(lacking)
    except Error as error:
        logger.exception("releasing overdue holds failed")
        second = [batches.reported(error)] * len(lacking)
    for i, answer in zip(lacking, second, strict=True):
        answers[i] = answer
    return answers


def _release_for(refusals: Sequence[object]) -> bool:
    """Release the overdue holds that block these requests. Returns whether there were any."""
    facts = [refusal.extra for refusal in refusals if isinstance(refusal, Refusal)]
    product_ids = {shortage["product_id"] for extra in facts for shortage in extra.get("shortages", ())}
    reservation_ids = {extra["reservation_id"] for extra in facts if "reservation_id" in extra}
    in_the_way = Q(items__product_id__in=product_ids) | Q(id__in=reservation_ids)
    overdue = Reservation.objects.overdue(database.database_now()).filter(in_the_way).distinct()
    return bool(_expire(overdue, limit=SWEEP_LIMIT))


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
    """Confirm the reservation of each order, reviving one that has ended by a new one where stock allows; see `paying`.

    Refusals: NotFound, ReservationCancelled, InsufficientStock, SalesBlocked. As in `reserve_many`, overdue holds of
    other orders are released before a request is refused for lack of stock.
    """
    return counted("pay", run_releasing_overdue(paying.pay, requests, look=obstacles.of_payments))


def expire_due(*, limit: int) -> int:
    """Release up to `limit` holds whose time is up, the longest overdue first. Returns how many were released."""
    answers = _expire(Reservation.objects.overdue(database.database_now()), limit=limit)
    return sum(isinstance(answer, Outcome) and not answer.is_replay for answer in answers)


def _expire(due: QuerySet[Reservation], *, limit: int) -> list[Answer]:
    ids = due.order_by("expires_at").values_list("id", flat=True)[:limit]
    # The time limit ended them, not the request that noticed it, so their events carry no trace of it.
    return expire_many(
        [Expire(reservation_id=id_, only_if_due=True, actor=SWEEPER, extensions=tracing.NOTHING) for id_ in ids]
    )


def sweep(*, should_stop: Callable[[], bool] = lambda: False) -> int | None:
    """Release all overdue holds in batches. Returns how many, or None if another process is doing it.

    `should_stop` is called after each batch.
    """
    total = 0
    with database.job_lock("expire_reservations") as is_ours:
        if not is_ours:
            return None
        while released := expire_due(limit=SWEEP_LIMIT):
            total += released
            crash_point("sweep.after_batch")
            if should_stop():
                break
    return total


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
    # An item that is called off after the end settles nothing.
    is_called_off = hold.status == Status.CANCELLED and not any(line.called_off for line in hold.lines)
    if verb in ("confirm", "cancel", "expire", "pay") or (verb == "call_off" and is_called_off):
        metrics.settlements.labels(hold.status).inc()
    if verb == "expire":
        metrics.expired.inc()
