"""Too many callers for a slow database: some are told so at once, and the service still answers everybody else."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from reservations.models import Reservation
from tests import factories
from tests.integration.group_commit import callers
from tests.integration.group_commit.conftest import Serve
from tests.service import wait_until

THREADS = 8  # of which 6 may wait while batches are slow
CALLERS = 24
SLOW = "reserve.after_lock=sleep:1.5"
SENT_AWAY = 'inventory_group_commit_turned_away_total{reason="queue_full",verb="reserve"}'


@pytest.mark.usefixtures("books")
def test_while_batches_are_slow_those_too_many_are_sent_away_and_everybody_else_is_answered(serve: Serve) -> None:
    product = factories.product({factories.SP: 1_000})
    with serve(WEB_WORKERS=1, WEB_THREADS=THREADS, INVENTORY_CRASH_POINT=SLOW) as service:
        asked = [callers.reservation(product.pk) for _ in range(CALLERS)]
        with ThreadPoolExecutor(1) as threads:
            rush = threads.submit(callers.ask_at_once, service, asked)
            wait_until(lambda: service.metric(SENT_AWAY), "somebody is sent away")
            looked = service.ask("GET", f"{callers.API}/products/{product.pk}/availability")
            assert (looked.status, rush.done()) == (200, False)
            told = rush.result()
        sent_away = [answer for answer in told if answer.status == 503]
        assert len(sent_away) == service.metric(SENT_AWAY)
    assert len(sent_away) >= CALLERS - 2 * THREADS
    assert {(answer.word, answer.headers["Retry-After"]) for answer in sent_away} == {("overloaded", "1")}
    held = {UUID(answer.body["id"]) for answer in told if answer.status == 201}
    assert len(held) == CALLERS - len(sent_away)
    assert set(Reservation.objects.values_list("id", flat=True)) == held  # nothing of those who were sent away
