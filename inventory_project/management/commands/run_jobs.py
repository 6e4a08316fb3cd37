"""manage.py run_jobs: the periodic jobs in this one process, for installations without Celery."""

import logging
import signal
import time
from threading import Event
from typing import Any

from django.db import close_old_connections

from inventory_project.commands import ServiceCommand
from inventory_project.jobs import JOBS, Job

logger = logging.getLogger(__name__)


class Command(ServiceCommand):
    help = "Run the periodic jobs one after the other until SIGTERM; `serve` starts it where there is no RabbitMQ."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: stop.set())
        due = {job.name: time.monotonic() for job in JOBS}
        while not stop.is_set():
            for job in JOBS:
                if time.monotonic() >= due[job.name] and not stop.is_set():
                    _run(job)
                    due[job.name] = time.monotonic() + job.interval_seconds
            stop.wait(max(0.0, min(due.values()) - time.monotonic()))


def _run(job: Job) -> None:
    """One run; a failure is logged and the next run tries again, for every job can be repeated."""
    close_old_connections()
    try:
        job.task()
    except Exception:
        logger.exception("job failed job=%s", job.name)
