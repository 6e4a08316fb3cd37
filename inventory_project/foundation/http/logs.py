"""Adds the request id and the caller's address to log lines, and the trace context to events."""

from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse
from django_structlog.middlewares import RequestMiddleware

from inventory_project.foundation import tracing

MAX_FORWARDED_SHOWN = 200  # characters; the header is untrusted


class RequestLogMiddleware(RequestMiddleware):
    """Puts the request id and the caller's address on each log line, and the id and the trace on each event."""

    async_capable = False  # `traced` waits for the response

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        def traced(request: HttpRequest) -> HttpResponse:
            request_id = structlog.contextvars.get_contextvars()["request_id"]
            with tracing.carrying(tracing.of_headers(request.META.get("HTTP_TRACEPARENT"), request_id)):
                return get_response(request)

        super().__init__(traced)

    def prepare(self, request: HttpRequest) -> None:
        """Bind the request id: the caller's `X-Request-ID` if it is well-formed, otherwise a new one."""
        super().prepare(request)
        request_id = request.META.get("HTTP_X_REQUEST_ID")
        if request_id and tracing.is_request_id(request_id):
            structlog.contextvars.bind_contextvars(request_id=request_id)

    @classmethod
    def bind_ip(cls, request: HttpRequest) -> None:
        """Bind the address of the connection and, unchecked, the `X-Forwarded-For` header of a proxy.

        django-structlog would search twenty headers for an address, which takes a seventh of an empty request's time.
        """
        structlog.contextvars.bind_contextvars(ip=request.META.get("REMOTE_ADDR"))
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR")
        if forwarded:
            structlog.contextvars.bind_contextvars(forwarded_for=forwarded[:MAX_FORWARDED_SHOWN])
