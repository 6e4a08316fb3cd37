"""On a database that was never analyzed, no statement of a verb reads a whole table that grows."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connection

from inventory_project.foundation import database
from reservations import lifecycle
from tests.db.reservations import test_statements as batches
from tests.db.reservations import verbs

pytestmark = pytest.mark.usefixtures("books")

SIZE = 64
GROWING = ("reservation", "reservation_item", "stock_level", "stock_movement", "stock_product", "outbox_event")
VERBS: list[tuple[batches.Verb, Callable[[int], Sequence[Any]]]] = [
    (lifecycle.reserve_many, batches.wishes),
    (lifecycle.reserve_many, batches.wishes_for_what_is_overdue),
    (lifecycle.confirm_many, batches.confirms),
    (lifecycle.confirm_many, batches.partial_confirms),
    (lifecycle.cancel_many, batches.cancels),
    (lifecycle.expire_many, batches.expiries),
    (lifecycle.extend_many, batches.extensions),
    (lifecycle.return_many, batches.returns),
    (lifecycle.pay_many, batches.payments),
    (lifecycle.pay_many, batches.late_payments),
    (verbs.call_off_many, batches.call_offs),
    (verbs.call_off_many, batches.call_offs_of_a_part),
    (verbs.call_off_many, batches.call_offs_of_what_was_paid),
]


def scans() -> dict[str, int]:
    """How often each table has been read as a whole, by this session too."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY(%s)", [list(GROWING)])
        return dict(cursor.fetchall())


@pytest.mark.parametrize(("verb", "requests"), VERBS)
def test_no_verb_reads_a_whole_table(verb: batches.Verb, requests: Callable[[int], Sequence[Any]]) -> None:
    asked = requests(SIZE)
    scans()  # so that this session has nothing left to report
    database.drop_session()  # the next one has no plans yet
    before = scans()
    assert set(verbs.codes(verb, *asked)) == {"new"}
    assert {table: number - before[table] for table, number in scans().items() if number != before[table]} == {}
