"""psycopg's sessions with a limit on every wait, and a breaker that all threads of a process share.

The time limits of PostgreSQL (`lock_timeout` and the like) are kept by the server, so they end nothing while the server
itself is frozen or gone. Here this side stops waiting: the socket is closed, and the caller gets an OperationalError.
While the server answers nobody, callers fail at once instead of waiting one after the other. A server that answers this
process's other sessions is there: it is full if it takes no more, and one session can be lost on its own.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Pipeline, errors, generators
from psycopg.abc import PQGen

from inventory_project.foundation.breaker import Breaker

ANSWER_SECONDS = 10.0  # to one statement or one pipeline; above every time limit that the service sets for a statement
SILENT_SECONDS = 1.0  # no answer to any session for so long: the server answers nobody
WAKE_SECONDS = 0.1  # psycopg's own interval for noticing signals while it waits
# In a session without these, a frozen process would keep its locks for ever, and moments could not be read.
REQUIRED = "SELECT current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'), \
current_setting('statement_timeout'), current_setting('DateStyle')"

logger = logging.getLogger(__name__)
breaker = Breaker("PostgreSQL", failures_allowed=1, logs_before_first_answer=False)


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time. What it was doing may still succeed."""


class LimitsMissing(psycopg.OperationalError):
    """The session lacks a time limit or ISO dates, for instance because a connection pooler did not pass them on."""


class Session(psycopg.Connection[Any]):
    """A session that waits `answer_seconds` for each answer at most; None is without a limit."""

    answer_seconds: float | None = ANSWER_SECONDS
    last_failure = "PostgreSQL has not been asked yet."  # why no session could be opened, last
    answered_at = 0.0  # the last answer to any session of this process, by time.monotonic()

    @classmethod
    def connect(cls, conninfo: str = "", **parameters: Any) -> "Session":
        """Open a session. Raises OperationalError if that fails, or if the session lacks its time limits."""
        began = time.monotonic()
        try:
            session = super().connect(conninfo, **parameters)
            _require_limits(session)
        except psycopg.Error as error:
            Session.last_failure = str(error)
            if isinstance(error, LimitsMissing) or not _has_answered_since(
                min(began, time.monotonic() - SILENT_SECONDS)
            ):
                breaker.failed()
            else:
                logger.warning("no further session with PostgreSQL could be opened: %s", error)
            raise
        breaker.succeeded()
        return session

    @contextmanager
    def pipeline(self) -> Iterator[Pipeline]:
        """Send the statements inside together, as one round trip."""
        with super().pipeline() as pipeline:
            pipeline.__class__ = _Pipeline
            yield pipeline

    def wait(self, gen: PQGen[Any], interval: float = WAKE_SECONDS, timeout: float | None = None) -> Any:
        """Wait for the server as psycopg does. Raises NoAnswer, and closes the session, after `answer_seconds`.

        The statement is not cancelled: a COMMIT that is cancelled while it waits for a standby counts as a success.
        """
        try:
            answer = super().wait(gen, interval, self.answer_seconds if timeout is None else timeout)
        except errors._WaitTimeout as error:
            if timeout is not None:
                raise
            self.pgconn.finish()
            no_answer = NoAnswer(f"PostgreSQL has not answered for {self.answer_seconds:g} seconds.")
            Session.last_failure = str(no_answer)
            if not _has_answered_since(time.monotonic() - SILENT_SECONDS):
                breaker.failed()
            raise no_answer from error
        except psycopg.Error as error:
            if error.sqlstate:
                Session.answered_at = time.monotonic()
            raise
        Session.answered_at = time.monotonic()
        return answer


class _Pipeline(Pipeline):
    """psycopg's pipeline, with everything sent at once at the end, BEGIN and COMMIT included, and without a last Flush.

    psycopg itself sends each statement by itself, and waits for BEGIN and COMMIT. PostgreSQL would take a Flush after
    the last Sync for the next request and would not count the time after it as idle. A process that is frozen in its
    transaction would then keep its locks for ever (see tests/integration/faults/test_frozen.py).

    It is for the statements of one transaction. After an answer was read inside, no other statement may follow inside.
    """

    def _communicate_gen(self) -> PQGen[None]:
        while self.command_queue:
            self.command_queue.popleft()()  # libpq keeps it
        yield from ()

    def _sync_gen(self) -> PQGen[None]:
        yield from self._communicate_gen()

    def _exit_gen(self) -> PQGen[None]:
        try:
            self._enqueue_sync()
            yield from self._communicate_gen()
            yield from generators.send(self.pgconn)
        finally:
            yield from self._fetch_gen(flush=False)


def _has_answered_since(moment: float) -> bool:
    return Session.answered_at >= moment


def _require_limits(session: psycopg.Connection[Any]) -> None:
    try:
        [(*limits, date_style)] = session.execute(REQUIRED)
    except psycopg.Error:
        session.close()
        raise
    if not session.autocommit:
        session.rollback()
    if "0" in limits or not date_style.startswith("ISO"):
        session.close()
        raise LimitsMissing(
            "The session's time limits or its DateStyle are missing. A connection pooler does not pass them on: set "
            "them for the role, as docs/reference/database.md says."
        )
