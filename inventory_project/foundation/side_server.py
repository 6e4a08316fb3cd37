"""A small HTTP server in a thread of its own: /metrics and /health, whatever the process is doing."""

import socket
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import orjson
from django.conf import settings
from django.db import Error
from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from inventory_project.foundation.access import monitoring
from inventory_project.foundation.errors import Unavailable
from inventory_project.foundation.http import problems
from inventory_project.foundation.http.lines import NEWLINE

Environ = dict[str, Any]
Report = Callable[[], tuple[bool, Mapping[str, str]]]  # whether the process is alive, and what it says about itself
DETAIL = "detail"  # of a report: it names servers and users, so only those may read it who may read the metrics


def serve(port: int, *, name: str, report: Report | None = None) -> None:
    """Answer /metrics and, with a `report`, /health on INVENTORY_HOST; port 0 turns this off.

    Raises Unavailable if the port is in use.
    """
    if not port:
        return
    host = settings.INVENTORY_HOST
    server_class = _ServerV6 if ":" in host else ThreadingWSGIServer
    try:
        server: WSGIServer = make_server(host, port, Pages(report), server_class, _Quiet)
    except OSError as error:
        raise Unavailable(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    Thread(target=server.serve_forever, name=name, daemon=True).start()


class Pages:
    """The WSGI application: /metrics, /health if there is a report, and 404 for every other path."""

    def __init__(self, report: Report | None) -> None:
        self._report = report
        self._metrics = make_wsgi_app()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        path = environ["PATH_INFO"].rstrip("/")
        if path == "/metrics":
            return self._answer_metrics(environ, start_response)
        if path == "/health" and self._report is not None:
            is_alive, said = self._report()
            if not _may_read(environ):
                said = {member: text for member, text in said.items() if member != DETAIL}
            return _json(start_response, HTTPStatus.OK if is_alive else HTTPStatus.SERVICE_UNAVAILABLE, said)
        return _problem(start_response, HTTPStatus.NOT_FOUND, "There is nothing at this path.")

    def _answer_metrics(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if not _may_read(environ):
            return _problem(
                start_response, HTTPStatus.UNAUTHORIZED, problems.METRICS_ARE_CLOSED,
                [("WWW-Authenticate", monitoring.CHALLENGE)],
            )  # fmt: skip
        body: Iterable[bytes] = self._metrics(environ, start_response)
        return body


def _may_read(environ: Environ) -> bool:
    """Whether the caller may read the metrics. An API token is unknown while the database does not answer."""
    try:
        return monitoring.may_read(environ.get("HTTP_AUTHORIZATION", ""))
    except Error:
        return False


def _problem(
    start_response: Any, status: HTTPStatus, detail: str, headers: list[tuple[str, str]] | None = None
) -> Iterable[bytes]:
    body = problems.problem(status.value, detail)
    return _json(start_response, status, body, content_type=problems.CONTENT_TYPE, headers=headers or [])


def _json(
    start_response: Any,
    status: HTTPStatus,
    body: Mapping[str, Any],
    *,
    content_type: str = "application/json",
    headers: list[tuple[str, str]] | None = None,
) -> Iterable[bytes]:
    start_response(f"{status.value} {status.phrase}", [("Content-Type", content_type), *(headers or [])])
    return [orjson.dumps(body) + NEWLINE]


class _ServerV6(ThreadingWSGIServer):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because health checks come every few seconds."""
