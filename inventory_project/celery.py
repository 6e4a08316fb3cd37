"""Celery: beat schedules the periodic jobs and a worker runs them. RabbitMQ is the broker; results are not kept."""

import os
import signal
from functools import cached_property
from types import FrameType
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.signals import beat_init, worker_ready

if TYPE_CHECKING:
    from celery.beat import Service

TASK_LIFE_SECONDS = 60  # the shortest life of a task; the clocks of worker and beat may differ a little
BEAT_STOP_SECONDS = 10.0  # the longest stop; containers are killed after 30
RETIRED_TASKS = ("reservations.tasks.expire_reservations",)  # `manage.py expire_reservations --forever` does it now

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")


def stop_beat_on_signals(_beat: object, service: "Service") -> None:
    """Have beat end on SIGTERM and SIGINT, whatever it is doing, and record its last runs on the way out.

    Celery's own handler records them inside the signal handler. In the middle of a transaction that raises an error
    of the database, which the interrupted code takes for its own and logs, and beat runs on as if no signal had come.

    Beat then closes its connection to RabbitMQ and waits for the answer without a limit. None comes if RabbitMQ is
    frozen, or if the signal cut an answer in two. So the way out has a limit of its own.
    """

    def leave(_signal_number: int, _frame: FrameType | None) -> None:
        raise SystemExit

    def stop(_signal_number: int, _frame: FrameType | None) -> None:
        # In case the interrupted code discards the exception. The stubs leave out what is private; `stop` logs, which a
        # signal handler must not.
        service._is_shutdown.set()  # type: ignore[attr-defined]
        signal.signal(signal.SIGALRM, leave)
        signal.setitimer(signal.ITIMER_REAL, BEAT_STOP_SECONDS)
        raise SystemExit

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


class App(Celery):
    """A Celery app whose beat stops reliably on SIGTERM and SIGINT."""

    @cached_property
    def Beat(self) -> type[Any]:  # noqa: N802  # Celery's name for it
        """The class that the command `celery beat` starts."""
        from celery.apps.beat import Beat

        return self.subclass_with_self(Beat, install_sync_handler=stop_beat_on_signals)


app = App("inventory_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(["reservations.analysis"])  # a package inside an app, where Celery does not look by default


@app.on_after_finalize.connect
def schedule_jobs(sender: Celery, **_kwargs: object) -> None:
    """Pass the periodic jobs to beat, which keeps them in the database, so that the admin lists them.

    A task expires soon if no worker takes it. Otherwise a worker that was down would find thousands of them. The option
    is the database scheduler's `expire_seconds`; that scheduler silently drops Celery's own `expires`.
    """
    from inventory_project.jobs import JOBS

    sender.conf.beat_schedule = {
        job.name: {
            "task": job.task.name,
            "schedule": float(job.interval_seconds),
            "options": {"expire_seconds": max(job.interval_seconds, TASK_LIFE_SECONDS)},
        }
        for job in JOBS
    }


@beat_init.connect
def forget_retired_tasks(**_kwargs: object) -> None:
    """Delete the periodic tasks of earlier versions. Beat has them from the database, and would go on sending them."""
    from django_celery_beat.models import PeriodicTask

    PeriodicTask.objects.filter(task__in=RETIRED_TASKS).delete()


@worker_ready.connect
def serve_metrics(**_kwargs: object) -> None:
    """Serve this worker's metrics on a port of its own. The pool must use threads, which count in one process."""
    from django.conf import settings

    from inventory_project.foundation import side_server

    side_server.serve(settings.WORKER_METRICS_PORT, name="metrics")


def is_broker_reachable(*, timeout_seconds: int = 1) -> bool:
    """Whether RabbitMQ accepts a connection now. It is tried once, and each wait takes `timeout_seconds` at most."""
    try:
        with app.connection_for_write(connect_timeout=timeout_seconds) as connection:
            connection.ensure_connection(max_retries=0)
    except Exception:  # whatever the cause, the broker is not reachable
        return False
    return True
