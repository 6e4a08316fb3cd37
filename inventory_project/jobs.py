"""The list of periodic jobs. Celery beat schedules them; without a broker, `run_jobs` runs them itself.

Expiry is not among them: a process of its own does it, `expire_reservations --forever`, which needs PostgreSQL only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from inventory_project.foundation.access.tasks import clear_sessions, forget_failed_log_ins
from inventory_project.foundation.messaging import retention
from inventory_project.foundation.messaging.tasks import drain_outbox_to_log, prune_messages
from reservations.analysis.tasks import audit_everything, audit_stock
from stock.counters import sync
from stock.tasks import sync_counters


@dataclass(frozen=True, slots=True)
class Job:
    """A Celery task and how often it runs. `stoppable` is the same work in a form that can stop after a batch."""

    name: str
    task: Any
    interval_seconds: int
    stoppable: Callable[..., object] | None = None

    def run(self, *, should_stop: Callable[[], bool]) -> None:
        """Run the job once, in this process. A stoppable job ends early once `should_stop()` is true."""
        if self.stoppable is None:
            self.task()
        else:
            self.stoppable(should_stop=should_stop)


JOBS = (
    Job("audit_stock", audit_stock, settings.AUDIT_INTERVAL_SECONDS),
    Job("audit_everything", audit_everything, 3_600),  # asks whether it is due
    Job("clear_sessions", clear_sessions, 3_600),
    Job("forget_failed_log_ins", forget_failed_log_ins, 3_600),
    Job("prune_messages", prune_messages, settings.PRUNE_INTERVAL_SECONDS, stoppable=retention.prune),
    *(
        [Job("sync_counters", sync_counters, settings.SYNC_INTERVAL_SECONDS, stoppable=sync.run_periodic)]
        if settings.REDIS_URL
        else []
    ),
    *([Job("drain_outbox_to_log", drain_outbox_to_log, 1)] if settings.OUTBOX_TO_LOG else []),
)
