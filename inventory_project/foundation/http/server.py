"""The web server: uvicorn in a worker process of gunicorn, with connections that end in order when it stops."""

import asyncio
import errno
import logging
import socket
import sys
from typing import Any, ClassVar

import uvicorn
from django.conf import settings
from gunicorn.arbiter import Arbiter
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

from inventory_project.foundation.http.connections import Connection, registry

SECONDS_A_CONNECTION = 0.000_05
MAX_CONNECTIONS_COUNTED = 40  # so 2 ms at most
EXHAUSTED_SECONDS = 1.0  # without a try, when the process may open no more files
LINGER_SECONDS = 1.0  # on stopping, for a request that is on its way over a connection that stands open
GRACEFUL_SECONDS = 20  # that requests in progress have to finish on SIGTERM

logger = logging.getLogger(__name__)


class Acceptor:
    """Accepts connections from a listening socket that the web processes share.

    The process that wakes first accepts a new connection, and clients keep it. One process may then get nearly all of
    them and use one core, while the others are idle. So each pauses for longer, the more connections it has.

    One connection is accepted in a turn of the event loop, so a rush of new ones delays no request that is in progress.
    """

    def __init__(self, listener: socket.socket, server: "Server") -> None:
        self._listener, self._server = listener, server
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_exhausted = False
        listener.setblocking(False)
        self._wait()

    def _wait(self) -> None:
        self._loop.add_reader(self._listener, self._pause)

    def _pause(self) -> None:
        self._loop.remove_reader(self._listener)
        connections = len(self._server.server_state.connections) if settings.WEB_WORKERS > 1 else 0
        pause = min(connections, MAX_CONNECTIONS_COUNTED) * SECONDS_A_CONNECTION
        self._timer = self._loop.call_later(pause, self._go_on)

    def _go_on(self) -> None:
        self._is_exhausted = False
        self._accept()
        if self._is_exhausted:
            self._timer = self._loop.call_later(EXHAUSTED_SECONDS, self._wait)
        else:
            self._wait()

    def _accept(self) -> bool:
        """Whether a connection was waiting and is open now."""
        try:
            client, _ = self._listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED):
                logger.warning("a connection could not be accepted: %s", error)
                self._is_exhausted = True
            return False
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._server.new_connection, client))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return True

    async def close(self) -> None:
        """Accept what is waiting, then close the port: the kernel would reset those that were not accepted."""
        self._loop.remove_reader(self._listener)
        if self._timer is not None:
            self._timer.cancel()
        while self._accept():
            pass
        self._listener.close()
        if self._opening:
            await asyncio.wait(self._opening)


class Server(uvicorn.Server):
    """uvicorn's server, with Acceptors. On stopping it leaves no complete request without an answer."""

    def __init__(self, config: uvicorn.Config, listeners: list[socket.socket]) -> None:
        super().__init__(config)
        self._listeners = listeners

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections and to keep their deadlines."""
        await super().startup(sockets=[])
        self._acceptors = [Acceptor(listener, self) for listener in self._listeners]
        self._deadlines = asyncio.get_running_loop().create_task(registry.keep_deadlines())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: close the port, answer the requests that still arrive, then close the connections that stand open.

        These last answers say `Connection: close`.
        """
        for acceptor in self._acceptors:
            await acceptor.close()
        for connection in registry:
            connection.expect_no_more()
        loop = asyncio.get_running_loop()
        until = loop.time() + LINGER_SECONDS
        while self.server_state.connections and loop.time() < until:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
        self._deadlines.cancel()

    def new_connection(self) -> Connection:
        """The protocol of a connection that was accepted."""
        return Connection(config=self.config, server_state=self.server_state, app_state={})


class Worker(UvicornWorker):  # type: ignore[misc]  # uvicorn_worker has no types
    """A web process of gunicorn that runs this Server. Forwarded headers change nothing here: Django judges them."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": Connection,
        "ws": "none",
        "lifespan": "off",
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "reset_contextvars": True,  # a request on a kept connection has nothing of the one before it
        "timeout_keep_alive": settings.WEB_KEEPALIVE_SECONDS,
        "timeout_graceful_shutdown": GRACEFUL_SECONDS - 2,  # gunicorn's own seconds began before
    }

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        uvicorn_logger = logging.getLogger("uvicorn.error")  # which was given gunicorn's handlers: none
        uvicorn_logger.propagate = True
        uvicorn_logger.setLevel(logging.ERROR)

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = Server(self.config, self.sockets)
        self._install_sigquit_handler()
        await server.serve()
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
