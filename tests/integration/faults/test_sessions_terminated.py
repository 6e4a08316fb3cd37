"""PostgreSQL ends ten sessions a second while the service is under load (F10)."""

import time
from collections import Counter
from functools import partial
from uuid import UUID

import pytest
from django.db import connection

from reservations.models import Reservation
from tests import factories
from tests.integration.faults import clients
from tests.integration.faults.sessions import Sessions
from tests.integration.races import contestants
from tests.processes import Crowd, Guard

PAUSE_SECONDS = 0.1
UNAVAILABLE = {"overloaded", "outcome_unknown", "database_unavailable"}
# In the middle of a batch, for what is between two batches the pool replaces unseen. Chosen and ended by one
# statement: a batch that was seen is often over before a second statement arrives.
TERMINATE_A_BUSY_SESSION = """
    SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM (
        SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s) AND state <> 'idle' ORDER BY random() LIMIT 1
    ) AS busy
"""


def terminate_sessions_under_load(
    crowd: Crowd, sessions: Sessions, *without: Guard, seconds: float
) -> tuple[int, dict[UUID, str], Counter[str]]:
    """How many sessions were ended, the reservations as acknowledged to eight clients, and what else they were told."""
    product_ids = [factories.product({factories.SP: 100_000}).pk for _ in range(4)]
    client = partial(clients.reserve_and_confirm_steadily, product_ids, seconds=seconds)
    crowd.begin([client] * 8, within=without)
    terminated = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(TERMINATE_A_BUSY_SESSION, [[session.pid for session in sessions()]])
            if not cursor.fetchone()[0]:
                continue
        terminated += 1
        time.sleep(PAUSE_SECONDS)
    acknowledged: dict[UUID, str] = {}
    otherwise: Counter[str] = Counter()
    for states, words in crowd.answers():
        acknowledged |= states
        otherwise += words
    return terminated, acknowledged, otherwise


@pytest.mark.usefixtures("books")
def test_repeats_absorb_lost_sessions_and_nothing_acknowledged_is_lost(sessions: Sessions) -> None:
    with Crowd(2) as crowd:
        terminated, acknowledged, otherwise = terminate_sessions_under_load(crowd, sessions, seconds=2.5)
        repeated = sum(crowd.each(partial(contestants.failed_batches, "repeated")))
    assert otherwise.keys() <= UNAVAILABLE
    assert terminated >= 15
    assert repeated >= terminated * 0.75
    assert otherwise.total() < repeated / 2
    books = dict(Reservation.objects.filter(pk__in=acknowledged).values_list("id", "status"))
    assert books.keys() == acknowledged.keys()
    assert {books[id_] for id_, status in acknowledged.items() if status == "CONFIRMED"} == {"CONFIRMED"}


@pytest.mark.usefixtures("books")
def test_control_without_repeats_the_callers_see_database_errors(sessions: Sessions) -> None:
    with Crowd(1) as crowd:
        _, _, otherwise = terminate_sessions_under_load(crowd, sessions, clients.without_repeating, seconds=0.5)
    assert otherwise["OperationalError"] > 0
