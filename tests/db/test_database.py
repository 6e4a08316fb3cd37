"""What a failure of the database is taken for."""

import pytest
from django.db import DatabaseError, connection
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from inventory_project.foundation import database


@pytest.mark.django_db
def test_a_server_gone_between_two_answers_of_a_pipeline_is_a_lost_connection() -> None:
    connection.ensure_connection()
    unanswered = connection.connection.pgconn.make_empty_result(ExecStatus.FATAL_ERROR)
    with pytest.raises(DatabaseError) as raised, connection.wrap_database_errors:
        raise error_from_result(unanswered)
    assert type(raised.value) is DatabaseError
    assert database.is_connection_lost(raised.value)
