"""Redis frozen, stopped or refusing writes, before a sync or in its middle: it says so, and the next one mends."""

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from django.db import OperationalError, connection
from prometheus_client import REGISTRY
from pytest_django import Settings
from redis import Redis

from inventory_project.foundation.breaker import Breaker
from inventory_project.foundation.errors import Unavailable
from stock import availability
from stock.counters import copies, drift, repair, sync
from tests import factories
from tests.factories import ACTOR, RJ, SP
from tests.servers import Redis as Server

pytestmark = pytest.mark.usefixtures("transactional_db")

NUMBER = 6
NO_ANSWER = "Redis does not answer, or takes no writes."


@pytest.fixture
def products(client: Redis, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """Some products, not yet in the counters, a chunk each."""
    monkeypatch.setattr(drift, "CHUNK_LEVELS", 2)
    monkeypatch.setattr(copies, "breaker", Breaker("Redis", open_seconds=0.1))
    made = [factories.product({SP: 5, RJ: 5}).pk for _ in range(NUMBER)]
    client.flushall()
    return made


def are_right(product_ids: list[UUID]) -> bool:
    return copies.read(product_ids) == availability.views_of(product_ids)


def failures() -> float:
    return REGISTRY.get_sample_value("inventory_sync_failures_total") or 0.0


def last_success() -> float | None:
    labels = {"job": sync.JOB}
    return REGISTRY.get_sample_value("inventory_job_last_success_timestamp_seconds", labels)


Stop = Callable[[Server], object]
Mend = Callable[[Server], object]


def freeze(server: Server) -> None:
    server.send(signal.SIGSTOP)


def thaw(server: Server) -> None:
    server.send(signal.SIGCONT)


def refuse_writes(server: Server) -> None:
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 1)


def start(server: Server) -> None:
    server.start()
    server.wait_until_ready()


def take_writes(server: Server) -> None:
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 0)


FAULTS: dict[str, tuple[Stop, Mend]] = {
    "frozen": (freeze, thaw),
    "stopped": (Server.stop, start),
    "refusing writes": (refuse_writes, take_writes),
}


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest, redis_server: Server) -> Iterator[tuple[Stop, Mend]]:
    """What is done to Redis, and undone in the end, whatever the test did."""
    stop, mend = FAULTS[request.param]
    yield stop, mend
    thaw(redis_server) if redis_server.process else start(redis_server)
    take_writes(redis_server)


@pytest.mark.parametrize("begin", [sync.sync, sync.run_periodic])
def test_a_sync_without_redis_fails_with_one_sentence_and_the_next_one_mends_everything(
    products: list[UUID], redis_server: Server, fault: tuple[Stop, Mend], begin: Callable[[], object]
) -> None:
    stop, mend = fault
    stop(redis_server)
    failed, succeeded = failures(), last_success()
    began = time.monotonic()
    with pytest.raises(Unavailable) as refusal:
        begin()
    assert time.monotonic() - began < 5
    assert refusal.value.detail.startswith(NO_ANSWER)
    assert refusal.value.detail.endswith("levels had been compared and 0 products repaired.")
    assert refusal.value.code == "redis_unavailable"
    assert (failures(), last_success()) == (failed + 1, succeeded)
    mend(redis_server)
    time.sleep(0.1)
    begin()
    assert are_right(products)


def test_a_redis_lost_in_the_middle_ends_all_workers_and_what_was_done_is_told(
    products: list[UUID], redis_server: Server, fault: tuple[Stop, Mend]
) -> None:
    stop, mend = fault
    done: list[int] = []

    def strike(levels: int) -> None:
        done.append(levels)
        if len(done) == 3:
            stop(redis_server)

    with pytest.raises(Unavailable) as refusal:
        sync.sync(on_progress=strike)
    compared, repaired = map(int, re.findall(r"\d+", refusal.value.detail))
    assert (compared, repaired) == (sum(done), len(done))
    assert 3 <= len(done) < NUMBER
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("sync")] == []
    mend(redis_server)
    time.sleep(0.1)
    kept = 0 if stop is Server.stop else repaired  # stopped, it loses all
    assert sync.sync().repaired <= NUMBER - kept  # what was on its way to a frozen one has arrived
    assert are_right(products)


def test_a_moment_without_an_answer_does_not_end_a_sync(
    products: list[UUID], redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "PAUSES_SECONDS", (0.3,))
    freeze(redis_server)
    thawing = threading.Timer(0.15, thaw, [redis_server])
    thawing.start()
    assert sync.sync(product_ids=products).repaired == NUMBER
    thawing.join()


def test_a_forced_repair_that_cannot_write_leaves_no_counters_rather_than_wrong_ones(
    products: list[UUID], client: Redis, redis_server: Server
) -> None:
    sync.sync()
    client.hset(f"stock:{products[0]}", SP, "900000:999999:0:0:1:5")
    refuse_writes(redis_server)
    with pytest.raises(Unavailable):
        sync.reset(products[0], actor=ACTOR)
    take_writes(redis_server)
    assert copies.read(products[:1]) == {}
    assert availability.of_product(products[0]).available == 10


def test_a_database_that_fails_is_counted_and_raised(products: list[UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_chunk: object) -> object:
        raise OperationalError("the server closed the connection unexpectedly")

    failed = failures()
    with monkeypatch.context() as patch:
        patch.setattr(drift, "expected", fail)
        with pytest.raises(OperationalError):
            sync.sync()
    assert failures() == failed + 1
    assert sync.sync().repaired == NUMBER


def test_no_session_is_left_by_the_workers(products: list[UUID], settings: Settings) -> None:
    settings.SYNC_WORKERS = 4
    sync.sync()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        assert cursor.fetchone() == (0,)
    stats = connection.pool.get_stats()  # type: ignore[attr-defined]  # PostgreSQL's own
    assert stats["pool_size"] - stats["pool_available"] == 1  # the test's
