"""The engine: Django's wrapper of a PostgreSQL connection, with a breaker before the pool."""

from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg_pool import PoolTimeout

from inventory_project.foundation.postgresql.sessions import Session, breaker


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's wrapper. While no session can be opened, callers fail at once instead of waiting one after the other."""

    @property
    def pool(self) -> Any:
        """The pool of this process, of sessions that end every wait."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if options:
            options.setdefault("connection_class", Session)
        return super().pool

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A session from the pool. Raises OperationalError at once while the server is known to be unreachable."""
        is_a_try = breaker.is_open
        if not breaker.allows():
            raise psycopg.OperationalError(Session.last_failure)
        if is_a_try:  # not by the pool, whose callers learn of a failed connection only by its time-out
            Session.connect(**{**conn_params, "autocommit": True}).close()
        try:
            session = super().get_new_connection(conn_params)
        except PoolTimeout as error:
            if breaker.is_open:  # not the pool is exhausted, but no session can be opened
                raise psycopg.OperationalError(Session.last_failure) from error
            raise
        breaker.succeeded()
        return session
