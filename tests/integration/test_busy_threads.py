"""All threads of Django wait, and those who buy, read or check the health notice nothing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from reservations.models import Reservation
from tests import factories
from tests.integration.group_commit.callers import API, Line, reservation
from tests.integration.group_commit.conftest import serving
from tests.service import Service, url_of_test_database, wait_until

THREADS, VISITS, PURCHASES = 4, 24, 20
WAITING = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"""


def visit(service: Service) -> int:
    """Ask for a page of the admin, which waits for the table of sessions; the status."""
    return service.ask("GET", "/admin/", Cookie=f"sessionid={'a' * 32}").status


@contextmanager
def sessions_locked() -> Iterator[psycopg.Connection[object]]:
    with psycopg.connect(url_of_test_database()) as session:
        session.execute("SET idle_in_transaction_session_timeout = 0")
        session.execute("LOCK TABLE django_session IN ACCESS EXCLUSIVE MODE")
        yield session


@pytest.mark.usefixtures("transactional_db")
def test_while_all_threads_of_django_wait_sales_reads_and_health_checks_go_on(tmp_path: Path) -> None:
    product = factories.product({factories.SP: 1_000})
    redis = {"REDIS_URL": settings.REDIS_URL}
    with (
        serving(tmp_path / "serve.log", WEB_WORKERS=1, WEB_THREADS=THREADS, **redis) as service,
        ThreadPoolExecutor(VISITS) as threads,
    ):
        path = f"{API}/products/{product.pk}/availability"
        assert service.ask("GET", path).status == 200  # the counters are filled
        with sessions_locked() as session, psycopg.connect(url_of_test_database(), autocommit=True) as watch:
            visits = [threads.submit(visit, service) for _ in range(VISITS)]

            def is_full() -> bool:
                row = watch.execute(WAITING).fetchone()
                return row is not None and int(row[0]) >= THREADS

            wait_until(is_full, "all threads of Django wait")
            line = Line(service.port)
            for _ in range(PURCHASES):
                assert line.ask(reservation(product.pk)).status == 201
                assert line.send("GET", path).status == 200
                assert line.send("GET", "/health/live").status == 200
            assert service.ask("GET", "/health/ready").status == 200
            assert not all(one.done() for one in visits)
            line.close()
            session.rollback()
        assert {one.result() for one in visits} <= {302, 500, 503}  # refused, or kept waiting for too long
    assert Reservation.objects.count() == PURCHASES
    assert factories.broken_invariants() == []
