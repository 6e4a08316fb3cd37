"""PostgreSQL stopped, frozen, read-only, replaced by its standby, or set up otherwise: sales go on as soon as it can.

Each test has a server of its own and the real service before it.
"""

import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from django.conf import settings

from tests import factories
from tests.factories import SP
from tests.integration.faults.shoppers import Shopper, Told
from tests.processes import Worker
from tests.servers import Postgres
from tests.service import KEY, Service, environment, manage, wait_until

AWAY_SECONDS = 12  # long enough for psycopg's own waits between two tries, which double, to outlast the return
BUYERS = 8
Serve = Callable[..., Service]


@contextmanager
def a_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="inventory-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL's user must get through to its own folder inside
        yield folder


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with a_folder() as folder, Postgres(folder, fsync=True) as server:
        migrated = manage("migrate", "--verbosity", "0", env=environment(DATABASE_URL=server.url, SECRET_KEY=KEY))
        assert migrated.returncode == 0, migrated.stderr
        yield server


def a_product() -> UUID:
    return factories.product({SP: 100_000}).pk


@pytest.fixture
def product_id(postgres: Postgres) -> UUID:
    with Worker(DATABASE_URL=postgres.url) as clerk:
        made: UUID = clerk.run(a_product)
        return made


@pytest.fixture
def serve(postgres: Postgres, tmp_path: Path) -> Serve:
    """Starts the service at that server; RABBITMQ_URL is set so that it runs no periodic jobs."""

    def start(**values: object) -> Service:
        env = environment(
            **{
                "DATABASE_URL": postgres.url,
                "RABBITMQ_URL": settings.RABBITMQ_URL,
                "SECRET_KEY": KEY,
                "WEB_WORKERS": 2,
                "WEB_THREADS": 8,
                "INVENTORY_API_AUTH": "off",
                "LOG_LEVEL": "ERROR",
                **values,
            }
        )
        return Service(env=env, log=tmp_path / "serve.log")

    return start


class Buyers:
    """Buyers who try all the time, and when each was told what."""

    def __init__(self, service: Service, product_id: UUID) -> None:
        self.told: list[tuple[float, Told]] = []
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._buy, args=[Shopper(number, service.port), product_id])
            for number in range(BUYERS)
        ]

    def _buy(self, shopper: Shopper, product_id: UUID) -> None:
        while not self._is_over.wait(0.02):
            shopper.reserve(product_id)
            self.told.append((time.monotonic(), shopper.told[-1]))

    def __enter__(self) -> "Buyers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def has_bought_since(self, moment: float) -> bool:
        return any(told.status == 201 for when, told in self.told if when > moment)

    @property
    def answers(self) -> set[tuple[int, str]]:
        return {(told.status, told.word) for _, told in self.told}


UNAVAILABLE = {(503, "database_unavailable"), (503, "overloaded"), (503, "outcome_unknown")}


def seconds_to_the_first_sale(buyers: Buyers, since: float) -> float:
    wait_until(lambda: buyers.has_bought_since(since), "a sale")
    return min(when for when, told in buyers.told if told.status == 201 and when > since) - since


def is_ready(service: Service) -> bool:
    return service.ask("GET", "/health/ready").status == 200


def test_after_an_outage_the_first_sale_comes_within_three_seconds(
    serve: Serve, postgres: Postgres, product_id: UUID
) -> None:
    with serve() as service, Buyers(service, product_id) as buyers:
        wait_until(lambda: buyers.has_bought_since(0.0), "a sale")
        postgres.stop()
        wait_until(lambda: not is_ready(service), "not ready")
        time.sleep(AWAY_SECONDS)
        postgres.start()
        postgres.wait_until_ready()
        assert seconds_to_the_first_sale(buyers, time.monotonic()) < 3
        wait_until(lambda: is_ready(service), "ready")
    assert buyers.answers - {(201, "ACTIVE")} <= UNAVAILABLE


def test_while_it_is_away_nobody_waits_long_for_the_refusal(serve: Serve, postgres: Postgres, product_id: UUID) -> None:
    with serve() as service:
        shopper = Shopper(0, service.port)
        postgres.stop()
        shopper.reserve(product_id)  # notices it
        for _ in range(20):
            shopper.reserve(product_id)
        refusals = [told.seconds for told in shopper.told]
        assert {(told.status, told.word) for told in shopper.told} <= UNAVAILABLE
        assert sorted(refusals)[len(refusals) // 2] < 0.5  # one in a second tries, the others fail at once
        answer = service.ask("GET", f"/api/inventory/products/{product_id}")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


@contextmanager
def filled(postgres: Postgres) -> Iterator[None]:
    """Other clients have all sessions that the server allows."""
    with ExitStack() as sessions:
        with suppress(psycopg.OperationalError):
            while True:
                sessions.enter_context(psycopg.connect(postgres.url))
        yield


def test_a_full_server_serves_by_the_sessions_that_there_are(
    serve: Serve, postgres: Postgres, product_id: UUID
) -> None:
    with serve(WEB_WORKERS=1) as service:
        Shopper(0, service.port).reserve(product_id)
        with filled(postgres), ThreadPoolExecutor(BUYERS) as threads:
            path = f"/api/inventory/products/{product_id}"
            answers = list(threads.map(lambda _: service.ask("GET", path).status, range(400)))
    assert Counter(answers) == {200: 400}


def test_a_frozen_server_costs_no_caller_more_than_its_limit_and_the_process_stays_alive(
    serve: Serve, postgres: Postgres, product_id: UUID
) -> None:
    with serve(WEB_WORKERS=1) as service, Buyers(service, product_id) as buyers:
        wait_until(lambda: buyers.has_bought_since(0.0), "a sale")
        postgres.send(signal.SIGSTOP)
        try:
            since = time.monotonic()
            while time.monotonic() < since + 15:
                assert service.ask("GET", "/health/live").status == 200
                time.sleep(0.3)
            assert service.ask("GET", "/health/ready").status == 503
        finally:
            postgres.send(signal.SIGCONT)
        assert seconds_to_the_first_sale(buyers, time.monotonic()) < 3
    assert buyers.answers - {(201, "ACTIVE")} <= UNAVAILABLE
    assert max(told.seconds for _, told in buyers.told) < 25


def test_a_server_that_takes_no_writes_is_not_ready_and_sells_again_at_once_when_it_does(
    serve: Serve, postgres: Postgres, product_id: UUID
) -> None:
    with serve() as service, Buyers(service, product_id) as buyers:
        wait_until(lambda: buyers.has_bought_since(0.0), "a sale")
        with psycopg.connect(postgres.url, autocommit=True) as session:
            session.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
            end_sessions(session)
            wait_until(lambda: not is_ready(service), "not ready")
            time.sleep(2)
            session.execute("SET default_transaction_read_only = off")
            session.execute("ALTER DATABASE postgres RESET default_transaction_read_only")
        assert seconds_to_the_first_sale(buyers, time.monotonic()) < 3
    assert buyers.answers - {(201, "ACTIVE")} <= UNAVAILABLE


def end_sessions(session: psycopg.Connection) -> None:
    session.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'inventory-service'"
    )


def test_where_the_name_leads_to_a_standby_it_waits_and_sells_within_two_seconds_of_the_promotion(
    serve: Serve, postgres: Postgres, product_id: UUID
) -> None:
    with a_folder() as folder, standby_of(postgres, folder) as standby:
        both = f"postgres://inventory@127.0.0.1:{postgres.port},127.0.0.1:{standby.port}/postgres"
        with serve(DATABASE_URL=both) as service, Buyers(service, product_id) as buyers:
            wait_until(lambda: buyers.has_bought_since(0.0), "a sale")
            postgres.send(signal.SIGKILL)
            wait_until(lambda: not is_ready(service), "not ready")
            time.sleep(2)  # the standby answers meanwhile, and takes no writes
            with psycopg.connect(standby.url, autocommit=True) as session:
                session.execute("SELECT pg_promote()")
            assert seconds_to_the_first_sale(buyers, time.monotonic()) < 2
            wait_until(lambda: is_ready(service), "ready")
        assert buyers.answers - {(201, "ACTIVE")} <= UNAVAILABLE


@contextmanager
def standby_of(primary: Postgres, folder: Path) -> Iterator[Postgres]:
    standby = Postgres(folder, fsync=True)
    standby.folder.mkdir()
    if standby.user is not None:
        subprocess.run(["chown", standby.user, standby.folder], check=True)
    subprocess.run(
        [str(standby.programs()[-1] / "pg_basebackup"), "--dbname", primary.url, "--write-recovery-conf",
         "--checkpoint=fast", "--pgdata", str(standby.folder / "data")],
        user=standby.user, cwd=standby.folder, check=True, capture_output=True,
    )  # fmt: skip
    with standby:
        yield standby


@pytest.mark.parametrize(
    "default",
    [
        "default_transaction_isolation = 'repeatable read'",
        "default_transaction_isolation = 'serializable'",
        "datestyle = 'SQL, DMY'",
        "datestyle = 'German'",
    ],
)
def test_the_servers_own_defaults_change_nothing(
    serve: Serve, postgres: Postgres, product_id: UUID, default: str
) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as session:
        session.execute(f"ALTER DATABASE postgres SET {default}")
    with serve() as service, Buyers(service, product_id) as buyers:
        since = time.monotonic()
        wait_until(lambda: len(buyers.told) > 200, "two hundred answers")
        assert buyers.has_bought_since(since)
    assert buyers.answers == {(201, "ACTIVE")}
