"""The fast path leaves the same traces as Django: the counts of a request in the metrics, and its line in the log."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from prometheus_client import REGISTRY
from pytest_django import Settings
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from inventory_project.foundation.http.answers import ViewMetrics
from tests import factories
from tests.db.http import clients
from tests.db.http.calls import API, JSON

Request = tuple[str, bytes]  # path, body of a POST
NOBODY = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"


def an_order(units: int) -> Request:
    product_id = factories.product({factories.SP: 5}).pk
    items = f'[{{"product_id":"{product_id}","quantity":{units}}}]'
    return f"{API}/reservations", f'{{"order_id":"{NOBODY}","items":{items}}}'.encode()


def a_cancellation() -> Request:
    return f"{API}/reservations/{factories.hold(factories.product({factories.SP: 1}).pk).id}/cancel", b""


REQUESTS: dict[str, tuple[int, Callable[[], Request]]] = {
    "granted": (201, lambda: an_order(2)),
    "lacking": (409, lambda: an_order(6)),
    "cancelled": (200, a_cancellation),
    "unknown": (404, lambda: (f"{API}/reservations/{NOBODY}/confirm", b"{}")),
}


@pytest.fixture(autouse=True)
def no_tokens(db: None, settings: Settings) -> None:
    settings.API_AUTH_ENABLED = False
    settings.SECURE_SSL_REDIRECT = False
    settings.LOG_FORMAT = "console"  # as JSON, the fast path's line does not pass structlog


def counted() -> Counter[tuple[str, tuple[tuple[str, str], ...]]]:
    """What django-prometheus has counted, without the times that it measured."""
    found: Counter[Any] = Counter()
    for metric in REGISTRY.collect():
        for sample in metric.samples if metric.name.startswith("django_http") else ():
            is_count = "_seconds" not in sample.name or sample.name.endswith("_count")
            if is_count and not sample.name.endswith("_created"):
                found[sample.name, tuple(sorted(sample.labels.items()))] = int(sample.value)
    return found


def traces(kind: str, path: str, body: bytes) -> tuple[int, dict[Any, int], list[Any]]:
    """The status, what the request added to the metrics, and the lines that it left in the log."""
    client: Any = clients.client(kind)
    before = counted()
    with transaction.atomic(), capture_logs([merge_contextvars]) as lines:
        answer = client.post(path, body, JSON, headers={"x-request-id": "same", "x-forwarded-for": "10.0.0.7"})
        transaction.set_rollback(True)
    assert client.answered == (kind == clients.FAST)
    added = {key: value - before[key] for key, value in counted().items() if value != before[key]}
    return answer.status_code, added, lines


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_counted_in_the_same_way(name: str) -> None:
    status, prepare = REQUESTS[name]
    path, body = prepare()
    by_django = traces(clients.DJANGO, path, body)
    by_fast_path = traces(clients.FAST, path, body)
    assert by_django[0] == by_fast_path[0] == status
    assert by_fast_path[1] == by_django[1] != {}


def test_the_requests_of_one_turn_of_the_loop_are_counted_one_by_one() -> None:
    async def three() -> None:
        metrics = ViewMetrics("a-view", "POST")
        for status in (201, 201, 409):
            metrics.count(status, 0.1, received=10, sent=20)
        await asyncio.sleep(0)

    before = counted()
    asyncio.run(three())
    added = {key: value - before[key] for key, value in counted().items() if value != before[key]}
    by_status = {
        labels["status"]: number
        for (name, of_sample), number in added.items()
        if name == "django_http_responses_total_by_status_total" and (labels := dict(of_sample))
    }
    assert by_status == {"201": 2, "409": 1}
    assert added["django_http_requests_total_by_method_total", (("method", "POST"),)] == 3
    assert added["django_http_requests_body_total_bytes_sum", ()] == 30


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_leaves_the_same_line_on_the_console(name: str) -> None:
    path, body = REQUESTS[name][1]()
    *_, by_django = traces(clients.DJANGO, path, body)
    *_, by_fast_path = traces(clients.FAST, path, body)
    line_of = {"event": "request_finished"}
    [expected] = [line for line in by_django if line_of.items() <= line.items()]
    [line] = [line for line in by_fast_path if line_of.items() <= line.items()]
    assert line == expected
