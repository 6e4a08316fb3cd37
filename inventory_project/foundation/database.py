"""Database access below the ORM: set-based statements, the database's clock, sessions, locks for jobs.

Callers write their SQL once; `rows()` and `among()` hide the differences between PostgreSQL and SQLite. On PostgreSQL a
statement is prepared once for each connection, and all statements inside `pipelined()` are sent together.
"""

import fcntl
import json
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar, cast
from uuid import UUID

import orjson
import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connection, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.migrations.executor import MigrationExecutor
from prometheus_client import Gauge
from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict

from inventory_project.foundation.errors import Unavailable
from inventory_project.foundation.postgresql.base import DatabaseWrapper
from inventory_project.foundation.postgresql.sessions import Session

T = TypeVar("T")
Deferred = Callable[[], T]  # waits for the answer of a statement that was sent; raises the statement's error

job_last_success = Gauge(
    "inventory_job_last_success_timestamp_seconds",
    "When each periodic job last succeeded, in Unix time.",
    ["job"],
    multiprocess_mode="mostrecent",
)

NOT_MIGRATED = "The database is not up to date: run `manage.py migrate` first."
BEHIND_A_POOLER = (
    "This connection goes through a pooler, which would give the lock to somebody else: set DATABASE_SESSION_URL to an "
    "address of PostgreSQL itself."
)


# --- statements ----------------------------------------------------------------------------------------------------


@contextmanager
def pipelined() -> Iterator[None]:
    """Send the statements inside together, so that all of them cost one round trip.

    PostgreSQL still runs them one after the other: each sees what was committed while the previous one waited for its
    locks. The first error is raised at the end of the block at the latest. SQLite has no round trips to save.
    """
    db = _this_threads()
    if not isinstance(db, DatabaseWrapper):
        yield
        return
    db.ensure_connection()
    with db.wrap_database_errors, db.connection.pipeline():
        yield


@contextmanager
def postponed() -> Iterator[None]:
    """Send the rows written inside with the COMMIT, or before the next statement if there is one.

    An error of such a row is raised by the COMMIT or statement that sends it. Outside of a transaction, and on SQLite,
    the rows are written at once.
    """
    db = _this_threads()
    if not isinstance(db, DatabaseWrapper):
        yield
        return
    before, db.is_postponing = db.is_postponing, True
    try:
        yield
    finally:
        db.is_postponing = before


def execute(sql: str, parameters: Sequence[Any] = ()) -> CursorWrapper:
    """Send a statement. PostgreSQL prepares it, so its text must not depend on the values."""
    db = _this_threads()
    if isinstance(db, DatabaseWrapper):
        return db.execute(sql, parameters)
    cursor = db.cursor()
    cursor.execute(sql, parameters)
    return cursor


def _write(sql: str, parameters: Sequence[Any]) -> None:
    db = _this_threads()
    if isinstance(db, DatabaseWrapper) and db.is_postponing and db.in_atomic_block:
        db.postpone(sql, parameters)
    else:
        execute(sql, parameters)


def _this_threads() -> BaseDatabaseWrapper:
    """This thread's connection. `django.db.connection` looks it up again for each of its attributes."""
    return connections[DEFAULT_DB_ALIAS]


def _deferred(cursor: CursorWrapper, make: Callable[[Sequence[Any]], T]) -> Deferred[T]:
    """A function that waits for the rows and returns `make(rows)`."""

    def answer() -> T:
        with cursor:
            return make(cursor.fetchall())

    return answer


def fields_of(model: type[models.Model], names: Sequence[str]) -> tuple[models.Field[Any, Any], ...]:
    """The fields of the model with these names, in the same order."""
    return tuple(cast("models.Field[Any, Any]", model._meta.get_field(name)) for name in names)


def select(
    fields: Sequence[models.Field[Any, Any]],
    sql: str,
    parameters: Sequence[Any],
    make: Callable[[Sequence[Any]], T],
) -> Deferred[T]:
    """Send a SELECT of these fields. `make` gets the rows, with values converted as the ORM would convert them."""
    converters = _converters(tuple(fields))
    if not converters:
        return _deferred(execute(sql, parameters), make)
    return _deferred(execute(sql, parameters), lambda rows: make([_convert(row, converters) for row in rows]))


@lru_cache(maxsize=64)
def _converters(fields: tuple[models.Field[Any, Any], ...]) -> list[tuple[int, models.Expression, list[Any]]]:
    """Position, column and converters of each field whose driver value differs from the value in Python."""
    columns = [field.get_col(field.model._meta.db_table) for field in fields]
    found = [
        (i, column, [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)])
        for i, column in enumerate(columns)
    ]
    return [(i, column, converters) for i, column, converters in found if converters]


def _convert(row: Sequence[Any], converters: list[tuple[int, models.Expression, list[Any]]]) -> list[Any]:
    values = list(row)
    for i, column, functions in converters:
        for function in functions:
            values[i] = function(values[i], column, connection)
    return values


def among(values: Collection[Any]) -> tuple[str, Any]:
    """SQL for "is one of `values`" and its single parameter. The text is the same for any number of values."""
    if connection.vendor == "postgresql":
        return "= ANY(%s)", list(values)
    plain = [value.hex if isinstance(value, UUID) else value for value in values]
    return "IN (SELECT value FROM json_each(%s))", json.dumps(plain)


def for_no_key_update(table: str) -> str:
    """The clause that locks the rows read from `table`. Empty on SQLite, where a transaction locks the whole file."""
    return f"FOR NO KEY UPDATE OF {table}" if connection.vendor == "postgresql" else ""


def look(table: str, columns: str, condition: str) -> str:
    """A SELECT of these columns and, last, of the transaction that has the row locked: its id, or 0 for a free row.

    It locks the free rows and waits for none; see `foundation.bulkhead`. PostgreSQL writes the id of the transaction
    that locks or changes a row into its `xmax`.
    """
    is_postgresql = connection.vendor == "postgresql"
    holder = "xmax::text::bigint" if is_postgresql else "0"
    skip_locked = f"FOR NO KEY UPDATE OF {table} SKIP LOCKED" if is_postgresql else ""
    return (
        f"WITH wanted AS (SELECT id FROM {table} WHERE {condition}), "  # noqa: S608  # our own names
        f"free AS (SELECT id FROM {table} WHERE id IN (SELECT id FROM wanted) {skip_locked}) "
        f"SELECT {columns}, CASE WHEN id IN (SELECT id FROM free) THEN 0 ELSE {holder} END "
        f"FROM {table} WHERE id IN (SELECT id FROM wanted)"
    )


def keep_other_writers_out(model: type[models.Model]) -> None:
    """Lock the model's table against writes until the transaction ends. SQLite has locked its whole file already.

    Plain reads do not wait. A transaction that locks a row to change it does wait; otherwise there could be a deadlock.
    """
    if connection.vendor == "postgresql":
        execute(f"LOCK TABLE {model._meta.db_table} IN EXCLUSIVE MODE")


def read_clock() -> Deferred[datetime]:
    """The database's clock, read after the statements sent before it. Only this clock decides expiry.

    It is a separate statement, sent after the locks: inside the locking statement the value would be as old as the
    wait. SQLite has no server, so there it is the host's clock.
    """
    if connection.vendor != "postgresql":
        return lambda: datetime.now(UTC)
    return _deferred(execute("SELECT clock_timestamp()"), lambda rows: rows[0][0])


def database_now() -> datetime:
    """The database's clock now. Only this clock decides expiry, never that of a web server."""
    return read_clock()()


# --- sets of rows --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _recordset(model: type[models.Model], columns: tuple[str, ...]) -> str:
    """The SQL of a row source `v` for these columns on PostgreSQL. Its parameter is one JSON document."""
    fields = [model._meta.get_field(name) for name in columns]
    targets = [field.target_field if isinstance(field, models.ForeignKey) else field for field in fields]
    types = [str(target.db_type(connection)).partition("(")[0] for target in targets]
    typed = ", ".join(f"{name} {type_}" for name, type_ in zip(_column_names(model, columns), types, strict=True))
    return f"jsonb_to_recordset(%s::jsonb) AS v ({typed})"


@lru_cache(maxsize=64)
def _column_names(model: type[models.Model], columns: tuple[str, ...]) -> list[str]:
    return [getattr(model._meta.get_field(name), "column") for name in columns]  # noqa: B009  # the stubs know `column` on concrete fields only


def rows(model: type[models.Model], columns: tuple[str, ...], values: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
    """SQL and parameters of a row source `v` that holds `values`, with one column for each of `columns`."""
    if connection.vendor == "postgresql":
        # One JSON document instead of arrays with unnest: psycopg escapes an array's elements one by one in Python,
        # which took a third of a batch's time (docs/concepts/performance.md).
        names = _column_names(model, columns)
        document = orjson.dumps([dict(zip(names, row, strict=True)) for row in values])
        return _recordset(model, columns), [document.decode()]
    fields: list[Any] = [model._meta.get_field(name) for name in columns]
    tuples = ", ".join(["(" + ", ".join(["%s"] * len(columns)) + ")"] * len(values))
    aliases = ", ".join(f"column{i} AS {name}" for i, name in enumerate(_column_names(model, columns), start=1))
    flat = [
        field.get_db_prep_save(value, connection) for row in values for field, value in zip(fields, row, strict=True)
    ]
    return f"(SELECT {aliases} FROM (VALUES {tuples})) AS v", flat  # noqa: S608  # our own names and placeholders


def insert_rows(model: type[models.Model], columns: tuple[str, ...], values: Sequence[Sequence[Any]]) -> None:
    """Insert many rows with one statement, without `save()`. Give every column that has no database default."""
    if not values:
        return
    source, parameters = rows(model, columns, values)
    names = ", ".join(_column_names(model, columns))
    _write(
        f"INSERT INTO {model._meta.db_table} ({names}) SELECT {names} FROM {source}",  # noqa: S608  # our own names
        parameters,
    )


def update_rows(
    model: type[models.Model], columns: tuple[str, ...], values: Sequence[Sequence[Any]], *, assignments: str = ""
) -> None:
    """Update many rows with one statement. The first of `columns` is the key.

    `assignments` is the SET clause over `t` (the row) and `v` (the values), for instance `n = t.n + v.n`. Without it,
    each further column is set to its value.
    """
    if not values:
        return
    source, parameters = rows(model, columns, values)
    key, *names = _column_names(model, columns)
    assignments = assignments or ", ".join(f"{name} = v.{name}" for name in names)
    _write(
        f"UPDATE {model._meta.db_table} AS t SET {assignments} FROM {source} WHERE t.{key} = v.{key}",  # noqa: S608
        parameters,
    )


# --- migrations ----------------------------------------------------------------------------------------------------


def on_postgresql(sql: str) -> Callable[[Any, Any], None]:
    """A migration step that runs `sql` on PostgreSQL only. SQLite, meant for a first look, does without it."""

    def run(apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(sql)

    return run


# --- locks ---------------------------------------------------------------------------------------------------------


@contextmanager
def job_lock(name: str) -> Iterator[bool]:
    """Hold the lock of the periodic job `name` across all processes. Yields False if another process holds it.

    If the block ends without an error, the time is recorded as the job's last success.
    """
    with process_lock(name) as is_ours:
        yield is_ours
        if is_ours:
            job_last_success.labels(name).set_to_current_time()


@contextmanager
def process_lock(name: str) -> Iterator[bool]:
    """Hold the lock `name` across all processes. Yields False at once if another process holds it.

    PostgreSQL: an advisory lock of a transaction in a session of its own. It ends with that session even if the process
    is killed, and it holds behind a connection pooler. SQLite: a locked file next to the database.
    """
    if connection.vendor == "postgresql":
        with connection.wrap_database_errors, session_of_its_own() as session, session.transaction():
            session.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            [(is_ours,)] = session.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock_key(name)])
            yield is_ours
        return
    with (settings.DATA_DIR / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def is_migrated() -> bool:
    """Whether all migrations of this version have been applied to the database."""
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def lock_names(names: Collection[str]) -> None:
    """Hold the locks with these names until the transaction ends; SQLite has locked its whole file."""
    if connection.vendor == "postgresql":
        keys = sorted(map(lock_key, names))
        execute("SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key", [keys])


def lock_key(name: str) -> int:
    """The key of the PostgreSQL advisory lock with this name."""
    return zlib.crc32(f"inventory-service/{name}".encode())


# --- sessions ------------------------------------------------------------------------------------------------------


@contextmanager
def session_of_its_own() -> Iterator[Session]:
    """A PostgreSQL session outside the pool, in which each statement is a transaction. Its locks end with it.

    It goes to DATABASE_SESSION_URL where that is set. Raises psycopg's errors, not Django's, on connecting and on every
    statement.
    """
    address = conninfo_to_dict(settings.DATABASE_SESSION_URL)
    with Session.connect(**{**connection.get_connection_params(), **address, "autocommit": True}) as session:
        session.isolation_level = IsolationLevel.READ_COMMITTED
        yield session


def require_no_pooler(session: psycopg.Connection[Any]) -> None:
    """Raise Unavailable if a pooler shares this session's server process with others, and thus its session locks."""
    [(backend_pid,)] = session.execute("SELECT pg_backend_pid()")
    if backend_pid != session.info.backend_pid:
        raise Unavailable(BEHIND_A_POOLER)


def is_writable() -> bool:
    """Whether the database takes changes, which a standby does not. Raises Django's errors if it is unreachable.

    This thread's session is closed unless it can be used.
    """
    if connection.vendor != "postgresql":
        connection.ensure_connection()
        return True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW transaction_read_only")
            is_writable = bool(cursor.fetchone()[0] == "off")
    except Error:
        connection.close()
        raise
    if not is_writable:
        drop_session()
    return is_writable


def return_session(*, after_seconds: float = 0.0) -> None:
    """Give this thread's session back to the pool, unless it was taken more recently, or a transaction is open.

    Taking it again costs a round trip, so a thread that needs it all the time exchanges it only now and then.
    """
    db = _this_threads()
    taken_at = db.close_at or 0.0  # Django sets it to that moment, because its CONN_MAX_AGE is 0
    if not db.in_atomic_block and time.monotonic() - taken_at >= after_seconds:
        db.close()


def drop_session() -> None:
    """Close this thread's session. Returned to the pool, one at a read-only server would stay read-only."""
    if connection.connection is not None:
        connection.connection.close()
    connection.close()


@contextmanager
def without_time_limit() -> Iterator[None]:
    """Let the statements inside take as long as they need, on the server and on this side."""
    if connection.vendor != "postgresql":
        yield
        return
    connection.ensure_connection()
    session = connection.connection
    limit, session.answer_seconds = session.answer_seconds, None
    is_local = connection.in_atomic_block
    try:
        execute(f"SET {'LOCAL ' if is_local else ''}statement_timeout = 0")
        yield
        if not is_local:
            execute("RESET statement_timeout")
    finally:
        session.answer_seconds = limit
