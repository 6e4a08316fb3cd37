"""An open loop: requests are due at moments that do not wait for answers, and latency counts from those moments.

A closed loop asks less the slower it is answered, and so never sees the queue that a slow moment leaves behind. Raw
sockets, because the client shares the machine's cores with the service; what it costs is told beside the figures.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

CONNECTIONS = 64
END_SECONDS = 60  # for the answers to the last requests


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be sent, as bytes, and a name for its kind."""

    kind: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request; `status` 0 when the connection ended instead. Seconds from when it was due."""

    kind: str
    status: int
    seconds: float


@dataclass(slots=True)
class Loop:
    """Connections that are free, and requests that are due while none is."""

    port: int
    free: deque["Connection"] = field(default_factory=deque)
    waiting: deque[tuple[float, Request]] = field(default_factory=deque)
    answers: list[Answer] = field(default_factory=list)

    def send(self, due: float, request: Request) -> None:
        """Send the request over the connection that has been free for longest, or as soon as one is."""
        if self.free:
            self.free.popleft().send(due, request)
        else:
            self.waiting.append((due, request))

    def release(self, connection: "Connection") -> None:
        """The connection may carry the next request."""
        if self.waiting:
            connection.send(*self.waiting.popleft())
        else:
            self.free.append(connection)


class Connection(asyncio.Protocol):
    """One connection with one request in flight at most; opened again when the server closes it."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.received = b""
        self.in_flight: tuple[float, Request] | None = None
        self.is_over = False

    async def open(self) -> None:
        """Connect, and take part."""
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self.loop.port)
        self.loop.release(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, due: float, request: Request) -> None:
        self.in_flight = (due, request)
        self.transport.write(request.content)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator or len(body) < _length(head):
            return
        self.received = b""
        self._note(int(head[9:12]))
        self.loop.release(self)

    def connection_lost(self, _error: Exception | None) -> None:
        if self.in_flight:
            self._note(0)
        elif self in self.loop.free:
            self.loop.free.remove(self)
        if not self.is_over:
            self.received = b""
            self.opening = asyncio.ensure_future(self.open())

    def close(self) -> None:
        self.is_over = True
        self.transport.close()

    def _note(self, status: int) -> None:
        assert self.in_flight is not None
        (due, request), self.in_flight = self.in_flight, None
        self.loop.answers.append(Answer(request.kind, status, time.perf_counter() - due))


def _length(head: bytes) -> int:
    _, _, after = head.lower().partition(b"\r\ncontent-length:")
    return int(after.partition(b"\r\n")[0])


def run(port: int, make: Callable[[], Request], *, rate: float, seconds: float, seed: int) -> list[Answer]:
    """Send `rate` requests a second, at random moments as independent callers would; the answers as they came.

    Raises TimeoutError when some are still missing a minute after the last request.
    """
    return asyncio.run(_run(Loop(port), make, _moments(rate, seconds, seed)))


def _moments(rate: float, seconds: float, seed: int) -> list[float]:
    """When requests are due, in seconds from the beginning: a Poisson process, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    return sorted(chance.uniform(0, seconds) for _ in range(round(rate * seconds)))


async def _run(loop: Loop, make: Callable[[], Request], moments: list[float]) -> list[Answer]:
    connections = [Connection(loop) for _ in range(CONNECTIONS)]
    await asyncio.gather(*(connection.open() for connection in connections))
    began = time.perf_counter()
    for moment in moments:
        pause = began + moment - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        loop.send(began + moment, make())
    deadline = time.perf_counter() + END_SECONDS
    while len(loop.answers) < len(moments):
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{len(moments) - len(loop.answers)} requests were not answered within a minute.")
        await asyncio.sleep(0.01)
    for connection in connections:
        connection.close()
    return loop.answers
