"""`manage.py run_jobs`, the jobs of an installation without Celery: none holds up another, and SIGTERM is heard."""

import signal
import sys
from pathlib import Path

import psycopg
from django.db import connection

from inventory_project.foundation.messaging.models import OutboxEvent
from tests import factories
from tests.service import KEY, MANAGE, Process, environment, url_of_test_database, wait_until

TRIES = 10


def run_jobs(log: Path, **values: object) -> Process:
    env = environment(DATABASE_URL=url_of_test_database(), SECRET_KEY=KEY, **values)
    return Process([sys.executable, str(MANAGE), "run_jobs"], env=env, log=log)


def waiting_audit() -> tuple[int, object] | None:
    """The session of an audit that waits for a lock, and since when it has run its statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, query_start FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock' AND query LIKE '%stock_document_line%' AND pid <> pg_backend_pid()"
        )
        found: tuple[int, object] | None = cursor.fetchone()
    return found


def test_events_leave_while_an_audit_takes_its_time_and_sigterm_ends_both(
    transactional_db: None, tmp_path: Path
) -> None:
    product = factories.product({factories.SP: TRIES})
    with (
        psycopg.connect(url_of_test_database()) as somebody,
        run_jobs(tmp_path / "jobs.log", AUDIT_INTERVAL_SECONDS=1) as jobs,
    ):
        somebody.execute("LOCK TABLE stock_document_line IN ACCESS EXCLUSIVE MODE")
        # An audit gives up a lock after 2 s; on a slow machine it may take some tries until an event leaves in them.
        for _ in range(TRIES):
            wait_until(waiting_audit, "an audit that waits")
            audit = waiting_audit()
            factories.hold(product.pk)
            wait_until(lambda: not OutboxEvent.objects.waiting().exists(), "written to the log")
            if audit is not None and waiting_audit() == audit:
                break
        else:
            raise AssertionError("no event left while an audit waited")
        assert jobs.stop(signal.SIGTERM) == 0
    assert factories.broken_invariants() == []
