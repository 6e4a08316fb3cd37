"""Celery: the worker runs the periodic jobs, beat says when. RabbitMQ is the broker; results are not kept."""

import os

from celery import Celery
from celery.signals import worker_ready
from prometheus_client import start_http_server

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")

app = Celery("inventory_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_after_finalize.connect
def schedule_jobs(sender: Celery, **_kwargs: object) -> None:
    """Hand the periodic jobs to beat, which keeps them in the database for the admin to see."""
    from inventory_project.jobs import JOBS

    sender.conf.beat_schedule = {
        job.name: {"task": job.task.name, "schedule": float(job.interval_seconds)} for job in JOBS
    }


@worker_ready.connect
def serve_metrics(**_kwargs: object) -> None:
    """Show this worker's counts on a port of its own. Its pool must be of threads: they count in one process."""
    from django.conf import settings

    if settings.WORKER_METRICS_PORT:
        start_http_server(settings.WORKER_METRICS_PORT)


def is_broker_reachable(*, timeout_seconds: int = 1) -> bool:
    """Whether a connection to RabbitMQ can be had now."""
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=timeout_seconds)
    except Exception:  # whatever stands in the way, the broker is not reachable
        return False
    return True
