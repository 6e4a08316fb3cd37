"""gunicorn's settings: processes with threads, since the work is waiting for PostgreSQL."""

from typing import Any

import django
from django.conf import settings
from prometheus_client import multiprocess

django.setup()

wsgi_app = "inventory_project.wsgi"
bind = (
    f"[{settings.INVENTORY_HOST}]:{settings.INVENTORY_PORT}"
    if ":" in settings.INVENTORY_HOST
    else (f"{settings.INVENTORY_HOST}:{settings.INVENTORY_PORT}")
)
worker_class = "gthread"
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


def child_exit(server: Any, worker: Any) -> None:
    """A worker that is gone must not be counted among the living gauges."""
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
