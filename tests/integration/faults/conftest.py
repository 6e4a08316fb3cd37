"""The books must be right after each fault, and the sessions of the processes that a test starts can be told apart."""

from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from inventory_project.foundation.database import database_now
from tests import factories
from tests.integration.faults.sessions import Session


@pytest.fixture
def books(transactional_db: None) -> Iterator[None]:
    """Real transactions, and an audit of all invariants after the fault."""
    yield
    assert factories.broken_invariants() == []


@pytest.fixture
def sessions(transactional_db: None) -> Callable[[], list[Session]]:
    """Gives the sessions in the test's database that began during the test, in no order."""
    since = database_now()

    def look() -> list[Session]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid, state, query FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND backend_start > %s ORDER BY random()",
                [since],
            )
            return [Session(*row) for row in cursor.fetchall()]

    return look
