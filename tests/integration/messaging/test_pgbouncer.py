"""Behind PgBouncer in transaction mode all works: the verbs over HTTP, the messages, the relay and the jobs."""

import itertools
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from inventory_project.foundation import database
from tests import factories
from tests.factories import SP
from tests.integration.faults.shoppers import Shopper
from tests.integration.messaging.faults.commands import Command
from tests.integration.messaging.shops import Shop, order_of
from tests.processes import Worker
from tests.servers import PgBouncer, Postgres
from tests.service import KEY, Service, environment, manage, wait_until

SECONDS = 60.0 if os.environ.get("TEST_SOAK") else 6.0
LIMITS = {"lock_timeout": "2s", "statement_timeout": "5s", "idle_in_transaction_session_timeout": "5s"}
JOBS = (("expire_reservations",), ("audit_stock",))
Env = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="inventory-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL's user must get through to its own folder inside
        with Postgres(folder) as server:
            migrated = manage("migrate", "--verbosity", "0", env=environment(DATABASE_URL=server.url, SECRET_KEY=KEY))
            assert migrated.returncode == 0, migrated.stderr
            yield server


@pytest.fixture
def pooler(postgres: Postgres) -> Iterator[PgBouncer]:
    """PgBouncer before a database whose role has the limits."""
    with psycopg.connect(postgres.url, autocommit=True) as session:
        for name, value in LIMITS.items():
            session.execute(f"ALTER ROLE inventory IN DATABASE postgres SET {name} = '{value}'")
    with PgBouncer(postgres.folder.parent, postgres) as server:
        yield server


@pytest.fixture
def env(postgres: Postgres, pooler: PgBouncer, clean_queues: str) -> Env:
    def of(**values: object) -> dict[str, str]:
        urls = {"DATABASE_URL": pooler.url, "DATABASE_SESSION_URL": postgres.url, "RABBITMQ_URL": clean_queues}
        return environment(
            DATABASE_POOLER="on",
            SECRET_KEY=KEY,
            INVENTORY_API_AUTH="off",
            LOG_LEVEL="WARNING",
            **{**urls, **values},
        )

    return of


def buy(shopper: Shopper, product_id: UUID, verb: str) -> None:
    reservation_id = shopper.reserve(product_id)
    if reservation_id is not None and verb != "keep":
        shopper.settle(reservation_id, verb)


def test_the_verbs_the_messages_the_relay_and_the_jobs_work_behind_it(
    env: Env, postgres: Postgres, shop: Shop, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        clerk = stack.enter_context(Worker(DATABASE_URL=postgres.url))
        product_id = clerk.run(partial(a_product, 100_000))
        service = stack.enter_context(Service(env=env(WEB_WORKERS=2, WEB_THREADS=8), log=tmp_path / "serve.log"))
        for name in ("publish_events", "consume_events"):
            stack.enter_context(Command(name, env=env(), log=tmp_path / f"{name}.log")).wait_for("working")
        shoppers = [Shopper(number, service.port) for number in range(8)]
        orders: list[UUID] = []
        end = time.monotonic() + SECONDS
        with ThreadPoolExecutor(len(shoppers)) as pool:
            for turn in itertools.count():
                if time.monotonic() > end:
                    break
                verb = ("confirm", "cancel", "keep")[turn % 3]
                list(pool.map(lambda shopper, verb=verb: buy(shopper, product_id, verb), shoppers))
                order_id = uuid4()
                orders.append(order_id)
                shop.say("order.created", order_of(order_id, {product_id: 1}))
                shop.say("payment.confirmed", order_of(order_id))
        told = Counter((one.status, one.word) for shopper in shoppers for one in shopper.told)
        assert set(told) == {(201, "ACTIVE"), (200, "CONFIRMED"), (200, "CANCELLED")}
        for order_id in orders:
            shop.wait_for(order_id, "inventory.reserved", "inventory.confirmed")
        for job in JOBS:
            done = manage(*job, env=env())
            assert done.returncode == 0, done.stdout + done.stderr
        assert clerk.run(factories.broken_invariants) == []
    with psycopg.connect(postgres.url, autocommit=True) as session:
        assert session.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)


def a_product(units: int) -> UUID:
    return factories.product({SP: units}).pk


def test_the_relay_refuses_to_keep_its_lock_in_a_session_that_others_share(env: Env, tmp_path: Path) -> None:
    with Command("publish_events", env=env(DATABASE_SESSION_URL=""), log=tmp_path / "relay.log") as relay:
        relay.wait_for("waiting", "set DATABASE_SESSION_URL")


def test_a_job_that_runs_twice_at_once_behind_it_runs_once(env: Env, pooler: PgBouncer) -> None:
    urls = env()
    with Worker(**urls) as first, Worker(**urls) as second:
        assert first.run(partial(lock_taken, "audit_stock")) is True
        with ThreadPoolExecutor(1) as pool:
            held = pool.submit(first.run, partial(hold_lock, "audit_stock", 3.0))
            wait_until(lambda: second.run(partial(lock_taken, "audit_stock")) is False, "the lock is held")
            assert held.result() is True
        assert second.run(partial(lock_taken, "audit_stock")) is True


def lock_taken(name: str) -> bool:
    with database.process_lock(name) as is_ours:
        return is_ours


def hold_lock(name: str, seconds: float) -> bool:
    with database.process_lock(name) as is_ours:
        time.sleep(seconds)
        return is_ours


def test_a_role_without_the_limits_is_refused_with_the_reason(env: Env, postgres: Postgres, pooler: PgBouncer) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as session:
        session.execute("ALTER ROLE inventory IN DATABASE postgres RESET lock_timeout")
        session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    done = manage("audit_stock", env=env())
    assert done.returncode == 1
    assert "The session's time limits" in done.stderr


def test_migrations_go_past_it(env: Env) -> None:
    done = manage("migrate", env=env())
    assert done.returncode == 1
    assert "Migrations need PostgreSQL itself" in done.stderr
