"""gunicorn's settings: processes with threads, since the work is waiting for PostgreSQL."""

import time
from typing import Any

import django
from django.conf import settings
from django.urls import resolve
from gunicorn.workers.gthread import ThreadWorker
from prometheus_client import multiprocess

django.setup()

SECONDS_A_CONNECTION = 0.000_05
MAX_CONNECTIONS_COUNTED = 40  # so 2 ms at most


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's worker with threads, which shares new connections fairly and leaves none of them unheard at its end.

    Whichever process wakes first takes a new connection, and clients keep it: one process may get nearly all of them,
    and work on one core while the others have nothing to do.

    The kernel goes on making connections until the last process has closed the port, and then resets those that nobody
    has accepted. gunicorn's own worker stops accepting at once, and closes the port seconds later.
    """

    def accept(self, listener: Any) -> None:
        """Accept a connection, the later the more there are here: a process with fewer comes first then."""
        if self.alive and self.cfg.workers > 1:
            time.sleep(min(self.nr_conns, MAX_CONNECTIONS_COUNTED) * SECONDS_A_CONNECTION)
        super().accept(listener)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Begin or cease to accept; to stop, take in whoever stands at the port, and close it at once."""
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in [listener for listener in self.sockets if listener.fileno() != -1]:
            before = -1
            while self.nr_conns != before:
                before = self.nr_conns
                self.accept(listener)
            listener.close()


wsgi_app = "inventory_project.wsgi"
bind = (
    f"[{settings.INVENTORY_HOST}]:{settings.INVENTORY_PORT}"
    if ":" in settings.INVENTORY_HOST
    else (f"{settings.INVENTORY_HOST}:{settings.INVENTORY_PORT}")
)
worker_class = Worker
workers = settings.WEB_WORKERS
threads = settings.WEB_THREADS
keepalive = 5
timeout = 30  # a worker that does not answer its master for so long is replaced
graceful_timeout = 20  # on SIGTERM requests in hand get this long to finish
control_socket_disable = True
logconfig_dict = {
    **settings.LOGGING,
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True},
        # django-structlog writes a line for each request, with its id
        "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
    },
}


def post_worker_init(_worker: Any) -> None:
    """A process hears its first request with everything loaded that requests need."""
    from inventory_project import startup  # only here: its models need the settings above

    resolve("/health")  # has the views and what they import loaded
    startup.warm_up()


def child_exit(server: Any, worker: Any) -> None:
    """A worker that is gone must not be counted among the living gauges."""
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
