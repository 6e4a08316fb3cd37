"""gunicorn's settings: processes with threads, because most of the time is spent waiting for PostgreSQL."""

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
    """gunicorn's threaded worker, with fair sharing of new connections and no unanswered connection on stopping.

    The process that wakes first accepts a new connection, and clients keep it. One process may then get nearly all of
    them and use one core, while the others are idle.

    The kernel continues to open connections until the last process has closed the port, and then resets those that were
    not accepted. gunicorn's own worker stops accepting at once, but closes the port seconds later.
    """

    def accept(self, listener: Any) -> None:
        """Accept a connection after a pause that grows with their number, so that a less busy process comes first."""
        if self.alive and self.cfg.workers > 1:
            time.sleep(min(self.nr_conns, MAX_CONNECTIONS_COUNTED) * SECONDS_A_CONNECTION)
        super().accept(listener)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop accepting. On stopping, accept all waiting connections, then close the port at once."""
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
timeout = 30  # seconds without a sign of life, after which a worker is replaced
graceful_timeout = 20  # seconds that requests in progress have to finish on SIGTERM
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
    """Load everything that requests need, before the process gets its first one."""
    from inventory_project import health, startup  # only here: their models need the settings above

    resolve("/health")  # loads the views and their imports
    startup.warm_up()
    health.answer_beside()


def child_exit(server: Any, worker: Any) -> None:
    """Remove an ended worker from the gauges of live processes."""
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
