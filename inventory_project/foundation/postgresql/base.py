"""The engine: Django's wrapper of a PostgreSQL connection, with a breaker before the pool, and postponed statements."""

from collections.abc import Sequence
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.db.backends.utils import CursorWrapper
from psycopg_pool import PoolTimeout

from inventory_project.foundation.postgresql.sessions import Session, breaker


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's wrapper of a session.

    While the server answers nobody, callers fail at once and do not wait one after the other. Statements can be
    postponed until the COMMIT, so that they cost no round trip of their own. The next statement sends them before it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.is_postponing = False
        self._postponed: list[tuple[str, Sequence[Any]]] = []

    # --- statements

    def execute(self, sql: str, parameters: Sequence[Any]) -> CursorWrapper:
        """Send a statement, after those postponed, with its values apart from its text."""
        self._send_postponed()
        return self._execute(sql, parameters)

    def postpone(self, sql: str, parameters: Sequence[Any]) -> None:
        """Send this statement with the COMMIT, or before the next one. Its answer cannot be read.

        Whatever sends it raises its error. Raises Django's errors of a broken or closed transaction at once.
        """
        self.validate_no_broken_transaction()
        self.ensure_connection()
        self._postponed.append((sql, parameters))

    def _execute(self, sql: str, parameters: Sequence[Any]) -> CursorWrapper:
        self.ensure_connection()
        is_logged = self.queries_logged
        prepared: Any = psycopg.Cursor(self.connection)  # Django's own cursors write the values into the text
        cursor = self.make_debug_cursor(prepared) if is_logged else self.make_cursor(prepared)
        cursor.execute(sql, parameters)
        if is_logged:
            self.queries_log[-1]["sql"] = sql  # psycopg does not report the text of one that it prepared earlier
        return cursor

    def _cursor(self, name: str | None = None) -> CursorWrapper:
        self._send_postponed()
        cursor: CursorWrapper = super()._cursor(name)  # type: ignore[misc]  # the stubs have no private methods
        return cursor

    def _send_postponed(self) -> None:
        if self._postponed:
            with self.wrap_database_errors, self.connection.pipeline():
                self._execute_postponed()

    def _execute_postponed(self) -> None:
        postponed, self._postponed = self._postponed, []
        for sql, parameters in postponed:
            self._execute(sql, parameters)

    def _commit(self) -> None:
        if self.connection is None or not self._postponed:
            super()._commit()  # type: ignore[misc]
            return
        with self.wrap_database_errors, self.connection.pipeline():
            self._execute_postponed()
            super()._commit()  # type: ignore[misc]

    def _rollback(self) -> None:
        self._postponed = []
        super()._rollback()  # type: ignore[misc]

    def _savepoint_rollback(self, sid: str) -> None:
        self._postponed = []  # SAVEPOINT and RELEASE have sent what came before
        super()._savepoint_rollback(sid)  # type: ignore[misc]

    def close(self) -> None:
        """Close the session. What it had not sent is forgotten: its transaction is over."""
        self._postponed = []
        super().close()

    # --- sessions

    @property
    def pool(self) -> Any:
        """This process's pool. Its sessions are of the class Session, which limits every wait."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if options:
            options.setdefault("connection_class", Session)
        return super().pool

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A session from the pool. Raises OperationalError at once while the server is known to be unreachable."""
        is_a_try = breaker.is_open
        if not breaker.allows():
            raise psycopg.OperationalError(Session.last_failure)
        # Without an idle session, a connection is tried directly: the pool reports a failed one only as a time-out.
        if is_a_try and not self._has_idle_session():
            Session.connect(**{**conn_params, "autocommit": True}).close()
        try:
            session = super().get_new_connection(conn_params)
        except PoolTimeout as error:
            if breaker.is_open:  # the pool is not exhausted: no session can be opened
                raise psycopg.OperationalError(Session.last_failure) from error
            raise
        breaker.succeeded()
        return session

    def _has_idle_session(self) -> bool:
        """Whether the pool has a session that nobody uses. It may be dead; the pool checks it when it gives it out."""
        return self.pool is not None and self.pool.get_stats()["pool_available"] > 0
