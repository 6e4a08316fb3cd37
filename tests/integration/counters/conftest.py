"""A Redis of its own for these tests, which lie to it, freeze it and stop it."""

from collections.abc import Iterator

import pytest
import redis
from pytest_django import Settings

from inventory_project.foundation.breaker import Breaker
from stock.counters import copies
from tests.integration.counters import looks
from tests.servers import Redis


@pytest.fixture(scope="session")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with Redis(tmp_path_factory.mktemp("counters")) as server:
        yield server


@pytest.fixture
def redis_server(_redis_server: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Redis:
    """The server itself, empty, running and with the settings it came with; the service uses it and has not failed."""
    looks.use(_redis_server.url, settings)
    monkeypatch.setattr(copies, "breaker", Breaker("Redis"))
    if _redis_server.process is None:
        _redis_server.start()
        _redis_server.wait_until_ready()
    with redis.Redis.from_url(_redis_server.url, socket_timeout=5) as client:
        client.config_set("maxmemory", 0)
        client.config_set("min-replicas-to-write", 0)
        client.flushall()
        client.script_flush()
    return _redis_server


@pytest.fixture
def patient(redis_server: Redis, settings: Settings) -> None:
    """For tests of what is said and not of how soon: on a busy machine any answer may take longer than 50 ms."""
    looks.use(f"{redis_server.url}?socket_timeout=5&socket_connect_timeout=5", settings)


@pytest.fixture
def client(redis_server: Redis) -> Iterator[redis.Redis]:
    """A patient connection of the test's own."""
    with redis.Redis.from_url(redis_server.url, socket_timeout=5, decode_responses=True) as connection:
        yield connection


@pytest.fixture
def asked(redis_server: Redis, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many commands each round trip to Redis had, in their order; those that were not answered too."""
    trips: list[int] = []
    original = copies._answers

    def counted(commands: looks.Commands) -> object:
        trips.append(len(commands))
        return original(commands)

    monkeypatch.setattr(copies, "_answers", counted)
    return trips
