"""Runs a batch of requests in one transaction, so that the failure of one request does not fail the others.

The work decides all requests and writes all results. A refusal is a result like any other. This module handles only
what fails the whole transaction, by its kind (see `failures`), and leaves out requests that wait for a lock
(`bulkhead`).
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db import Error, transaction
from prometheus_client import Counter, Gauge, Histogram

from inventory_project.foundation import bulkhead, database, failures
from inventory_project.foundation.bulkhead import Look
from inventory_project.foundation.errors import BooksDamaged, Conflict, Refusal, Unavailable
from inventory_project.foundation.failures import Failure, KeptWaiting, Undecided

logger = logging.getLogger(__name__)

Request = TypeVar("Request")
Result = TypeVar("Result")
Work = Callable[[Sequence[Request]], list[Result]]
Answers = dict[int, Result | Refusal]  # by the position of the request

MAX_ROUNDS = 7  # about two seconds in which locks are waited for; those still undecided are refused
MAX_DAMAGED = 10_000  # records that a process remembers as damaged
REPEAT_SECONDS = 5.0  # a batch that has taken longer is not repeated when its session is lost

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


_damaged: set[str] = set()


def run(
    work: Work[Request, Result | Refusal], requests: Sequence[Request], *, look: Look[Request] | None = None
) -> list[Result | Refusal]:
    """Run `work(requests)` in one transaction. The results are in the order of the requests.

    - A lock that is not free in time: the requests are run again, without those that need what `look` finds kept
      locked. These get KeptWaiting. Without `look`, KeptWaiting is raised.
    - A lost session, or a server that takes no writes: the same batch is run once more in another session, unless it
      has taken longer than REPEAT_SECONDS. That is safe because every verb can be repeated. Then Unavailable is raised,
      with the code `outcome_unknown` if a session was lost while committing.
    - A server or a pool that is too busy: Unavailable is raised.
    - Any other failure: each request is run once more in a transaction of its own. The failure of a single request is
      raised, unless it is damage or a race.
    """
    answers: Answers[Result] = _known_to_wait(requests, look)
    for _ in range(MAX_ROUNDS):
        rest = [i for i in range(len(requests)) if i not in answers]
        if not rest:
            break
        asked = [requests[i] for i in rest]
        try:
            decided = _decide(work, asked, look)
        except KeptWaiting:
            if look is None:
                raise
            batch_failures.labels("left_out").inc()
            answers.update({rest[i]: refusal for i, refusal in _kept_waiting(look, asked, has_waited=True).items()})
        else:
            answers.update(zip(rest, decided, strict=True))
    bulkhead.left_out.inc(len(requests) - len(answers))
    return [answers.get(i, failures.kept_waiting()) for i in range(len(requests))]


def run_one(work: Work[Request, Result | Refusal], request: Request) -> Result:
    """Run `work` for a single request in one transaction. Returns its result, or raises its refusal."""
    return result_of(run(work, [request])[0])


def result_of(outcome: Result | Refusal) -> Result:
    """Return the outcome if it is a result; raise it if it is a refusal."""
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def reported(error: Error | BooksDamaged) -> Unavailable:
    """The refusal for a request on which the database failed. The caller has logged the failure already."""
    return failures.refusal_for(error) or Undecided("The database failed on this request. The problem has been logged.")


# --- who waits for a lock ------------------------------------------------------------------------------------------


def _known_to_wait(requests: Sequence[Request], look: Look[Request] | None) -> Answers[Result]:
    """The refusals of requests that need what was found locked lately and still is. No statement if nothing was."""
    if look is None or not bulkhead.obstacles or not requests:
        return {}
    return {**_kept_waiting(look, requests, has_waited=False)}


def _kept_waiting(look: Look[Request], requests: Sequence[Request], *, has_waited: bool) -> dict[int, KeptWaiting]:
    seen = _in_one_transaction(look, requests)
    return bulkhead.refusals(bulkhead.obstacles.kept(seen, has_waited=has_waited))


# --- one transaction for all, or one for each ----------------------------------------------------------------------


def _decide(
    work: Work[Request, Result | Refusal], requests: Sequence[Request], look: Look[Request] | None
) -> list[Result | Refusal]:
    try:
        return _in_one_transaction(work, requests)
    except (Error, BooksDamaged) as error:
        kind = failures.kind_of(error)
        if len(requests) == 1 and kind == Failure.OWN:
            raise
        if kind == Failure.DAMAGE:
            _count_oversell(error)
        if len(requests) > 1:
            logger.warning("a batch of %s failed; its requests are run one by one: %s", len(requests), error)
        batch_failures.labels("one_by_one").inc()
        is_counted = kind == Failure.DAMAGE
    return [_alone(work, request, look, is_counted=is_counted) for request in requests]


def _alone(
    work: Work[Request, Result | Refusal], request: Request, look: Look[Request] | None, *, is_counted: bool
) -> Result | Refusal:
    """Run one request in its own transaction. Returns failures as refusals: other requests may be committed by now."""
    try:
        return _patiently(work, request, look)
    except Refusal as refusal:
        return refusal
    except (Error, BooksDamaged) as error:
        match failures.kind_of(error):
            case Failure.DAMAGE:
                if not is_counted:
                    _count_oversell(error)
                return Conflict(
                    "Refused: it would make the stock records inconsistent. The problem has been logged.",
                    code="insufficient_stock",
                )
            case Failure.OWN:
                logger.exception("a request failed in its own transaction")
        return reported(error)


def _patiently(work: Work[Request, Result | Refusal], request: Request, look: Look[Request] | None) -> Result | Refusal:
    """Run one request in its own transaction, again while it waits for a lock that nobody keeps."""
    for _ in range(MAX_ROUNDS):
        known: Answers[Result] = _known_to_wait([request], look)
        if known:
            return known[0]
        try:
            return _in_one_transaction(work, [request])[0]
        except KeptWaiting:
            if look is None or _kept_waiting(look, [request], has_waited=True):
                break
    return failures.kept_waiting()


def _count_oversell(error: Error | BooksDamaged) -> None:
    """Count and log the damage. A record that is known to be damaged is counted once, however many requests meet it."""
    subject = error.subject if isinstance(error, BooksDamaged) else ""
    if subject not in _damaged:
        oversell_events.inc()
    if subject and len(_damaged) < MAX_DAMAGED:
        _damaged.add(subject)
    logger.error("the books contradict what was about to be written, so it was refused: %s", error)


def _in_one_transaction(work: Work[Request, Result], requests: Sequence[Request]) -> list[Result]:
    """Run the work. Raises Unavailable for what passes by itself, and the error of damage, a race and its own fault."""
    began = time.monotonic()
    outcome_unknown = False
    for is_last_try in (False, True):
        is_committing = False
        try:
            with transaction_seconds.time(), transaction.atomic():
                results = work(requests)
                is_committing = True
            return results
        except Error as error:
            kind = failures.kind_of(error)
            is_away = kind in (Failure.LOST, Failure.READ_ONLY)
            if is_away:
                database.drop_session()
            outcome_unknown = outcome_unknown or (is_committing and kind == Failure.LOST)
            if is_away and not is_last_try and time.monotonic() - began < REPEAT_SECONDS:
                batch_failures.labels("repeated").inc()
                continue
            if is_away or kind in (Failure.BUSY, Failure.SLOW, Failure.LOCKED):
                raise _outcome_unknown() if outcome_unknown else reported(error) from error
            raise
    raise AssertionError("unreachable: the last try returns or raises")


def _outcome_unknown() -> Unavailable:
    return Unavailable(
        "The connection to the database was lost while committing; repeat the request to learn the outcome.",
        code="outcome_unknown",
    )
