"""Runs a batch of requests in one transaction, and keeps one request's bad luck from failing its neighbours.

The work decides all requests and writes all results; a refusal is a result like any other. Only what fails the whole
transaction is handled here: twins that raced, a deadlock, a lost connection, a time-out.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db import Error, transaction
from prometheus_client import Counter, Gauge, Histogram

from inventory_project.foundation import database
from inventory_project.foundation.errors import BooksDamaged, Conflict, Refusal, Unavailable

logger = logging.getLogger(__name__)

Request = TypeVar("Request")
Result = TypeVar("Result")
Work = Callable[[Sequence[Request]], list[Result | Refusal]]

oversell_events = Gauge(
    "inventory_oversell_events",
    "Broken books seen: CHECK violations in the ledger and rows that an audit found wrong. Only ever rises.",
    multiprocess_mode="sum",
)
batch_failures = Counter(
    "inventory_batch_failures", "Transactions that failed as a whole, by what was done next.", ["handled_by"]
)
transaction_seconds = Histogram(
    "inventory_transaction_seconds",
    "For how long a batch held a database connection: from the wish for one to the commit, and telling Redis after it.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)


class Undecided(Unavailable):
    """The database failed on this one request, which was reported; it may fail again, and may not."""


def run(work: Work[Request, Result], requests: Sequence[Request]) -> list[Result | Refusal]:
    """Do `work(requests)` in one transaction; results come in the order of the requests.

    A constraint violation, a deadlock or damaged books: each request is run again alone, once. A lost connection: the
    same batch once more, which is safe because every verb can be repeated. Raises Unavailable when the database is
    away, too slow, or was lost while committing (code `outcome_unknown`).
    """
    if not requests:
        return []
    try:
        return _in_one_transaction(work, requests)
    except (Error, BooksDamaged) as error:
        if not (_is_damage(error) or database.is_constraint_violation(error) or database.is_deadlock(error)):
            raise
        batch_failures.labels("one_by_one").inc()
        is_counted = _is_damage(error)
        if is_counted:
            _count_oversell(error)
    return [_alone(work, request, is_counted=is_counted) for request in requests]


def run_one(work: Work[Request, Result], request: Request) -> Result:
    """`run` for a single request; raises its refusal."""
    return result_of(run(work, [request])[0])


def result_of(outcome: Result | Refusal) -> Result:
    """The result, or the refusal raised."""
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def _alone(work: Work[Request, Result], request: Request, *, is_counted: bool) -> Result | Refusal:
    """The request in a transaction of its own; raises nothing, for its neighbours' may be committed by now."""
    try:
        return _in_one_transaction(work, [request])[0]
    except Refusal as refusal:
        return refusal
    except (Error, BooksDamaged) as error:
        if _is_damage(error):
            if not is_counted:
                _count_oversell(error)
            return Conflict("The books do not allow this; it was refused and reported.", code="insufficient_stock")
        if database.is_constraint_violation(error) or database.is_deadlock(error):
            return Unavailable("Another request for the same thing is being decided; repeat this one.")
        logger.exception("a request failed alone")
        return reported(error)


def reported(error: Error | BooksDamaged) -> Unavailable:
    """The refusal for a request that the database failed on, once the log has the failure."""
    if database.is_passing(error):
        return Unavailable("The database cannot be used just now; nothing was changed.")
    return Undecided("The database could not decide this request; it was reported.")


def _is_damage(error: Error | BooksDamaged) -> bool:
    return isinstance(error, BooksDamaged) or database.is_check_violation(error)


def _count_oversell(error: Error | BooksDamaged) -> None:
    oversell_events.inc()
    logger.error("the books contradict what was about to be written, so it was refused: %s", error)


def _in_one_transaction(work: Work[Request, Result], requests: Sequence[Request]) -> list[Result | Refusal]:
    outcome_unknown = False
    for is_last_try in (False, True):
        is_committing = False
        try:
            with transaction_seconds.time(), transaction.atomic():
                results = work(requests)
                is_committing = True
            return results
        except Error as error:
            is_timeout = database.is_timeout(error)
            is_lost = not is_timeout and database.is_connection_lost(error)
            outcome_unknown = outcome_unknown or (is_committing and is_lost)
            if is_lost and not is_last_try:
                batch_failures.labels("repeated").inc()
                continue
            if is_lost or (is_timeout and outcome_unknown):
                raise _lost(outcome_unknown=outcome_unknown) from error
            if is_timeout:
                raise Unavailable("The database is too busy; nothing was changed.") from error
            raise
    raise AssertionError("unreachable: the last try returns or raises")


def _lost(*, outcome_unknown: bool) -> Unavailable:
    if outcome_unknown:
        return Unavailable(
            "The connection to the database was lost while committing; repeat the request to learn the outcome.",
            code="outcome_unknown",
        )
    return Unavailable("The database cannot be reached; nothing was changed.", code="database_unavailable")
