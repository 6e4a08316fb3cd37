"""Which caller a request's lines in the log are about."""

import structlog
from django.http import HttpRequest
from django_structlog.middlewares import RequestMiddleware

MOST_FORWARDED_SHOWN = 200  # characters; anybody may send anything


class RequestLogMiddleware(RequestMiddleware):
    """A request id and the caller's address on each line of a request."""

    @classmethod
    def bind_ip(cls, request: HttpRequest) -> None:
        """The address that is connected, and as it stands what a proxy says it speaks for.

        django-structlog would look through twenty headers for an address, in a seventh of an empty request's time.
        """
        structlog.contextvars.bind_contextvars(ip=request.META.get("REMOTE_ADDR"))
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR")
        if forwarded:
            structlog.contextvars.bind_contextvars(forwarded_for=forwarded[:MOST_FORWARDED_SHOWN])
