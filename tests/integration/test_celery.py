"""Celery on RabbitMQ does the periodic work, and /health says which server is away."""

import http.client
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pika
import pytest
from django.conf import settings
from django.db import connection, transaction
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from kombu import Connection
from kombu.simple import SimpleQueue

from inventory_project.celery import app
from tests import amqp, factories
from tests.servers import Postgres, RabbitMQ, Redis, free_port
from tests.service import (
    KEY,
    MANAGE,
    PATIENCE_SECONDS,
    Process,
    Service,
    environment,
    manage,
    url_of_test_database,
    wait_until,
)

CELERY = [sys.executable, "-m", "celery", "--app", "inventory_project", "--quiet"]
RETIRED_TASK = "reservations.tasks.expire_reservations"
BEAT = [*CELERY, "beat", "--loglevel", "WARNING", "--pidfile", ""]
WORKER = [
    *(*CELERY, "worker", "--pool", "solo", "--loglevel", "WARNING"),
    *("--without-gossip", "--without-mingle"),
]
AUDITED = 'inventory_job_last_success_timestamp_seconds{job="audit_stock"} '


def tasks(broker: Connection) -> SimpleQueue:
    """The queue of the workers, declared as they declare it."""
    queue: Any = app.amqp.queues[settings.CELERY_TASK_DEFAULT_QUEUE]  # the stubs know queues by name only
    return broker.SimpleQueue(queue)


@pytest.fixture
def empty_queue() -> None:
    """No task of an earlier run waits at the broker."""
    with Connection(settings.RABBITMQ_URL) as broker:
        queue = tasks(broker)
        queue.clear()
        queue.close()


def test_worker_and_beat_run_the_audit_and_forget_the_task_of_the_version_before(
    transactional_db: None, empty_queue: None, tmp_path: Path
) -> None:
    env = environment(
        DATABASE_URL=url_of_test_database(),
        RABBITMQ_URL=settings.RABBITMQ_URL,
        SECRET_KEY=KEY,
        AUDIT_INTERVAL_SECONDS=1,
        WORKER_METRICS_PORT=(port := free_port()),
        INVENTORY_HOST="127.0.0.2",
    )
    every_second = IntervalSchedule.objects.create(every=1, period="seconds")
    for name, task in (("expire_reservations", RETIRED_TASK), ("ours", "reservations.tasks.audit_stock")):
        PeriodicTask.objects.create(name=name, task=task, interval=every_second)
    with (
        Process(BEAT, env=env, log=tmp_path / "beat.log") as beat,
        Process(WORKER, env=env, log=tmp_path / "worker.log") as worker,
    ):
        beat.wait_until(lambda: not PeriodicTask.objects.filter(task=RETIRED_TASK).exists(), "forgotten")
        worker.wait_until(lambda: is_listening("127.0.0.2", port), "serves its metrics")
        worker.wait_until(lambda: AUDITED in metrics_of("127.0.0.2", port), "audited")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
        assert (beat.stop(signal.SIGTERM), worker.stop(signal.SIGTERM)) == (0, 0)
    assert PeriodicTask.objects.filter(name="ours").exists()
    assert "Traceback" not in worker.output + beat.output


MALFORMED = {
    "a content type without a meaning": pika.BasicProperties(
        content_type="application/data", headers={"task": "reservations.tasks.audit_stock", "id": "1"}, delivery_mode=2
    ),
    "a moment that no calendar has": amqp.RawHeaders(amqp.header("at", amqp.moment(2**63)), delivery_mode=2),
}


def number_of_tasks(broker: pika.BlockingConnection) -> int:
    """How many tasks wait once no worker is there."""

    def look() -> tuple[int, int]:
        found = broker.channel().queue_declare(settings.CELERY_TASK_DEFAULT_QUEUE, passive=True).method
        return found.consumer_count, found.message_count

    wait_until(lambda: look()[0] == 0, "no worker is there")
    return look()[1]


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_task_that_ends_its_worker_three_times_is_dropped_and_the_next_one_is_run(
    transactional_db: None, empty_queue: None, tmp_path: Path, kind: str
) -> None:
    env = environment(
        DATABASE_URL=url_of_test_database(),
        RABBITMQ_URL=settings.RABBITMQ_URL,
        SECRET_KEY=KEY,
        WORKER_METRICS_PORT=(port := free_port()),
        INVENTORY_HOST="127.0.0.1",
    )
    ends = 0
    with closing(pika.BlockingConnection(pika.URLParameters(settings.RABBITMQ_URL))) as broker:
        broker.channel().basic_publish("", settings.CELERY_TASK_DEFAULT_QUEUE, b"x", MALFORMED[kind])
        wait_until(lambda: number_of_tasks(broker) == 1, "sent")
        while ends < 6 and number_of_tasks(broker):
            with Process(WORKER, env=env, log=tmp_path / f"worker-{ends}.log") as worker:
                worker.process.wait(PATIENCE_SECONDS)  # it ends by itself
            ends += 1

    assert ends == 3
    app.send_task("reservations.tasks.audit_stock")
    with Process(WORKER, env=env, log=tmp_path / "worker.log") as worker:
        worker.wait_until(lambda: is_listening("127.0.0.1", port), "serves its metrics")
        worker.wait_until(lambda: AUDITED in metrics_of("127.0.0.1", port), "audited")
        assert worker.stop(signal.SIGTERM) == 0


def is_listening(host: str, port: int) -> bool:
    with suppress(OSError):
        socket.create_connection((host, port)).close()
        return True
    return False


def test_a_task_expires_so_that_a_worker_that_was_away_does_not_find_thousands(
    transactional_db: None, empty_queue: None, tmp_path: Path
) -> None:
    env = environment(
        DATABASE_URL=url_of_test_database(),
        RABBITMQ_URL=settings.RABBITMQ_URL,
        SECRET_KEY=KEY,
        AUDIT_INTERVAL_SECONDS=1,
    )
    with Process(BEAT, env=env, log=tmp_path / "beat.log"), Connection(settings.RABBITMQ_URL) as broker:
        queue = tasks(broker)
        message = queue.get(timeout=PATIENCE_SECONDS)
        message.ack()
        queue.close()
    assert message.headers["task"] == "reservations.tasks.audit_stock"
    life = datetime.fromisoformat(message.headers["expires"]) - datetime.now(UTC)
    assert 30 < life.total_seconds() <= 60


def waits_for_the_jobs() -> bool:
    """Whether any session waits until it may lock beat's table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'django_celery_beat_periodictask'::regclass"
        )
        return bool(cursor.fetchone()[0])


def test_beat_stops_in_the_middle_of_a_transaction(transactional_db: None, empty_queue: None, tmp_path: Path) -> None:
    env = environment(DATABASE_URL=url_of_test_database(), RABBITMQ_URL=settings.RABBITMQ_URL, SECRET_KEY=KEY)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor.execute("LOCK TABLE django_celery_beat_periodictask IN EXCLUSIVE MODE")
        with Process(BEAT, env=env, log=tmp_path / "beat.log") as beat:
            beat.wait_until(waits_for_the_jobs, "waits to record its jobs")

            code = beat.stop(signal.SIGTERM)

    assert code == 0


def test_beat_stops_while_rabbitmq_is_frozen(transactional_db: None, tmp_path: Path) -> None:
    with RabbitMQ(tmp_path) as rabbitmq:
        env = environment(
            DATABASE_URL=url_of_test_database(), RABBITMQ_URL=rabbitmq.url, SECRET_KEY=KEY, AUDIT_INTERVAL_SECONDS=1
        )
        with Process(BEAT, env=env, log=tmp_path / "beat.log") as beat:
            with Connection(rabbitmq.url) as broker:
                queue = tasks(broker)
                queue.get(timeout=PATIENCE_SECONDS).ack()
                queue.close()
            rabbitmq.send(signal.SIGSTOP)

            code = beat.stop(signal.SIGTERM)

    assert code == 0


def metrics_of(host: str, port: int) -> str:
    """What a worker shows on its metrics port."""
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10) as response:
        return str(response.read().decode())


def health_of(service: Service) -> tuple[int, str, dict[str, str]]:
    answer = service.ask("GET", "/health")
    body = answer.json()
    return answer.status, body["status"], body["parts"]


def test_health_names_each_part_and_is_degraded_without_redis_or_rabbitmq(
    transactional_db: None, tmp_path: Path
) -> None:
    product = factories.product({factories.SP: 10})
    with Redis(tmp_path) as redis_server:
        env = environment(
            DATABASE_URL=url_of_test_database(),
            REDIS_URL=redis_server.url,
            RABBITMQ_URL=settings.RABBITMQ_URL,
            SECRET_KEY=KEY,
            WEB_WORKERS=1,
            INVENTORY_API_AUTH="off",
        )
        with Service(env=env, log=tmp_path / "serve.log") as service:
            well = {"database": "ok", "redis": "ok", "rabbitmq": "ok"}
            assert health_of(service) == (200, "ok", well)
            redis_server.stop()
            wait_until(lambda: health_of(service)[1] != "ok", "degraded")
            assert health_of(service) == (200, "degraded", well | {"redis": "down"})
            assert service.ask("GET", "/health/ready").status == 200
            assert service.ask("GET", f"/api/inventory/products/{product.pk}").status == 200

        broken = env | {"REDIS_URL": "", "RABBITMQ_URL": f"amqp://guest:guest@127.0.0.1:{free_port()}//"}
        with Service(env=broken, log=tmp_path / "without_rabbitmq.log") as service:
            assert health_of(service) == (200, "degraded", {"database": "ok", "rabbitmq": "down"})
            assert service.ask("GET", f"/api/inventory/products/{product.pk}").status == 200


def test_a_broker_that_accepts_and_never_answers_delays_health_by_a_second_and_ready_not_at_all(
    transactional_db: None, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = environment(
            DATABASE_URL=url_of_test_database(),
            RABBITMQ_URL=f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}//",
            SECRET_KEY=KEY,
            WEB_WORKERS=1,
            INVENTORY_API_AUTH="off",
        )
        with Service(env=env, log=tmp_path / "serve.log") as service, ThreadPoolExecutor() as threads:
            begun = time.monotonic()
            health = threads.submit(health_of, service)
            with silent.accept()[0]:  # the probe is at it
                assert service.ask("GET", "/health/ready").status == 200
                assert not health.done()
                assert health.result() == (200, "degraded", {"database": "ok", "rabbitmq": "down"})
            assert time.monotonic() - begun < 3  # the time-out of the client library would be 4


@pytest.fixture
def folder_for_postgres() -> Iterator[Path]:
    """A folder that the user postgres can get through; those of `tmp_path` are for their owner alone."""
    with tempfile.TemporaryDirectory(prefix="inventory-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def test_health_is_503_only_without_the_database_and_well_again_with_it(
    folder_for_postgres: Path, tmp_path: Path
) -> None:
    with Postgres(folder_for_postgres) as database:
        env = environment(
            DATABASE_URL=database.url, SECRET_KEY=KEY, WEB_WORKERS=1, INVENTORY_API_AUTH="off", LOG_FORMAT="console"
        )
        assert manage("migrate", "--verbosity", "0", env=env).returncode == 0
        with Service(env=env, log=tmp_path / "serve.log") as service:
            assert health_of(service) == (200, "ok", {"database": "ok"})
            database.stop()
            wait_until(lambda: health_of(service)[0] == 503, "down")
            assert health_of(service) == (503, "down", {"database": "down"})
            assert service.ask("GET", "/health/live").status == 200
            refused_at_every_door(service)
            database.start()
            database.wait_until_ready()
            wait_until(lambda: health_of(service)[0] == 200, "well again")
            assert service.ask("GET", "/api/inventory/products").status == 200


def serve_on(url: str, log: Path, *options: str, **values: object) -> tuple[Process, int]:
    """`manage.py serve` that need not be ready when the block begins, and its port."""
    port = free_port()
    given = {"DATABASE_URL": url, "SECRET_KEY": KEY, "WEB_WORKERS": 1, "INVENTORY_API_AUTH": "off", **values}
    env = environment(**given, INVENTORY_PORT=port)
    return Process([sys.executable, str(MANAGE), "serve", *options], env=env, log=log), port


def status_of(port: int, path: str) -> int:
    """The status of the answer; 0 while nobody answers."""
    web = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with suppress(OSError), closing(web):
        web.request("GET", path)
        return web.getresponse().status
    return 0


WAITS = "Requests are answered with 503 until it can be used."


def test_serve_starts_without_its_database_and_is_ready_once_that_answers(
    folder_for_postgres: Path, tmp_path: Path
) -> None:
    with Postgres(folder_for_postgres) as database:
        env = environment(DATABASE_URL=database.url, SECRET_KEY=KEY)
        assert manage("migrate", "--verbosity", "0", env=env).returncode == 0
        database.stop()
        serve, port = serve_on(database.url, tmp_path / "serve.log")
        with serve:
            serve.wait_until(lambda: status_of(port, "/health/live") == 200, "live")
            assert status_of(port, "/health/ready") == 503
            assert serve.output.count(WAITS) == 1
            assert "The database cannot be used: " in serve.output
            assert "Inventory Service on" not in serve.output

            database.start()
            database.wait_until_ready()

            serve.wait_until(lambda: status_of(port, "/health/ready") == 200, "ready")
            serve.wait_until(lambda: "Inventory Service on" in serve.output, "greeted")
            assert serve.output.count("because this is off: fsync, synchronous_commit") == 1
            assert serve.stop(signal.SIGTERM) == 0


def test_serve_ends_if_the_database_that_it_waited_for_is_not_migrated(
    folder_for_postgres: Path, tmp_path: Path
) -> None:
    with Postgres(folder_for_postgres) as database:
        database.stop()
        serve, port = serve_on(database.url, tmp_path / "serve.log")
        with serve:
            serve.wait_until(lambda: status_of(port, "/health/live") == 200, "live")
            database.start()
            assert serve.process.wait(PATIENCE_SECONDS) == 1
    assert serve.output.strip().splitlines()[-1] == (
        "CommandError: The database is not up to date: run `manage.py migrate` first."
    )
    assert status_of(port, "/health/live") == 0


def refused_at_every_door(service: Service) -> None:
    """Asks at the same time, for each answer comes only when the wait for a connection ends."""
    nobody = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"
    requests: list[tuple[str, str, object]] = [
        ("GET", "/api/inventory/products", None),
        ("POST", "/api/inventory/availability", {"product_ids": [nobody]}),
        ("POST", f"/api/inventory/reservations/{nobody}/confirm", {}),
    ]
    with ThreadPoolExecutor(max_workers=8) as threads:
        ready = threads.submit(service.ask, "GET", "/health/ready")
        is_up = threads.submit(service.metric, "inventory_database_up")
        for refused in threads.map(lambda request: service.ask(*request), requests):
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1"), refused.body
            assert refused.json()["code"] in ("database_unavailable", "overloaded")
        assert (ready.result().status, is_up.result()) == (503, 0)
