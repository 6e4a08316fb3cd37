"""The Redis of the tests of the counters, and a product that is stocked at three warehouses."""

import threading
from collections.abc import Iterator
from uuid import UUID

import pytest
from django.db import connection
from pytest_django import Settings
from redis import Redis

from inventory_project.foundation.database import job_lock
from stock.counters import repair, sync
from tests import factories
from tests.factories import PR, RJ, SP
from tests.integration.counters.conftest import _redis_server, asked, client, patient, redis_server

__all__ = ["_redis_server", "asked", "client", "patient", "redis_server"]


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """Redis is near and nobody else is busy: a sync need not wait long until it looks again or gives up."""
    monkeypatch.setattr(repair, "SECOND_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(repair, "PAUSES_SECONDS", (0.01, 0.02))
    settings.SYNC_WORKERS = 2


@pytest.fixture
def product(client: Redis, transactional_db: None) -> Iterator[UUID]:
    """5 units at each of three warehouses, in the books and in the counters."""
    yield factories.product({SP: 5, RJ: 5, PR: 5}).pk
    assert factories.broken_invariants() == []


@pytest.fixture
def somebody_syncs(transactional_db: None) -> Iterator[None]:
    """Another session holds the job's lock."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with job_lock(sync.JOB) as is_ours:
            assert is_ours
            held.set()
            done.wait(30)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    yield
    done.set()
    thread.join()
