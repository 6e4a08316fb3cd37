"""Runs a batch of requests in one transaction, so that the failure of one request does not fail the others.

The work decides all requests and writes all results. A refusal is a result like any other. This module handles only
what fails the whole transaction: two requests that raced, a deadlock, a lost connection, a time-out.
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
    "Inconsistent stock records: CHECK violations in the ledger and rows that an audit found wrong. Never falls.",
    multiprocess_mode="sum",
)
batch_failures = Counter(
    "inventory_batch_failures", "Transactions that failed as a whole, by what was done then.", ["handled_by"]
)
transaction_seconds = Histogram(
    "inventory_transaction_seconds",
    "How long a batch used a database connection: from requesting it to the commit and the update of Redis after it.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)


class Undecided(Unavailable):
    """The database failed on this one request, and the failure is logged. A retry may succeed or fail again."""


def run(work: Work[Request, Result], requests: Sequence[Request]) -> list[Result | Refusal]:
    """Run `work(requests)` in one transaction. The results are in the order of the requests.

    After a constraint violation, a deadlock or inconsistent books, each request is run once more in a transaction of
    its own. After a lost connection, the same batch is run once more, which is safe because every verb can be repeated.
    Raises Unavailable if the database is unreachable or too slow, or if the connection was lost while committing (code
    `outcome_unknown`).
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
    return [_one_by_one(work, request, is_counted=is_counted) for request in requests]


def run_one(work: Work[Request, Result], request: Request) -> Result:
    """Run `work` for a single request in one transaction. Returns its result, or raises its refusal."""
    return result_of(run(work, [request])[0])


def result_of(outcome: Result | Refusal) -> Result:
    """Return the outcome if it is a result; raise it if it is a refusal."""
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def _one_by_one(work: Work[Request, Result], request: Request, *, is_counted: bool) -> Result | Refusal:
    """Run one request in its own transaction. Returns failures as refusals: other requests may be committed by now."""
    try:
        return _in_one_transaction(work, [request])[0]
    except Refusal as refusal:
        return refusal
    except (Error, BooksDamaged) as error:
        if _is_damage(error):
            if not is_counted:
                _count_oversell(error)
            return Conflict(
                "Refused: it would make the stock records inconsistent. The problem has been logged.",
                code="insufficient_stock",
            )
        if database.is_constraint_violation(error) or database.is_deadlock(error):
            return Unavailable("A concurrent request for the same order is in progress. Retry this one.")
        logger.exception("a request failed in its own transaction")
        return reported(error)


def reported(error: Error | BooksDamaged) -> Unavailable:
    """The refusal for a request on which the database failed. The caller has logged the failure already."""
    if database.is_passing(error):
        return Unavailable("The database cannot be used at the moment; nothing was changed.")
    return Undecided("The database failed on this request. The problem has been logged.")


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
