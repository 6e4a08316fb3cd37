"""The connections of one web process: limits on their number, and on how long each may keep the service waiting.

A connection costs no thread, so a client that is silent or slow costs next to nothing. It is closed when a deadline
has passed, and earlier if its place is needed: of the address with the most connections, the one that has waited
longest for its client. A connection whose request is being answered is never closed for another one.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address
from typing import Any

import httptools
import orjson
from django.conf import settings
from prometheus_client import Counter, Gauge
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from inventory_project.foundation.http import problems
from inventory_project.foundation.http.answers import WHOLE_ANSWER, lines
from inventory_project.foundation.http.lines import NEWLINE

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5  # between two looks at the deadlines
MAX_HEAD_BYTES = 65_536  # of a request line with its headers
MAX_HEADERS = 100
MAX_TIMES_AS_LONG = 8  # that a body may be as it is sent, in chunks of a few bytes each, as it is in the end
MIN_READ_BYTES = 16_384  # of its answer, that a client must read within its deadline
MAX_PIPELINED = 16  # requests that a client may send before it has its answers
BITS_OF_A_HOST = 64  # of an IPv6 address; any host may choose them as it likes (RFC 4291, 2.5.1)
EXTENSIONS: dict[str, dict[object, object]] = {WHOLE_ANSWER: {}}

open_connections = Gauge(
    "inventory_http_connections", "Open connections of the web processes.", multiprocess_mode="livesum"
)
closed_connections = Counter(
    "inventory_http_connections_closed",
    "Connections that the service closed: silent, slow_head, large_head, slow_body, large_body, slow_reader, too_many, "
    "pipelined, invalid_http.",
    ["reason"],
)


@dataclass(frozen=True, slots=True)
class Limits:
    """At most so many connections, also of one address, and so many seconds for each part of a request."""

    connections: int
    of_one_address: int
    head_seconds: float
    body_seconds: float
    write_seconds: float

    @classmethod
    def from_settings(cls) -> "Limits":
        """The limits that are configured."""
        return cls(
            connections=settings.WEB_MAX_CONNECTIONS,
            of_one_address=settings.WEB_MAX_CONNECTIONS_PER_ADDRESS,
            head_seconds=settings.WEB_HEAD_SECONDS,
            body_seconds=settings.WEB_BODY_SECONDS,
            write_seconds=settings.WEB_WRITE_SECONDS,
        )


def limited_as(address: str) -> str:
    """The address that a client's connections are counted under: IPv4 as it is, IPv6 by its first 64 bits.

    One host may use every address of its IPv6 network, so a limit for single addresses would limit nothing.
    """
    if ":" not in address:
        return address
    full = IPv6Address(address.partition("%")[0])
    return str(full.ipv4_mapped or IPv6Address(int(full) >> BITS_OF_A_HOST << BITS_OF_A_HOST))


class Phase(StrEnum):
    """What the client of a connection must do next, named after the reason for closing it if it does not."""

    SILENT = "silent"  # begin a request
    HEAD = "slow_head"
    BODY = "slow_body"
    NOTHING = "nothing"  # its request is being answered


class Cycle(RequestResponseCycle):
    """uvicorn's request with its answer, which may also be sent as one message: see `answers.WHOLE_ANSWER`."""

    async def send(self, message: Any) -> None:
        """Send a message of ASGI, or a whole answer."""
        if message["type"] != WHOLE_ANSWER:
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        head = STATUS_LINE[message["status"]] + lines(self.default_headers) + message["head"]
        if message["closes"]:
            self.keep_alive = False
        elif not self.keep_alive:
            head += b"connection: close\r\n"
        self.response_started = True
        self.waiting_for_100_continue = False
        self.transport.write(b"%s\r\n%s" % (head, b"" if self.scope["method"] == "HEAD" else message["body"]))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with the limits. `phase` is what its client must do next, since `since` by the loop's time.

    `running` is the request that is being answered. Requests that come before its answer wait in uvicorn's `pipeline`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.phase, self.since = Phase.SILENT, self.loop.time()
        self.unsent, self.unsent_since = 0, self.since
        self.head_bytes: int | None = 0  # of the head that is coming; None while a body is coming
        self.body_bytes = 0  # of the body that is coming, as it was sent: chunks have sizes, and may have trailers
        self.running: RequestResponseCycle | None = None
        self.address = ""
        self.is_upgrade = self.is_aborted = self.is_last_request = False

    # --- what happens to a connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Register the connection, or close it if a limit is reached."""
        super().connection_made(transport)
        self.address = limited_as(self.client[0]) if self.client else ""
        registry.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and the requests that it still wanted answered."""
        registry.remove(self)
        if self.running is not None:
            self.running.disconnected = True
            self.running.message_event.set()
        super().connection_lost(exc)
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Parse what came. A head or a body that is too large is refused, also one that comes before an answer."""
        self._unset_keepalive_if_required()
        if self.phase == Phase.SILENT:
            self._enter(Phase.HEAD)
        if self.head_bytes is not None:
            self.head_bytes += len(data)
        else:
            self.body_bytes += len(data)
        self._parse(data)
        if self.transport.is_closing():
            return
        if self.head_bytes is not None and self.head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        elif self.body_bytes > MAX_TIMES_AS_LONG * settings.MAX_BODY_BYTES:
            closed_connections.labels("large_body").inc()
            self._refuse(413, f"The body is larger than {settings.MAX_BODY_BYTES} bytes.")

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self.transport.is_closing():
                self._parse_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if not self.transport.is_closing():
                closed_connections.labels("invalid_http").inc()
                self._refuse(400, "This is not a valid HTTP request.")

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Parse the request again as if its client had not offered another protocol, which clients of Java do.

        At such an offer httptools stops after the head, and would take the body for the next request.
        """
        headers = [
            (name, value)
            for name, value in self.headers
            if name != b"upgrade" and (name != b"connection" or b"close" in value.lower())
        ]
        request_lines = [
            b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        ]
        request_lines += [b"%s: %s" % header for header in headers]
        self.is_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._parse(b"\r\n".join([*request_lines, b"", b""]) + rest)

    def on_message_begin(self) -> None:
        """Begin a request, unless the connection was closed by one that came in the same piece."""
        if self.transport.is_closing():
            raise ConnectionAbortedError
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header. A trailer is not one (RFC 9110, 6.5.1): it came after the request was judged by its head."""
        if self.head_bytes is None:
            return
        if len(self.headers) >= MAX_HEADERS:
            self._refuse_head()
            raise ConnectionAbortedError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer: the body is read by the application."""
        if self.parser.should_upgrade():
            self.is_upgrade = True
            if self.parser.get_method() == b"CONNECT":
                self._refuse(405, "The method CONNECT is not allowed here.")
            return
        super().on_headers_complete()
        self.cycle.__class__ = Cycle
        self.scope["extensions"] = EXTENSIONS
        self.head_bytes, self.body_bytes = None, 0
        self._enter(Phase.BODY)
        if self.is_last_request:
            self.cycle.keep_alive = False
        if len(self.pipeline) > MAX_PIPELINED:
            self.close_for("pipelined")

    def on_message_complete(self) -> None:
        """The request is complete; from here on the service is at work."""
        if self.is_upgrade:
            return
        super().on_message_complete()
        self.head_bytes, self.body_bytes = 0, 0
        self._enter(Phase.NOTHING)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is here already."""
        super().on_response_complete()
        if self.running is None or self.running.response_complete:
            self._enter(Phase.HEAD if self.head_bytes else Phase.SILENT)

    def _enter(self, phase: Phase) -> None:
        self.phase, self.since = phase, self.loop.time()
        registry.touch(self)

    # --- what others do to it

    @property
    def is_evictable(self) -> bool:
        """Whether it may be closed to make room: nothing of it is being answered or sent."""
        running = self.running
        is_busy = running is not None and not running.response_complete and not running.more_body
        return not (is_busy or self.is_aborted or self.transport.get_write_buffer_size())

    def expect_no_more(self) -> None:
        """Close the connection after the answer to the last request that it has, or to the next one."""
        self.is_last_request = True
        if self.running is not None:
            self.cycle.keep_alive = False

    def check(self, now: float, limits: Limits) -> None:
        """Close the connection if its client has kept the service waiting for too long."""
        if self.is_aborted:
            return
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent <= self.unsent - MIN_READ_BYTES:
            self.unsent, self.unsent_since = unsent, now
        elif now - self.unsent_since > limits.write_seconds:
            self.close_for("slow_reader")
        else:
            self.unsent = max(self.unsent, unsent)
        if self.transport.is_closing():
            return
        waited = now - self.since
        if self._is_at_its_head() and waited > limits.head_seconds:
            self.close_for(self.phase)
        elif self.phase == Phase.BODY and not self.pipeline and waited > limits.body_seconds:
            closed_connections.labels(self.phase).inc()
            self._refuse(408, f"The body was not complete after {limits.body_seconds:g} seconds; nothing was done.")

    def _is_at_its_head(self) -> bool:
        """Whether a head is due. Between two requests uvicorn's own deadline holds, WEB_KEEPALIVE_SECONDS."""
        return self.phase == Phase.HEAD or (self.phase == Phase.SILENT and self.running is None)

    def close_for(self, reason: str) -> None:
        """Close the connection at once; what is on its way to the client is dropped."""
        if not self.is_aborted:
            self.is_aborted = True
            closed_connections.labels(reason).inc()
            self.transport.abort()

    def _refuse_head(self) -> None:
        closed_connections.labels("large_head").inc()
        self._refuse(431, f"The headers are larger than {MAX_HEAD_BYTES} bytes, or more than {MAX_HEADERS}.")

    def _refuse(self, status: int, detail: str) -> None:
        """Send a problem and close, after which the application reads that the client has left.

        While an earlier request waits for its answer, nothing is sent: it would count as the answer to that one.
        """
        is_its_body = self.phase == Phase.BODY and self.running is self.cycle
        if not is_its_body and self.running is not None and not self.running.response_complete:
            self.is_aborted = True
            self.transport.abort()
            return
        body = orjson.dumps(problems.problem(status, detail)) + NEWLINE
        headers = [
            (b"content-type", problems.CONTENT_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        self.transport.write(b"%s%s\r\n%s" % (STATUS_LINE[status], lines(headers), body))
        self.transport.close()


class Registry:
    """All connections of this process, by address, those that were active last at the end."""

    def __init__(self) -> None:
        self.limits: Limits | None = None
        self._by_address: dict[str, OrderedDict[Connection, None]] = {}
        self._number = 0

    def __iter__(self) -> Iterator[Connection]:
        return iter([connection for of_address in self._by_address.values() for connection in of_address])

    def admit(self, connection: Connection) -> None:
        """Take the connection in. If there are too many, close another one that waits for its client, or else this."""
        self.limits = self.limits or Limits.from_settings()
        of_address = self._by_address.setdefault(connection.address, OrderedDict())
        if len(of_address) >= self.limits.of_one_address:
            self._make_room(connection, of_address)
        elif self._number >= self.limits.connections:
            self._make_room(connection, max(self._by_address.values(), key=len))
        of_address[connection] = None
        self._number += 1
        open_connections.inc()

    def _make_room(self, connection: Connection, candidates: "OrderedDict[Connection, None]") -> None:
        next((other for other in candidates if other.is_evictable), connection).close_for("too_many")

    def touch(self, connection: Connection) -> None:
        """Note that the connection has just been active."""
        of_address = self._by_address.get(connection.address)
        if of_address is not None and connection in of_address:
            of_address.move_to_end(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        of_address = self._by_address.get(connection.address, OrderedDict())
        if connection in of_address:
            del of_address[connection]
            self._number -= 1
            open_connections.dec()
        if not of_address:
            self._by_address.pop(connection.address, None)

    async def keep_deadlines(self) -> None:
        """Close connections whose deadline has passed, until this is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for connection in self:
                try:
                    connection.check(loop.time(), self.limits or Limits.from_settings())
                except Exception:
                    logger.exception("the deadlines of a connection could not be checked")
                    connection.transport.abort()


registry = Registry()  # of this process; its event loop is the only one that serves
