"""What the two databases can do for a set of rows: one clock, set-based statements, locks for jobs, kinds of failure.

PostgreSQL and SQLite differ in spelling only; the callers' SQL is written once, over `rows()`.
"""

import fcntl
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, connection, models
from prometheus_client import Gauge
from psycopg_pool import PoolTimeout

job_last_success = Gauge(
    "inventory_job_last_success_timestamp_seconds",
    "When each periodic job last ended well, in Unix time.",
    ["job"],
    multiprocess_mode="mostrecent",
)

UNIQUE_VIOLATION = "23505"
CHECK_VIOLATION = "23514"
DEADLOCK_DETECTED = "40P01"
TIMEOUTS = ("55P03", "57014", "25P03")  # lock, statement, idle in transaction
CONNECTION_LOST = ("08", "57P")  # class 08, connection exception; 57P01 to 57P05, the server ended the session


def database_now() -> datetime:
    """The database's clock at this moment, which alone decides expiry.

    A statement of its own, sent after the locks: inside the locking statement the value is as old as the wait.
    SQLite has no server and so no clock of its own; there it is the host's.
    """
    if connection.vendor != "postgresql":
        return datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment


# --- sets of rows --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _recordset(model: type[models.Model], columns: tuple[str, ...]) -> str:
    """PostgreSQL's source of rows for these columns, out of one JSON document."""
    fields = [model._meta.get_field(name) for name in columns]
    targets = [field.target_field if isinstance(field, models.ForeignKey) else field for field in fields]
    types = [str(target.db_type(connection)).partition("(")[0] for target in targets]
    typed = ", ".join(f"{name} {type_}" for name, type_ in zip(_column_names(model, columns), types, strict=True))
    return f"jsonb_to_recordset(%s::jsonb) AS v ({typed})"


def _as_text(value: object) -> str:
    """What JSON has no form for, as PostgreSQL reads it. Raises TypeError for anything that no column here holds."""
    if isinstance(value, (UUID, datetime)):
        return str(value)
    raise TypeError(f"{value!r} cannot be written as JSON")


def _column_names(model: type[models.Model], columns: tuple[str, ...]) -> list[str]:
    return [getattr(model._meta.get_field(name), "column") for name in columns]  # noqa: B009  # typed for columns alone


def rows(model: type[models.Model], columns: tuple[str, ...], values: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
    """SQL and parameters of a source `v` that holds `values`, one column for each of the model's `columns`."""
    if connection.vendor == "postgresql":
        # One document and not arrays with unnest: psycopg escapes what is in an array in Python, element by element,
        # which took a third of the time of a batch (docs/performance.md).
        names = _column_names(model, columns)
        document = json.dumps([dict(zip(names, row, strict=True)) for row in values], default=_as_text)
        return _recordset(model, columns), [document]
    fields: list[Any] = [model._meta.get_field(name) for name in columns]
    tuples = ", ".join(["(" + ", ".join(["%s"] * len(columns)) + ")"] * len(values))
    aliases = ", ".join(f"column{i} AS {name}" for i, name in enumerate(_column_names(model, columns), start=1))
    flat = [
        field.get_db_prep_save(value, connection) for row in values for field, value in zip(fields, row, strict=True)
    ]
    return f"(SELECT {aliases} FROM (VALUES {tuples})) AS v", flat  # noqa: S608  # names and placeholders of ours


def insert_rows(model: type[models.Model], columns: tuple[str, ...], values: Sequence[Sequence[Any]]) -> None:
    """Insert many rows by one statement, past `save()`; every column without a database default must be given."""
    if not values:
        return
    source, parameters = rows(model, columns, values)
    names = ", ".join(_column_names(model, columns))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {model._meta.db_table} ({names}) SELECT {names} FROM {source}",  # noqa: S608  # names of ours
            parameters,
        )


def update_rows(
    model: type[models.Model], columns: tuple[str, ...], values: Sequence[Sequence[Any]], *, assignments: str = ""
) -> None:
    """Update many rows by one statement; the first of `columns` is the key.

    `assignments` says what is set, over `t` (the row) and `v` (the values), for instance `n = t.n + v.n`; without it
    each further column is set to its value.
    """
    if not values:
        return
    source, parameters = rows(model, columns, values)
    key, *names = _column_names(model, columns)
    assignments = assignments or ", ".join(f"{name} = v.{name}" for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {model._meta.db_table} AS t SET {assignments} FROM {source} WHERE t.{key} = v.{key}",  # noqa: S608
            parameters,
        )


# --- locks ---------------------------------------------------------------------------------------------------------


@contextmanager
def job_lock(name: str) -> Iterator[bool]:
    """Hold the lock of the periodic job `name` among all processes; yields False when another one holds it.

    PostgreSQL: a session's advisory lock, which ends with the session whatever happens to the process. SQLite: a
    locked file beside the database. Leaving without an error is recorded as the job's last success.
    """
    with _job_lock(name) as is_ours:
        yield is_ours
        if is_ours:
            job_last_success.labels(name).set_to_current_time()


@contextmanager
def _job_lock(name: str) -> Iterator[bool]:
    if connection.vendor == "postgresql":
        key = zlib.crc32(f"inventory-service/{name}".encode())
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
            is_ours: bool = cursor.fetchone()[0]
        try:
            yield is_ours
        finally:
            if is_ours:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
        return
    with (settings.DATA_DIR / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


# --- kinds of failure ----------------------------------------------------------------------------------------------


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's five characters for the failure, or an empty string."""
    return str(getattr(error.__cause__, "sqlstate", None) or "")


def is_constraint_violation(error: BaseException) -> bool:
    """A UNIQUE or a CHECK said no."""
    if connection.vendor == "postgresql":
        return sqlstate(error) in (UNIQUE_VIOLATION, CHECK_VIOLATION)
    return isinstance(error, IntegrityError) and "FOREIGN KEY" not in str(error)


def is_check_violation(error: BaseException) -> bool:
    """A CHECK said no: the books were about to become wrong."""
    return sqlstate(error) == CHECK_VIOLATION or "CHECK constraint failed" in str(error)


def is_deadlock(error: BaseException) -> bool:
    """The database chose this transaction to end a circle of waits."""
    return sqlstate(error) == DEADLOCK_DETECTED


def is_timeout(error: BaseException) -> bool:
    """A lock, a statement, an idle transaction or the pool took longer than the settings allow; nothing was written."""
    is_pool = isinstance(error.__cause__, PoolTimeout)
    return is_pool or sqlstate(error) in TIMEOUTS or "database is locked" in str(error)


def is_connection_lost(error: BaseException) -> bool:
    """The session is gone, or none could be had."""
    state = sqlstate(error)
    if connection.vendor != "postgresql":
        return False
    return isinstance(error, (OperationalError, InterfaceError)) and (not state or state.startswith(CONNECTION_LOST))
