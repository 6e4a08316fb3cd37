"""The rate limit over HTTP: two processes with one Redis, and a service with two web processes."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.contrib.auth.models import User
from pytest_django import Settings

from inventory_project.foundation.access import limits, scopes, tokens
from reservations.models import Reservation
from stock.counters import allowances
from tests import factories
from tests.integration.counters.conftest import _redis_server, asked, client, patient, redis_server
from tests.integration.group_commit.callers import API, Line
from tests.integration.group_commit.conftest import serving
from tests.servers import Redis
from tests.service import Service, environment

__all__ = ["_redis_server", "asked", "client", "patient", "redis_server"]

RATE, BURST = 10, 60
CHUNK = max(1, int(RATE * limits.CHUNK_SECONDS))
PROCESSES = 2


def take(actor: str, least: int, more: int = 0) -> tuple[int, float] | None:
    return allowances.take(actor, per_second=RATE, burst=BURST, least=least, more=more)


# --- the bucket in Redis ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
def test_the_bucket_in_redis_gives_and_refuses_as_the_one_in_memory(client: redis.Redis) -> None:
    assert take("a", 10, 5) == (15, 0.0)
    assert take("a", 45, 5) == (45, 0.0)
    refused = take("a", 5)
    assert refused is not None
    assert refused[0] == 0
    assert 0.3 < refused[1] <= 0.5
    assert take("b", 60) == (60, 0.0)
    assert 0 < client.pttl("allowance:a") <= 1_000 * (BURST / RATE + 1)
    time.sleep(0.6)
    assert take("a", 5) == (5, 0.0)


@pytest.mark.usefixtures("patient")
def test_a_bucket_of_the_future_refuses_nobody_for_long(client: redis.Redis) -> None:
    client.set("allowance:a", "0:999999999999999")
    assert take("a", 1) == (0, 0.1)
    time.sleep(0.2)
    assert take("a", 1) == (1, 0.0)


def test_without_redis_there_is_no_answer(settings: Settings) -> None:
    settings.REDIS_URL = ""
    assert take("a", 1) is None


HOG = """
import sys, time, django
django.setup()
from inventory_project.foundation.access.limits import Limiter, RateLimited
from stock.counters import allowances
limiter, began, served = Limiter(allowances.take), time.monotonic(), 0
until = began + float(sys.argv[1])
while time.monotonic() < until:
    try:
        limiter.take_now("token:hog", 1)
        served += 1
    except RateLimited:
        time.sleep(0.001)
print(served, began, time.monotonic())
"""


def test_two_processes_together_get_the_burst_and_the_rate_and_no_more(redis_server: Redis) -> None:
    """Each process may have kept a chunk that it took; what it took was in the bucket."""
    seconds = 3.0
    url = f"{redis_server.url}?socket_timeout=5&socket_connect_timeout=5"
    env = environment(
        DATABASE_URL="postgres://nobody@127.0.0.1:1/none", SECRET_KEY="k3y-of-a-hog-" * 5, REDIS_URL=url,
        RATE_LIMIT_PER_SECOND=RATE, RATE_LIMIT_BURST=BURST,
    ) | {"DJANGO_SETTINGS_MODULE": "inventory_project.settings"}  # fmt: skip
    hogs = [
        subprocess.Popen([sys.executable, "-c", HOG, str(seconds)], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    told = [list(map(float, hog.communicate(timeout=60)[0].split())) for hog in hogs]
    served, began, ended = zip(*told, strict=True)
    took = max(ended) - min(began)  # by the machine's own clock, which is the same for both

    assert sum(served) <= BURST + RATE * took
    assert sum(served) >= BURST + RATE * (seconds - 1) - PROCESSES * CHUNK


# --- over HTTP -------------------------------------------------------------------------------------------------------


@pytest.fixture
def service(transactional_db: None, redis_server: Redis, tmp_path: Path) -> Iterator[Service]:
    limit = {"RATE_LIMIT_PER_SECOND": RATE, "RATE_LIMIT_BURST": BURST, "UNLIMITED_TOKENS": "checkout, other"}
    url = f"{redis_server.url}?socket_timeout=5&socket_connect_timeout=5"
    with serving(tmp_path / "serve.log", WEB_WORKERS=PROCESSES, REDIS_URL=url, INVENTORY_API_AUTH="on", **limit) as it:
        yield it
    assert factories.broken_invariants() == []


@pytest.fixture
def issue(transactional_db: None) -> Any:
    owner = User.objects.create_superuser("ana")

    def make(name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {tokens.issue(name=name, wanted=scopes.ALL, owner=owner)[1]}"}

    return make


def order(product_id: object, lines: int = 1) -> dict[str, Any]:
    items = [{"product_id": str(product_id), "quantity": 1, "warehouse_id": factories.SP}] * lines
    return {"order_id": str(uuid4()), "items": items}


def test_a_token_at_its_limit_is_refused_on_every_way_and_another_one_is_not(service: Service, issue: Any) -> None:
    product = factories.product({factories.SP: 10_000}).pk
    hog, other, checkout = issue("hog"), issue("partner"), issue("checkout")
    began = time.monotonic()

    def rush(headers: dict[str, str]) -> Counter[int]:
        line = Line(service.port)
        told = [line.send("POST", f"{API}/reservations", order(product), **headers).status for _ in range(60)]
        line.close()
        return Counter(told)

    with ThreadPoolExecutor(8) as threads:
        of_hog = sum(threads.map(rush, [hog] * 4), Counter())
        of_checkout = sum(threads.map(rush, [checkout] * 2), Counter())
    took = time.monotonic() - began

    assert of_hog.keys() == {201, 429}
    assert of_hog[201] <= BURST + RATE * took + PROCESSES * CHUNK
    assert of_checkout == {201: 120}
    assert Reservation.objects.count() == of_hog[201] + 120

    bulk = {"orders": [order(product, 30), order(product, 30)]}
    ways: dict[str, tuple[str, str, Any]] = {
        "reserve, on the event loop": ("POST", f"{API}/reservations", order(product, 60)),
        "reserve, by Django": ("POST", f"{API}/reservations", order(product, 60) | {"delivery_postal_code": "é"}),
        "bulk, on the event loop": ("POST", f"{API}/reservations/bulk", bulk),
        "availability": ("POST", f"{API}/availability", {"product_ids": [str(uuid4()) for _ in range(60)]}),
        "receipt": (
            "POST",
            f"{API}/receipts",
            {
                "reference": "r",
                "warehouse_id": factories.SP,
                "items": [{"product_id": str(uuid4()), "quantity": 1} for _ in range(60)],
            },
        ),
    }
    for name, (method, path, body) in ways.items():
        refused = service.ask(method, path, body, **hog)
        assert (refused.status, refused.json()["code"]) == (429, "rate_limited"), name
        assert 1 <= int(refused.headers["Retry-After"]) == refused.json()["retry_after"] <= BURST / RATE, name
    assert Reservation.objects.count() == of_hog[201] + 120
    assert service.ask("POST", f"{API}/reservations", order(product, 50), **other).status == 201


def test_a_full_burst_is_there_again_after_a_while(service: Service, issue: Any) -> None:
    product, hog = factories.product({factories.SP: 10_000}).pk, issue("hog")
    assert service.ask("POST", f"{API}/reservations", order(product, BURST), **hog).status == 201
    refused = service.ask("POST", f"{API}/reservations", order(product, 20), **hog)
    assert refused.status == 429

    time.sleep(int(refused.headers["Retry-After"]))

    assert service.ask("POST", f"{API}/reservations", order(product, 20 - PROCESSES * CHUNK), **hog).status == 201


def test_without_redis_each_process_limits_by_itself(service: Service, redis_server: Redis, issue: Any) -> None:
    redis_server.stop()
    product, hog = factories.product({factories.SP: 10_000}).pk, issue("hog")
    began = time.monotonic()
    told = Counter(service.ask("POST", f"{API}/reservations", order(product, 10), **hog).status for _ in range(60))

    assert told.keys() == {201, 429}
    assert told[201] <= PROCESSES * (BURST + RATE * (time.monotonic() - began)) / 10
