"""Reads the whole body of a request on the event loop, before anything is decided about it."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from django.conf import settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]


class TooLargeError(Exception):
    """The body is larger than MAX_BODY_BYTES. The rest of it was not read."""


class TooShortError(Exception):
    """The body is shorter than its Content-Length says, so nothing may be decided about it."""


class ClientLeftError(Exception):
    """The client closed the connection before the end of the body. An empty body is `{}`, so nothing may be decided."""


async def read(scope: Scope, receive: Receive) -> bytes:
    """The whole body, whether or not it declares its length. Raises TooLargeError, TooShortError, ClientLeftError."""
    limit: int = settings.MAX_BODY_BYTES
    body = b""
    declared = _declared_length(scope["headers"])
    if declared > limit:
        raise TooLargeError
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        body += message.get("body") or b""
        if len(body) > limit:
            raise TooLargeError
        if not message.get("more_body"):
            if len(body) < declared:
                raise TooShortError
            return body


def _declared_length(headers: Headers) -> int:
    """The Content-Length, or 0 without one. The server has refused what is no number."""
    return next((int(value) for name, value in headers if name == b"content-length"), 0)
