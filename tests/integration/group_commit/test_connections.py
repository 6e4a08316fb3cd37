"""Callers that wait for a batch keep no database connection, though each needed one to show who it is."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection

from inventory_project.foundation.access import tokens
from inventory_project.foundation.http.fast_path import Call
from reservations import reserving
from reservations.api import fast
from tests import factories
from tests.integration.group_commit import callers
from tests.integration.group_commit.callers import Told
from tests.integration.group_commit.conftest import Serve
from tests.service import PATIENCE_SECONDS, Service, url_of_test_database

BATCHES = 'inventory_group_commit_batch_size_count{verb="reserve"}'
WATCHED = "the-service-under-test"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
THREADS = 16  # for what Django answers


# --- sessions of the whole service -----------------------------------------------------------------------------------


@pytest.fixture
def service(books: None, serve: Serve) -> Iterator[Service]:
    """A web process that requires tokens, and whose batches stand still for a second with their rows locked."""
    with serve(
        DATABASE_URL=f"{url_of_test_database()}?application_name={WATCHED}",
        INVENTORY_API_AUTH="on",
        INVENTORY_CRASH_POINT="reserve.after_lock=sleep:1",
        WEB_WORKERS=1,
        WEB_THREADS=THREADS,
    ) as service:
        yield service


def secrets(number: int) -> list[str]:
    """Tokens that no process has seen yet: each costs a look at the database."""
    owner = User.objects.create_superuser("ana", password="a long pass phrase")
    made = [tokens.issue(name=f"shop-{i}", wanted=["reservations:write"], owner=owner) for i in range(number)]
    return [secret for _, secret in made]


def rush(service: Service, number: int, **headers: str) -> tuple[int, list[Told]]:
    """How many more sessions the service had at some moment while so many reserved at once, and their answers."""
    product_id = factories.product({factories.SP: 1_000}).pk
    asked = [
        callers.reservation(product_id, headers={"Authorization": f"Bearer {secret}", **headers})
        for secret in secrets(number)
    ]
    with psycopg.connect(url_of_test_database(), autocommit=True) as session, ThreadPoolExecutor(1) as threads:
        seen = [sessions(session)]
        told = threads.submit(callers.ask_at_once, service, asked)
        while not told.done():
            seen.append(sessions(session))
            time.sleep(0.01)
        return max(seen) - seen[0], told.result()


def sessions(session: psycopg.Connection) -> int:
    """Of all processes of the service, idle or not."""
    row = session.execute(SESSIONS, [WATCHED]).fetchone()
    assert row is not None
    return int(row[0])


def test_64_callers_that_wait_behind_one_batch_need_hardly_a_session_more(service: Service) -> None:
    more, told = rush(service, 64)
    assert callers.words(told) == {(201, "ACTIVE"): 64}
    assert 2 <= (service.metric(BATCHES) or 0) <= 4  # so dozens waited at once
    assert more <= 2  # the batch, and the look at the tokens


def test_control_callers_that_wait_in_threads_of_django_have_a_session_each(service: Service) -> None:
    more, told = rush(service, THREADS, Cookie="theme=dark")
    assert service.metric(BATCHES) == 0
    assert more >= THREADS - 2
    assert {answer.status for answer in told} <= {201, 503}


# --- the thread that works on the batches ----------------------------------------------------------------------------


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor
        executor.submit(lambda: connection.close()).result()


def connections_in_use() -> int:
    """Of the pool of this process."""
    stats: Mapping[str, int] = connection.pool.get_stats()  # type: ignore[attr-defined]  # PostgreSQL's own
    return stats["pool_size"] - stats["pool_available"]


def in_use_during_and_after_a_batch(executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Connections in use while one caller is in its transaction and 11 wait, and when all are answered."""
    begun, go_on = threading.Event(), threading.Event()

    def stand_still(name: str) -> None:
        if name == "reserve.after_lock":
            begun.set()
            assert go_on.wait(PATIENCE_SECONDS)

    monkeypatch.setattr(reserving, "crash_point", stand_still)
    reserve = fast.operations(executor)["POST", fast.RESERVATIONS]
    product_id = factories.product({factories.SP: 100}).pk
    connection.close()  # this thread's own

    async def ask(number: int) -> int:
        body = json.dumps(callers.reservation(product_id).body).encode()
        answer = await reserve(Call(actor=f"shop-{number}", id=None, query=b"", body=body))
        assert answer is not None
        return answer.status

    async def all_ask() -> int:
        calls: list[Any] = [asyncio.create_task(ask(0))]
        assert await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
        calls += [asyncio.create_task(ask(number)) for number in range(1, 12)]
        await asyncio.sleep(0)
        during = connections_in_use()
        go_on.set()
        assert await asyncio.gather(*calls) == [201] * 12
        return during

    during = asyncio.run(all_ask())
    executor.submit(int).result()  # it has ended its work
    after = connections_in_use()
    assert factories.numbers(product_id) == (88, 12, 0)
    return during, after


@pytest.mark.usefixtures("books")
def test_a_batch_has_one_session_which_its_thread_keeps_for_the_next(
    executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_use_during_and_after_a_batch(executor, monkeypatch) == (1, 1)


@pytest.mark.usefixtures("books")
def test_a_batch_that_ends_when_the_session_is_old_gives_it_back(
    executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "KEPT_SECONDS", 0.0)
    assert in_use_during_and_after_a_batch(executor, monkeypatch) == (1, 0)
