"""Checks the invariants of the books: all of them everywhere, or those of what is new and of a part of what is old.

Each invariant reads a snapshot of its own, so that an audit of a large database keeps none open for long, and without
the service's limit for statements. I8 (no acknowledged reservation is lost) can only be checked against a client's own
log, in tests. Only I10 is about Redis, and it is checked only on request. docs/operating/invariants.md explains each.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from inventory_project.foundation import batches, database
from inventory_project.foundation.messaging import retention
from reservations.analysis import damage, scope
from reservations.analysis.invariants import COUNTERS_AGREE, EVERYTHING, INVARIANTS, SOME, Invariant
from reservations.models import AuditPosition
from stock.counters import sync as reconciliation

logger = logging.getLogger(__name__)

MAX_ROWS = 20  # of each broken invariant that are printed and logged; the count is always of all
MAX_RECORDED = 1_000  # of each broken invariant that are remembered
COUNTED_AT_ONCE = 10_000
CHECKED_AT_ONCE = 2  # invariants, in an audit of some rows


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant, how many rows break it, and the first of them."""

    invariant: Invariant
    count: int
    rows: list[dict[str, Any]]


def invariants(*, with_counters: bool = False) -> tuple[Invariant, ...]:
    """The invariants that `run` checks, with I10 only if `with_counters`."""
    return (*INVARIANTS, *([COUNTERS_AGREE] if with_counters else []))


def run(*, with_counters: bool = False) -> Iterator[Finding]:
    """Check one invariant after the other over all rows. Yields a Finding for each, with count 0 if it holds.

    It only reads. `with_counters` raises NoCounters if there is no Redis, and Unavailable if it does not answer.
    """
    for invariant in INVARIANTS:
        yield _check(invariant, EVERYTHING)
    if with_counters:
        report = reconciliation.sync(is_dry_run=True, actor="audit")
        rows = [asdict(drift) for drift in report.drifts[:MAX_ROWS]]
        yield Finding(invariant=COUNTERS_AGREE, count=report.differences, rows=rows)


def run_over(part: scope.Scope) -> Iterator[Finding]:
    """Check the invariants that can be asked about some rows, over the rows of the scope. PostgreSQL only.

    Two invariants are checked at a time, each in a session of its own; the slowest begin first. Inside a transaction
    they are checked in this session, one after the other.
    """
    asked = [invariant for invariant in INVARIANTS if not invariant.needs_everything]
    asked.sort(key=lambda invariant: not invariant.looks_up)
    check = partial(_check, sources=SOME, keys=part.keys)
    if connection.in_atomic_block:  # another session would not see what this one has written
        yield from map(check, asked)
        return
    database.return_session()
    sessions = max(1, min(CHECKED_AT_ONCE, settings.DATABASE_POOL_SIZE // 2))
    with ThreadPoolExecutor(sessions, thread_name_prefix="audit") as threads:
        yield from threads.map(partial(_in_thread, check), asked)


def _in_thread(check: Callable[[Invariant], Finding], invariant: Invariant) -> Finding:
    try:
        return check(invariant)
    finally:
        database.return_session()


def _moments() -> dict[str, datetime]:
    """Since when events are kept, and since when holds and events may wait, as of the transaction's snapshot."""
    now = database.database_now()
    kept_since = now - timedelta(days=settings.EVENT_RETENTION_DAYS)
    return {
        "long_ago": now - timedelta(seconds=settings.AUDIT_GRACE_SECONDS),
        "events_since": max(kept_since, retention.pruned_before() or kept_since),
    }


def _check(invariant: Invariant, sources: Mapping[str, str], keys: Mapping[str, str] | None = None) -> Finding:
    """Check the invariant over all rows, or over those with these keys."""
    sql = invariant.statement(sources, vendor=connection.vendor)
    with _snapshot(is_by_key=keys is not None):
        parameters: dict[str, Any] = {**_moments(), **(keys or {})}
        with connection.chunked_cursor() as found:  # an audit during an outage may find millions of rows
            if keys is not None and invariant.looks_up:
                scope.look_up_one_by_one()
            found.execute(sql, parameters)
            rows = list(found.fetchmany(MAX_RECORDED))
            names = [column[0] for column in found.description]
            count = len(rows)
            while more := found.fetchmany(COUNTED_AT_ONCE):
                count += len(more)
    return Finding(invariant=invariant, count=count, rows=[dict(zip(names, row, strict=True)) for row in rows])


@contextmanager
def _snapshot(*, is_by_key: bool) -> Iterator[None]:
    """A transaction that reads one snapshot, without a limit for statements.

    `is_by_key`: its statements name rows by keys; see `scope.look_up_by_key`.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = 0")
            if is_by_key:
                scope.look_up_by_key(cursor)
        yield


# --- jobs ----------------------------------------------------------------------------------------------------------


def run_periodic() -> int:
    """Check what is new since the last time and a part of what is old. Returns how many rows break the books.

    One process does it at a time. The damage is logged, remembered and counted. On SQLite everything is checked.
    """
    with database.job_lock("audit_stock") as is_ours:
        if not is_ours:
            return 0
        if connection.vendor != "postgresql":
            return _report(run())
        position = AuditPosition.load()
        broken = 0
        for part in scope.parts(position):
            broken += _report(run_over(part))
            position.save_progress()
        return broken


def run_everything_if_due() -> int | None:
    """Check everything if AUDIT_FULL_INTERVAL_DAYS have passed. Returns how many rows break the books, None if not due.

    One process does it at a time, while `run_periodic` goes on.
    """
    with database.job_lock("audit_everything") as is_ours:
        now = database.database_now()
        due_at = AuditPosition.load().everything_at
        if not is_ours or (due_at and now < due_at + timedelta(days=settings.AUDIT_FULL_INTERVAL_DAYS)):
            return None
        broken = _report(run())
        damage.forget_gone(before=now)
        AuditPosition.objects.update_or_create(pk=1, defaults={"everything_at": now})
        return broken


def _report(findings: Iterator[Finding]) -> int:
    """Log, remember and count the damage. Returns how many rows break the books."""
    broken = 0
    for finding in findings:
        broken += finding.count
        for row in finding.rows[:MAX_ROWS]:
            logger.error("%s is broken: %s row=%s", finding.invariant.name, finding.invariant.promise, as_json(row))
        new = damage.remember(finding.invariant, finding.rows)
        batches.oversell_events.inc(new)
    return broken


def as_json(row: Mapping[str, Any]) -> str:
    """A broken row on one line."""
    return json.dumps(row, default=str)
