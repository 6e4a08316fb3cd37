"""Runs Django in a bounded pool of threads, so that it never blocks the event loop."""

from collections.abc import Callable, Iterable
from typing import Any

from a2wsgi import WSGIMiddleware

from inventory_project.foundation.errors import Unavailable
from inventory_project.foundation.http.bodies import Message, Scope, Send

WSGIApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]
MAX_WAITING_PER_THREAD = 16  # requests; a further one is refused at once
MAX_UNSENT_BYTES = 67_108_864  # of answers that are complete and not yet read by their clients


class DjangoThreads:
    """Answers requests with a WSGI application in `threads` threads.

    A thread gets a request whose body is complete, and gives back an answer that is complete. So a client that sends or
    reads slowly keeps no thread.
    """

    def __init__(self, application: WSGIApplication, *, threads: int) -> None:
        self._run = WSGIMiddleware(application, workers=threads)  # type: ignore[arg-type]  # its own WSGI types
        self._max_requests = threads * (1 + MAX_WAITING_PER_THREAD)
        self._running = self._unsent_bytes = 0

    async def answer(self, scope: Scope, body: bytes, send: Send) -> None:
        """Answer the request. Raises Unavailable if too many others wait for a thread, or do not read their answers."""
        if self._running >= self._max_requests or self._unsent_bytes > MAX_UNSENT_BYTES:
            raise Unavailable("Too many requests are waiting; nothing was done.")
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def collect(message: Message) -> None:
            messages.append(message)

        self._running += 1
        try:
            await self._run({**scope, "headers": _for_wsgi(scope, len(body))}, receive, collect)  # type: ignore[arg-type]
        finally:
            self._running -= 1
        size = sum(len(message.get("body", b"")) for message in messages)
        self._unsent_bytes += size
        try:
            for message in messages:
                await send(message)
        finally:
            self._unsent_bytes -= size


def _for_wsgi(scope: Scope, length: int) -> list[tuple[bytes, bytes]]:
    """The headers with the length of the whole body.

    WSGI makes underscores of hyphens, so a header whose name has an underscore could pass for another: it is dropped.
    """
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if b"_" not in name and name not in (b"content-length", b"transfer-encoding")
    ]
    return [*headers, (b"content-length", str(length).encode())] if length else headers
