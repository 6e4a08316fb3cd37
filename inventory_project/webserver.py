"""gunicorn's settings: processes with an event loop each, which answers the busiest operations itself."""

import resource
from typing import Any

import django
from django.conf import settings
from prometheus_client import multiprocess

from inventory_project import metrics_folder

metrics_folder.remember_process_id()
django.setup()

from inventory_project.foundation.http.server import GRACEFUL_SECONDS, Worker  # noqa: E402  # it needs the settings

wsgi_app = "inventory_project.asgi"  # gunicorn's name for it
bind = (
    f"[{settings.INVENTORY_HOST}]:{settings.INVENTORY_PORT}"
    if ":" in settings.INVENTORY_HOST
    else (f"{settings.INVENTORY_HOST}:{settings.INVENTORY_PORT}")
)
worker_class = Worker
workers = settings.WEB_WORKERS
backlog = 2_048
timeout = 30  # seconds without a sign of life, after which a worker is replaced
graceful_timeout = GRACEFUL_SECONDS
control_socket_disable = True
logconfig_dict = {
    **settings.LOGGING,
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True},
        # each request's own line is written by foundation.http, with its id
        "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
    },
}


def post_worker_init(_worker: Any) -> None:
    """Make room for many connections, and load everything that requests need before the first one."""
    from inventory_project import startup  # only here: its models need the settings above

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    startup.warm_up()


def child_exit(server: Any, worker: Any) -> None:
    """Remove an ended worker from the gauges of live processes."""
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
