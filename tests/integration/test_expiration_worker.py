"""`manage.py expire_reservations --forever`: holds end with PostgreSQL alone, and at once when it comes back."""

import json
import signal
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from inventory_project.foundation.database import database_now
from reservations import lifecycle
from reservations.models import Reservation
from tests import factories
from tests.processes import Worker
from tests.servers import Postgres, free_port
from tests.service import KEY, MANAGE, Process, environment, manage, url_of_test_database

BACK_SECONDS = 3  # from the return of the database to the end of what is overdue
AWAY_SECONDS = 8  # long enough for the longest pause between two tries


def worker(log: Path, **values: object) -> Process:
    """An expiration worker on the tests' database, unless told otherwise, with RabbitMQ and Redis away."""
    away = {
        "RABBITMQ_URL": f"amqp://guest:guest@127.0.0.1:{free_port()}//",
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
    }
    url = {"DATABASE_URL": url_of_test_database(), "SECRET_KEY": KEY, "EXPIRY_INTERVAL_SECONDS": 1}
    env = environment(**{**url, **away, **values})
    return Process([sys.executable, str(MANAGE), "expire_reservations", "--forever"], env=env, log=log)


def overdue_hold() -> Any:
    """The id of a hold whose time is up."""
    held = factories.hold(factories.product({factories.SP: 5}).pk)
    factories.make_overdue(held)
    return held.id


def statuses() -> Counter[str]:
    """How many reservations there are of each status."""
    return Counter(Reservation.objects.values_list("status", flat=True))


def answer(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
        return str(response.read().decode())


def test_holds_end_without_rabbitmq_and_redis_and_the_worker_tells_how_it_is(
    transactional_db: None, tmp_path: Path
) -> None:
    id_, port = overdue_hold(), free_port()
    with worker(tmp_path / "worker.log", EXPIRY_METRICS_PORT=port) as process:
        process.wait_until(lambda: Reservation.objects.get(pk=id_).status == "EXPIRED", "released")
        process.wait_until(lambda: json.loads(answer(port, "/health"))["state"] == "working", "working")
        metrics = answer(port, "/metrics")
        assert "inventory_reservations_expired 1.0" in metrics
        assert "inventory_expiry_left_behind 0.0" in metrics
        assert 'inventory_job_last_success_timestamp_seconds{job="expire_reservations"} ' in metrics
        assert 'inventory_process_state{process="expiry",state="working"} 1.0' in metrics
        assert process.stop(signal.SIGTERM) == 0
    assert "Traceback" not in process.output
    assert "expiry is stopped" in process.output
    assert factories.broken_invariants() == []


def test_sigterm_ends_the_worker_after_the_batch_in_progress(transactional_db: None, tmp_path: Path) -> None:
    number = lifecycle.SWEEP_LIMIT + 1
    product = factories.product({factories.SP: number})
    lifecycle.reserve_many([factories.reserve_request(product.pk) for _ in range(number)])
    Reservation.objects.update(expires_at=database_now() - timedelta(seconds=1))
    with worker(tmp_path / "worker.log", INVENTORY_CRASH_POINT="sweep.after_batch=sleep:5") as process:
        process.wait_until(lambda: statuses()["EXPIRED"], "the first batch")
        assert process.stop(signal.SIGTERM) == 0
    assert statuses() == {"EXPIRED": lifecycle.SWEEP_LIMIT, "ACTIVE": 1}
    assert "Traceback" not in process.output
    assert factories.broken_invariants() == []


def test_health_says_that_holds_are_left_behind(transactional_db: None, tmp_path: Path) -> None:
    stuck, free, port = overdue_hold(), overdue_hold(), free_port()
    with psycopg.connect(url_of_test_database()) as somebody:
        somebody.execute("SELECT 1 FROM reservation WHERE id = %s FOR UPDATE", [stuck])
        with worker(tmp_path / "worker.log", EXPIRY_METRICS_PORT=port) as process:
            process.wait_until(lambda: Reservation.objects.get(pk=free).status == "EXPIRED", "the other one released")
            process.wait_until(
                lambda: "Overdue holds left behind: 1. " in json.loads(answer(port, "/health"))["detail"], "told"
            )
            somebody.rollback()
            process.wait_until(lambda: json.loads(answer(port, "/health"))["detail"] == "", "nothing left behind")
    assert statuses() == {"EXPIRED": 2}


# --- the database away ---------------------------------------------------------------------------------------------


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    # Not a folder of pytest's: those are root's alone, and PostgreSQL's user must get through to its own inside.
    with tempfile.TemporaryDirectory(prefix="inventory-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with Postgres(folder) as server:
            yield server


def migrate(server: Postgres) -> None:
    done = manage("migrate", "--verbosity", "0", env=environment(DATABASE_URL=server.url, SECRET_KEY=KEY))
    assert done.returncode == 0, done.stderr


def status_at(server: Postgres, id_: Any) -> str:
    with psycopg.connect(server.url) as session:
        row = session.execute("SELECT status FROM reservation WHERE id = %s", [id_]).fetchone()
    assert row is not None
    return str(row[0])


def test_the_first_sweep_comes_within_seconds_of_the_databases_return(postgres: Postgres, tmp_path: Path) -> None:
    migrate(postgres)
    with Worker(DATABASE_URL=postgres.url) as clerk:
        first, later = clerk.run(overdue_hold), clerk.run(overdue_hold)
    with psycopg.connect(postgres.url) as session:
        session.execute("UPDATE reservation SET expires_at = 'infinity' WHERE id = %s", [later])
    with worker(tmp_path / "worker.log", DATABASE_URL=postgres.url) as process:
        process.wait_until(lambda: status_at(postgres, first) == "EXPIRED", "the first sweep")
        with psycopg.connect(postgres.url) as session:
            session.execute(
                "UPDATE reservation SET expires_at = clock_timestamp() + interval '3 seconds' WHERE id = %s", [later]
            )

        postgres.stop()
        time.sleep(AWAY_SECONDS)
        assert process.output.count("expiry waits; trying again in 1 s") >= 1
        postgres.start()
        postgres.wait_until_ready()

        back = time.monotonic()
        process.wait_until(lambda: status_at(postgres, later) == "EXPIRED", "the first sweep after the outage")
        assert time.monotonic() - back < BACK_SECONDS
        assert process.stop(signal.SIGTERM) == 0
    assert "Traceback" not in process.output


def test_a_worker_waits_for_the_migrations_and_stops_when_told(postgres: Postgres, tmp_path: Path) -> None:
    with worker(tmp_path / "worker.log", DATABASE_URL=postgres.url) as process:
        process.wait_until(lambda: "run `manage.py migrate` first" in process.output, "waits")
        migrate(postgres)
        process.wait_until(lambda: "expiry is working" in process.output, "working")
        postgres.stop()
        process.wait_until(lambda: "expiry is waiting The database cannot be used" in process.output, "waits again")
        assert process.stop(signal.SIGTERM) == 0
    assert "Traceback" not in process.output
