"""Which request and which caller the lines in the log are about, and the events that come of the request."""

from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse
from django_structlog.middlewares import RequestMiddleware

from inventory_project.foundation import tracing

MAX_FORWARDED_SHOWN = 200  # characters; anybody may send anything


class RequestLogMiddleware(RequestMiddleware):
    """A request id and the caller's address on each line of a request; the id and the trace on each of its events."""

    async_capable = False  # `traced` waits for the response

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        def traced(request: HttpRequest) -> HttpResponse:
            request_id = structlog.contextvars.get_contextvars()["request_id"]
            with tracing.carrying(tracing.of_headers(request.META.get("HTTP_TRACEPARENT"), request_id)):
                return get_response(request)

        super().__init__(traced)

    def prepare(self, request: HttpRequest) -> None:
        """The request's id is the caller's own `X-Request-ID`, where that is well-formed."""
        super().prepare(request)
        request_id = request.META.get("HTTP_X_REQUEST_ID")
        if request_id and tracing.is_request_id(request_id):
            structlog.contextvars.bind_contextvars(request_id=request_id)

    @classmethod
    def bind_ip(cls, request: HttpRequest) -> None:
        """The address that is connected, and as it stands what a proxy says it speaks for.

        django-structlog would look through twenty headers for an address, in a seventh of an empty request's time.
        """
        structlog.contextvars.bind_contextvars(ip=request.META.get("REMOTE_ADDR"))
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR")
        if forwarded:
            structlog.contextvars.bind_contextvars(forwarded_for=forwarded[:MAX_FORWARDED_SHOWN])
