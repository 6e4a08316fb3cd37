"""What each failure of PostgreSQL is taken for, and what is said about it."""

import pytest
from django.db import DatabaseError, Error, connection
from psycopg.errors import error_from_result, lookup
from psycopg.pq import ExecStatus
from psycopg_pool import PoolTimeout

from inventory_project.foundation import failures
from inventory_project.foundation.errors import BooksDamaged
from inventory_project.foundation.failures import Failure

pytestmark = pytest.mark.django_db

KINDS = {
    Failure.LOST: ["08000", "08006", "57P01", "57P03"],
    Failure.READ_ONLY: ["25006"],
    Failure.BUSY: ["53100", "53300", "58030", "XX000", "55006"],
    Failure.SLOW: ["57014", "25P03"],
    Failure.LOCKED: ["55P03"],
    Failure.RACED: ["40001", "40P01", "23505", "0A000"],
    Failure.DAMAGE: ["23514"],
    Failure.OWN: ["22012", "22P02", "23502", "23503", "42703"],
}
PASSES = {
    Failure.LOST: "database_unavailable",
    Failure.READ_ONLY: "database_unavailable",
    Failure.BUSY: "overloaded",
    Failure.SLOW: "overloaded",
    Failure.LOCKED: "overloaded",
    Failure.RACED: "overloaded",
}


def raised(error: Exception) -> Error:
    """The error of Django that becomes of psycopg's."""
    with pytest.raises(Error) as caught, connection.wrap_database_errors:
        raise error
    return caught.value


@pytest.mark.parametrize(("kind", "state"), [(kind, state) for kind, states in KINDS.items() for state in states])
def test_the_table(kind: Failure, state: str) -> None:
    error = raised(lookup(state)())
    assert failures.kind_of(error) == kind
    refusal = failures.refusal_for(error)
    assert (refusal.code if refusal else None) == PASSES.get(kind)


def test_a_server_gone_between_two_answers_of_a_pipeline_is_a_lost_session() -> None:
    connection.ensure_connection()
    unanswered = connection.connection.pgconn.make_empty_result(ExecStatus.FATAL_ERROR)
    error = raised(error_from_result(unanswered))
    assert type(error) is DatabaseError
    assert failures.kind_of(error) == Failure.LOST


def test_a_pool_without_a_free_session_is_busy_and_not_away() -> None:
    assert failures.kind_of(raised(PoolTimeout("couldn't get a connection after 2.00 sec"))) == Failure.BUSY


def test_books_that_lack_a_record_are_damaged() -> None:
    assert failures.kind_of(BooksDamaged("no stock level")) == Failure.DAMAGE
