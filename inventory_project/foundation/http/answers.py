"""Answers from the event loop: JSON with the headers and the metrics that an answer of Django has."""

import asyncio
from collections import Counter
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
from inventory_project.foundation.http.bodies import Scope, Send
from inventory_project.foundation.http.headers import HeadersMiddleware
from inventory_project.foundation.http.lines import NEWLINE

JSON = "application/json"
HeaderList = list[tuple[bytes, bytes]]
# An extension of ASGI that our connections offer: status, headers and body in one message, and the headers as text.
# uvicorn would check each header against two regular expressions, which takes as long as finding the answer.
WHOLE_ANSWER = "inventory.whole_answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, and the body: JSON-ready values, or JSON. `location` is the path of what was created."""

    status: int
    body: Mapping[str, Any] | orjson.Fragment
    location: str = ""


def refused(error: Exception) -> Answer:
    """The problem that answers this error. An unexpected error is logged."""
    problem = problems.of_any(error)
    return Answer(problem["status"], problem)


async def send(scope: Scope, send: Send, answer: Answer, *, allow: str = "", closes: bool = False) -> int:
    """Send an answer whose path allows these methods. Returns the length of its body in bytes, without its newline.

    `closes` the connection after it, because the rest of the request may not have been read.
    """
    body = orjson.dumps(answer.body)
    content = body + NEWLINE
    headers = [(b"content-length", b"%d" % len(content))]
    if answer.location:
        headers.append((b"location", answer.location.encode()))
    if answer.status in (429, 503) and isinstance(answer.body, Mapping):
        headers.append((b"retry-after", b"%d" % problems.retry_after(answer.status, answer.body)))
    if closes:
        headers.append((b"connection", b"close"))
    is_problem = answer.status >= 400
    if WHOLE_ANSWER in scope.get("extensions", ()):
        head = _constant_lines(is_problem, allow) + lines(headers)
        await send({"type": WHOLE_ANSWER, "status": answer.status, "head": head, "body": content, "closes": closes})
    else:
        headers += _constant_headers(is_problem, allow)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": content})
    return len(body)


def lines(headers: HeaderList) -> bytes:
    """The headers as HTTP/1.1 sends them."""
    return b"".join([b"%s: %s\r\n" % header for header in headers])


@cache
def _constant_lines(is_problem: bool, allow: str) -> bytes:
    return lines(_constant_headers(is_problem, allow))


@cache
def _constant_headers(is_problem: bool, allow: str) -> HeaderList:
    """What Django's middlewares add to every answer, asked of them once."""
    request = RequestFactory().get("/", secure=settings.HTTPS)
    response = HttpResponse(content_type=problems.CONTENT_TYPE if is_problem else JSON)
    if allow:
        response["Allow"] = allow

    def answered(_request: HttpRequest) -> HttpResponse:
        return response

    for middleware in (HeadersMiddleware(answered), XFrameOptionsMiddleware(answered), SecurityMiddleware(answered)):
        middleware(request)
    return [(name.lower().encode(), value.encode()) for name, value in response.items()]


class ViewMetrics:
    """django-prometheus' metrics of one view and method, for requests that do not pass its middlewares.

    The requests of one turn of the event loop are counted together.
    """

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
        self._uncounted: list[tuple[int, float, int, int]] = []

    def count(self, status: int, seconds: float, *, received: int, sent: int) -> None:
        """Count one request with its answer, and the sizes of the two bodies in bytes."""
        if not self._uncounted:
            asyncio.get_running_loop().call_soon(self._count_all)
        self._uncounted.append((status, seconds, received, sent))

    def _count_all(self) -> None:
        uncounted, self._uncounted = self._uncounted, []
        for counter in self._requests:
            counter.inc(len(uncounted))
        for status, number in Counter([status for status, *_ in uncounted]).items():
            for counter in self._responses.get(status) or self._of_status(status):
                counter.inc(number)
        for _, seconds, received, sent in uncounted:
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
            self._all.responses_by_templatename.labels(templatename="None"),
        )
        return self._responses[status]
