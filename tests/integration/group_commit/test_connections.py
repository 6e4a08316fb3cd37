"""Who waits for a batch keeps no database connection, though it needed one to see who calls."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from pytest_django import Settings

from inventory_project.foundation.access import authentication, tokens
from reservations import gathering, lifecycle, reserving
from stock.models import Product
from tests import factories
from tests.integration.group_commit import callers
from tests.service import PATIENCE_SECONDS, wait_until

CALLERS = 12
GATHERER = gathering.GATHERERS[lifecycle.reserve_many]


@pytest.fixture
def secrets(books: None, settings: Settings) -> list[str]:
    """Tokens that no process has seen yet: each costs a look at the database."""
    settings.API_AUTH_ENABLED = True
    settings.SECURE_SSL_REDIRECT = False
    authentication.verified.clear()
    owner = User.objects.create_superuser("ana", password="a long pass phrase")
    made = [tokens.issue(name=f"shop-{i}", wanted=["reservations:write"], owner=owner) for i in range(CALLERS)]
    return [secret for _, secret in made]


def reserve(product: Product, secret: str) -> HttpResponse:
    """A reservation by a caller of its own, whose thread then gives back what it has."""
    asked = callers.reservation(product.pk)
    client: Any = Client(SERVER_NAME="localhost")
    try:
        answer: HttpResponse = client.post(
            asked.path, asked.body, content_type="application/json", headers={"Authorization": f"Bearer {secret}"}
        )
        return answer
    finally:
        connection.close()


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> Event:
    """Until it is set a batch stands still with its rows locked."""
    event = Event()
    monkeypatch.setattr(
        reserving, "crash_point", lambda name: name == "reserve.after_lock" and event.wait(PATIENCE_SECONDS)
    )
    monkeypatch.setattr(GATHERER, "_patience_seconds", PATIENCE_SECONDS)
    return event


def fewest_connections_in_use(*, seconds: float) -> int:
    """Of the pool, as seen for a while."""
    pool: Any = connection.pool  # type: ignore[attr-defined]  # PostgreSQL's own
    fewest, deadline = CALLERS, time.monotonic() + seconds
    while time.monotonic() < deadline:
        stats = pool.get_stats()
        fewest = min(fewest, stats["pool_size"] - stats["pool_available"])
        time.sleep(0.01)
    return fewest


def in_use_while_all_wait(secrets: list[str], go_on: Event) -> int:
    """Connections in use while one caller is in the middle of its transaction, and the others wait behind it."""
    product = factories.product({factories.SP: 100})
    connection.close()  # this thread's own
    with ThreadPoolExecutor(CALLERS) as threads:
        answers = [threads.submit(reserve, product, secret) for secret in secrets]
        wait_until(lambda: len(GATHERER._queue) == CALLERS - 1, "all wait")
        in_use = fewest_connections_in_use(seconds=0.3)  # the last one may be about to give its own back
        go_on.set()
        assert [answer.result().status_code for answer in answers] == [201] * CALLERS
    assert factories.numbers(product.pk) == (100 - CALLERS, CALLERS, 0)
    return in_use


def test_of_12_callers_one_has_a_connection_while_the_others_wait(secrets: list[str], go_on: Event) -> None:
    assert in_use_while_all_wait(secrets, go_on) == 1


def test_control_where_nothing_is_released_they_all_have_one(
    secrets: list[str], go_on: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GATHERER, "_release_resources", lambda: None)
    assert in_use_while_all_wait(secrets, go_on) == CALLERS
