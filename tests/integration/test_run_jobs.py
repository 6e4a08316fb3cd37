"""`manage.py run_jobs`, the jobs of an installation without Celery: none holds up another, and SIGTERM is heard."""

import signal
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import psycopg
from django.db import connection

from inventory_project.foundation.database import database_now
from reservations import lifecycle
from reservations.models import Reservation
from tests import factories
from tests.service import KEY, MANAGE, Process, environment, url_of_test_database, wait_until

TRIES = 10


def run_jobs(log: Path, **values: object) -> Process:
    env = environment(DATABASE_URL=url_of_test_database(), SECRET_KEY=KEY, EXPIRY_INTERVAL_SECONDS=1, **values)
    return Process([sys.executable, str(MANAGE), "run_jobs"], env=env, log=log)


def states() -> Counter[str]:
    """How many reservations there are of each status."""
    return Counter(Reservation.objects.values_list("status", flat=True))


def test_sigterm_ends_the_jobs_after_the_batch_in_hand(transactional_db: None, tmp_path: Path) -> None:
    number = lifecycle.SWEEP_LIMIT + 1
    product = factories.product({factories.SP: number})
    lifecycle.reserve_many([factories.reserve_request(product.pk) for _ in range(number)])
    Reservation.objects.update(expires_at=database_now() - timedelta(seconds=1))
    with run_jobs(tmp_path / "jobs.log", INVENTORY_CRASH_POINT="sweep.after_batch=sleep:1") as jobs:
        wait_until(lambda: states()["EXPIRED"], "the first batch")
        assert jobs.stop(signal.SIGTERM) == 0
    assert states() == {"EXPIRED": lifecycle.SWEEP_LIMIT, "ACTIVE": 1}
    assert "Traceback" not in jobs.output
    assert factories.broken_invariants() == []


def waiting_audit() -> tuple[int, object] | None:
    """The session of an audit that waits for a lock, and since when it has run its statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, query_start FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock' AND query LIKE '%FROM stock_document_line%' AND pid <> pg_backend_pid()"
        )
        found: tuple[int, object] | None = cursor.fetchone()
    return found


def test_a_hold_ends_while_an_audit_takes_its_time(transactional_db: None, tmp_path: Path) -> None:
    product = factories.product({factories.SP: TRIES})
    with (
        psycopg.connect(url_of_test_database()) as somebody,
        run_jobs(tmp_path / "jobs.log", AUDIT_INTERVAL_SECONDS=1) as jobs,
    ):
        somebody.execute("LOCK TABLE stock_document_line IN ACCESS EXCLUSIVE MODE")
        # An audit gives up a lock after 2 s; on a slow machine it may take some tries until a hold ends within them.
        for _ in range(TRIES):
            held = factories.hold(product.pk)
            wait_until(waiting_audit, "an audit that waits")
            audit = waiting_audit()
            factories.make_overdue(held)
            wait_until(lambda id_=held.id: Reservation.objects.get(pk=id_).status == "EXPIRED", "released")  # type: ignore[misc]
            if audit is not None and waiting_audit() == audit:
                break
        else:
            raise AssertionError("no hold ended while an audit waited")
        assert jobs.stop(signal.SIGTERM) == 0
    assert factories.broken_invariants() == []
