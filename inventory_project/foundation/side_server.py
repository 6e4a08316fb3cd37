"""A small HTTP server in a thread of its own, for what must answer whatever the process is doing."""

import socket
from collections.abc import Callable, Iterable
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.conf import settings
from prometheus_client.exposition import ThreadingWSGIServer

from inventory_project.foundation.errors import Unavailable

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def serve(application: Application, port: int, *, name: str) -> None:
    """Answer with the WSGI application on INVENTORY_HOST; port 0 turns this off.

    Raises Unavailable if the port is in use.
    """
    if not port:
        return
    host = settings.INVENTORY_HOST
    server_class = _ServerV6 if ":" in host else ThreadingWSGIServer
    try:
        server: WSGIServer = make_server(host, port, application, server_class, _Quiet)
    except OSError as error:
        raise Unavailable(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    Thread(target=server.serve_forever, name=name, daemon=True).start()


class _ServerV6(ThreadingWSGIServer):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because health checks come every few seconds."""
