"""Answers from the event loop: JSON with the headers and the metrics that an answer of Django has."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.test import RequestFactory
from django_prometheus.middleware import Metrics

from inventory_project.foundation.http import problems
from inventory_project.foundation.http.bodies import Send
from inventory_project.foundation.http.lines import NEWLINE

JSON = "application/json"
HeaderList = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, and the body: JSON-ready values, or JSON. `location` is the path of what was created."""

    status: int
    body: Mapping[str, Any] | orjson.Fragment
    location: str = ""


async def send(send: Send, answer: Answer, *, allow: str = "", closes: bool = False) -> int:
    """Send an answer whose path allows these methods. Returns the length of its body in bytes.

    `closes` the connection after it, because the rest of the request may not have been read.
    """
    content = orjson.dumps(answer.body) + NEWLINE
    headers = [*_constant_headers(answer.status >= 400, allow), (b"content-length", b"%d" % len(content))]
    if answer.location:
        headers.append((b"location", answer.location.encode()))
    if answer.status == 503:
        headers.append((b"retry-after", b"%d" % problems.RETRY_AFTER_SECONDS))
    if closes:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
    return len(content)


@cache
def _constant_headers(is_problem: bool, allow: str) -> HeaderList:
    """What Django's middlewares add to every answer, asked of them once."""
    request = RequestFactory().get("/", secure=settings.HTTPS)
    response = HttpResponse(content_type=problems.CONTENT_TYPE if is_problem else JSON)
    if allow:
        response["Allow"] = allow

    def answered(_request: HttpRequest) -> HttpResponse:
        return response

    for middleware in (XFrameOptionsMiddleware(answered), SecurityMiddleware(answered)):
        middleware(request)
    return [(name.lower().encode(), value.encode()) for name, value in response.items()]


class ViewMetrics:
    """django-prometheus' metrics of one view and method, for requests that do not pass its middlewares."""

    def __init__(self, view: str, method: str) -> None:
        self._all = Metrics.get_instance()
        self._view, self._method = view, method
        transport = "https" if settings.HTTPS else "http"
        self._requests = (
            self._all.requests_total,
            self._all.requests_by_method.labels(method=method),
            self._all.requests_by_transport.labels(transport=transport),
            self._all.requests_by_view_transport_method.labels(view=view, transport=transport, method=method),
        )
        self._seconds = (
            self._all.requests_latency_before,
            self._all.requests_latency_by_view_method.labels(view=view, method=method),
        )
        self._responses: dict[int, tuple[Any, ...]] = {}

    def count(self, status: int, seconds: float, *, received: int, sent: int) -> None:
        """Count one request with its answer, and the sizes of the two bodies in bytes."""
        for counter in self._requests:
            counter.inc()
        for counter in self._responses.get(status) or self._of_status(status):
            counter.inc()
        for histogram in self._seconds:
            histogram.observe(seconds)
        self._all.requests_body_bytes.observe(received)
        self._all.responses_body_bytes.observe(sent)

    def _of_status(self, status: int) -> tuple[Any, ...]:
        labels = {"status": str(status), "view": self._view, "method": self._method}
        self._responses[status] = (
            self._all.responses_total,
            self._all.responses_by_charset.labels(charset="utf-8"),
            self._all.responses_by_status.labels(status=str(status)),
            self._all.responses_by_status_view_method.labels(**labels),
        )
        return self._responses[status]
