"""On a database that was never analyzed, no statement of a verb reads a whole table that grows."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connection

from inventory_project.foundation import database
from tests.db.reservations import verbs
from tests.db.reservations.test_statements import BATCHES, Verb

pytestmark = pytest.mark.usefixtures("books")

SIZE = 64
GROWING = ("reservation", "reservation_item", "stock_level", "stock_movement", "stock_product", "outbox_event")


def scans() -> dict[str, int]:
    """How often each table has been read as a whole, by this session too."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY(%s)", [list(GROWING)])
        return dict(cursor.fetchall())


@pytest.mark.parametrize(("verb", "requests"), [(verb, requests) for verb, requests, _ in BATCHES])
def test_no_verb_reads_a_whole_table(verb: Verb, requests: Callable[[int], Sequence[Any]]) -> None:
    asked = requests(SIZE)
    scans()  # so that this session has nothing left to report
    database.drop_session()  # the next one has no plans yet
    before = scans()
    assert set(verbs.codes(verb, *asked)) == {"new"}
    assert {table: number - before[table] for table, number in scans().items() if number != before[table]} == {}
