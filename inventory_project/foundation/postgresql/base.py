"""The engine: Django's wrapper of a PostgreSQL connection, with a breaker before the pool."""

from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg_pool import PoolTimeout

from inventory_project.foundation.postgresql.sessions import Session, breaker


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's wrapper. While the server answers nobody, callers fail at once and do not wait one after the other."""

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
