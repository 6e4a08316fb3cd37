"""Redis frozen, stopped, emptied, restarted or refusing writes: nothing fails, and nothing waits for long."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import redis
from django.test import Client
from django_redis import get_redis_connection
from prometheus_client import REGISTRY
from pytest_django import Settings

from inventory_project.foundation.breaker import Breaker
from stock.counters import copies
from tests import factories
from tests.factories import SP
from tests.integration.counters import looks
from tests.integration.counters.looks import standing, two_levels
from tests.processes import wait_until
from tests.servers import Redis

THREADS, CALLS = 16, 40
TIMEOUT_SECONDS = 0.05  # what a call waits at most
OPEN_SECONDS = 1.0
LONG_SECONDS = 0.9  # with the time-out in it on a busy machine; and sooner than an open breaker tries again


@pytest.fixture
def frozen(redis_server: Redis) -> Iterator[Redis]:
    """The connections are there and nothing answers, as with a machine that has hung itself up."""
    wait_until(lambda: copies.read_at([uuid4()]) is not None)
    redis_server.send(signal.SIGSTOP)
    yield redis_server
    redis_server.send(signal.SIGCONT)


@pytest.fixture
def page(redis_server: Redis, transactional_db: None, settings: Settings) -> Callable[[UUID], tuple[int, str]]:
    """Asks for a product's availability over HTTP; status and source."""
    settings.API_AUTH_ENABLED, settings.SECURE_SSL_REDIRECT = False, False
    client = Client(raise_request_exception=False)

    def ask(product_id: UUID) -> tuple[int, str]:
        answer = client.get(f"/api/inventory/products/{product_id}/availability")
        return answer.status_code, answer.json().get("source", "")

    return ask


def failures(operation: str, reason: str) -> float:
    labels = {"operation": operation, "reason": reason}
    return REGISTRY.get_sample_value("inventory_counter_failures_total", labels) or 0.0


def read_at_once() -> tuple[float, float]:
    """THREADS threads read CALLS times each; the seconds that all took, and the longest call."""
    longest = []

    def read() -> None:
        for _ in range(CALLS):
            began = time.monotonic()
            assert copies.read([uuid4()]) == {}
            longest.append(time.monotonic() - began)

    threads = [threading.Thread(target=read) for _ in range(THREADS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began, max(longest)


# --- frozen --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("frozen")
def test_of_16_threads_at_a_frozen_redis_each_waits_once_and_then_one_in_a_second(asked: list[int]) -> None:
    all_took, longest = read_at_once()
    assert len(asked) <= THREADS + 2 + (1 + all_took / OPEN_SECONDS)  # two may come back before the third failure
    assert longest < LONG_SECONDS
    assert all_took < CALLS * TIMEOUT_SECONDS / 2


@pytest.mark.usefixtures("frozen")
def test_control_without_the_breaker_each_call_of_each_thread_waits(
    asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "breaker", Breaker("Redis", failures_allowed=10**9))
    all_took, _ = read_at_once()
    assert len(asked) == THREADS * CALLS
    assert all_took > CALLS * TIMEOUT_SECONDS


@pytest.mark.usefixtures("frozen")
def test_a_frozen_redis_is_an_answer_to_every_call_and_never_an_error() -> None:
    product = two_levels()
    for _ in range(3):
        assert copies.publish([product], whole=True, hold_ends={uuid4(): timedelta(minutes=1)}) is False
        assert copies.read([product.product_id]) == {}
        assert copies.read_at([product.product_id]) is None
        assert copies.read_raw([product.product_id]) is None
        assert copies.probe([product.product_id]) is None
        assert copies.forget([product.product_id]) is False


@pytest.mark.usefixtures("frozen")
def test_the_failures_are_counted_by_what_they_were() -> None:
    no_answer, is_open = failures("read", "no_answer"), failures("read", "breaker_open")
    for _ in range(8):
        copies.read([uuid4()])
    assert failures("read", "no_answer") == no_answer + 3
    assert failures("read", "breaker_open") == is_open + 5


def test_availability_is_answered_from_the_database_while_redis_is_frozen(
    redis_server: Redis, page: Callable[[UUID], tuple[int, str]]
) -> None:
    product = factories.product({SP: 5})
    wait_until(lambda: page(product.pk) == (200, "counters"))
    redis_server.send(signal.SIGSTOP)
    try:
        for _ in range(5):
            began = time.monotonic()
            assert page(product.pk) == (200, "database")
            assert time.monotonic() - began < LONG_SECONDS
    finally:
        redis_server.send(signal.SIGCONT)
    wait_until(lambda: page(product.pk) == (200, "counters"), seconds=OPEN_SECONDS + 5)


def test_after_a_thaw_no_caller_gets_the_answer_to_another_call(redis_server: Redis) -> None:
    first, second = two_levels(available=1), two_levels(available=2)
    wait_until(lambda: copies.publish([first, second], whole=True))
    redis_server.send(signal.SIGSTOP)
    assert standing(first.product_id) is None
    redis_server.send(signal.SIGCONT)
    wait_until(lambda: standing(second.product_id) is not None)
    for _ in range(20):
        assert standing(second.product_id) in (second, None)  # None: a busy machine took longer than the time-out
        assert standing(first.product_id) in (first, None)


@pytest.mark.usefixtures("frozen")
def test_health_is_not_told_by_the_breaker(redis_server: Redis) -> None:
    for _ in range(4):
        copies.read([uuid4()])
    assert not copies.breaker.allows()
    assert not copies.is_reachable()
    redis_server.send(signal.SIGCONT)
    wait_until(copies.is_reachable, seconds=LONG_SECONDS)


# --- stopped, restarted, emptied -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
def test_a_redis_that_is_stopped_costs_nothing_and_is_used_again_when_it_is_back(
    redis_server: Redis, page: Callable[[UUID], tuple[int, str]]
) -> None:
    product = factories.product({SP: 5})
    page(product.pk)
    redis_server.stop()
    assert not copies.is_reachable()
    for _ in range(10):
        assert page(product.pk) == (200, "database")
    assert copies.publish([two_levels()], whole=True) is False
    redis_server.start()
    redis_server.wait_until_ready()
    wait_until(lambda: page(product.pk) == (200, "counters"), seconds=OPEN_SECONDS + 5)


@pytest.mark.usefixtures("patient")
def test_a_restart_between_two_calls_is_not_noticed(redis_server: Redis) -> None:
    product = two_levels()
    copies.publish([product], whole=True)
    redis_server.stop()
    redis_server.start()
    redis_server.wait_until_ready()
    assert standing(product.product_id) is None
    assert copies.publish([product], whole=True)  # the script is gone as well
    assert standing(product.product_id) == product


@pytest.mark.usefixtures("patient")
def test_an_emptied_redis_is_filled_again_by_who_reads(
    client: redis.Redis, page: Callable[[UUID], tuple[int, str]]
) -> None:
    product = factories.product({SP: 5})
    for _ in range(3):
        client.flushall()
        assert page(product.pk) == (200, "database")
        assert page(product.pk) == (200, "counters")


# --- refusing writes -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "refuse", [{"maxmemory-policy": "noeviction", "maxmemory": 1}, {"min-replicas-to-write": 1}], ids=["full", "alone"]
)
def test_a_redis_that_takes_no_writes_is_read_and_gives_no_probe(
    client: redis.Redis, refuse: dict[str, str | int]
) -> None:
    product = two_levels()
    copies.publish([product], whole=True)
    before = failures("publish", "refused"), failures("probe", "refused")
    for name, value in refuse.items():
        client.config_set(name, value)
    newer = two_levels(version=4, product_id=product.product_id)
    for _ in range(4):
        assert copies.publish([newer], whole=True) is False
        assert copies.probe([product.product_id]) is None
        assert standing(product.product_id) == product
    assert (failures("publish", "refused"), failures("probe", "refused")) == (before[0] + 4, before[1] + 4)
    for name in refuse:
        client.config_set(name, "noeviction" if name == "maxmemory-policy" else 0)
    assert copies.publish([newer], whole=True)
    assert copies.probe([product.product_id]) == {product.product_id}
    assert standing(product.product_id) == newer


@pytest.mark.usefixtures("patient")
def test_availability_over_http_does_not_mind_a_redis_that_is_full(
    client: redis.Redis, page: Callable[[UUID], tuple[int, str]]
) -> None:
    product = factories.product({SP: 5})
    client.flushall()
    client.config_set("maxmemory", 1)
    assert [page(product.pk) for _ in range(3)] == [(200, "database")] * 3


# --- the client ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("redis_server")
def test_the_client_repeats_nothing_by_itself_and_waits_no_longer_than_the_settings_say() -> None:
    pool = get_redis_connection("default").connection_pool
    connection = pool.get_connection()
    try:
        assert connection.retry.get_retries() == 0
        assert (connection.socket_timeout, connection.socket_connect_timeout) == (TIMEOUT_SECONDS, TIMEOUT_SECONDS)
        assert connection.health_check_interval == 0
    finally:
        pool.release(connection)


def test_without_a_redis_there_is_nothing_to_ask(settings: Settings, asked: list[int]) -> None:
    settings.REDIS_URL = ""
    product = two_levels()
    assert copies.publish([product], whole=True) is False
    assert copies.read([product.product_id]) == {}
    assert copies.probe([product.product_id]) is None
    assert copies.forget([product.product_id]) is False
    assert asked == []


@pytest.mark.parametrize("protocol", [2, 3])
def test_both_protocols_say_the_same(
    redis_server: Redis, settings: Settings, client: redis.Redis, protocol: int
) -> None:
    looks.use(f"{redis_server.url}?socket_timeout=5&protocol={protocol}", settings)
    product = two_levels()
    assert copies.publish([product], whole=True)
    assert standing(product.product_id) == product
    assert copies.probe([product.product_id]) == {product.product_id}
    client.set(f"stock:{product.product_id}", "5")
    assert standing(product.product_id) is None
