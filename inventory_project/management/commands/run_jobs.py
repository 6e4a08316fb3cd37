"""manage.py run_jobs: the periodic jobs in this one process, for installations without Celery."""

import logging
import time
from threading import Event, Thread
from typing import Any

from django.db import connection

from inventory_project.foundation.commands import ServiceCommand, stop_on_signals
from inventory_project.jobs import JOBS, Job

logger = logging.getLogger(__name__)

STOP_SECONDS = 15  # a batch in progress takes less; an audit may take longer, but only reads and can be abandoned


class Command(ServiceCommand):
    help = "Run the periodic jobs side by side until SIGTERM; `serve` starts it where there is no RabbitMQ."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = stop_on_signals()
        # A thread for each job, so that a long audit does not delay the job that releases stock.
        threads = [Thread(target=_repeat, args=(job, stop), name=job.name, daemon=True) for job in JOBS]
        for thread in threads:
            thread.start()
        stop.wait()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _repeat(job: Job, stop: Event) -> None:
    while not stop.is_set():
        due = time.monotonic() + job.interval_seconds
        _run(job, stop)
        stop.wait(max(0.0, due - time.monotonic()))


def _run(job: Job, stop: Event) -> None:
    """Run the job once. A failure is logged and the next run tries again, because every job can be repeated."""
    try:
        job.run(should_stop=stop.is_set)
    except Exception:
        logger.exception("job failed job=%s", job.name)
    finally:
        connection.close()  # this thread's connection; the next run opens a new one
