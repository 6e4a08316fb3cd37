"""The periodic jobs, in one list: beat schedules them, and where there is no broker `run_jobs` runs them itself."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from inventory_project.messaging.tasks import drain_outbox_to_log
from reservations.tasks import audit_stock, expire_reservations


@dataclass(frozen=True, slots=True)
class Job:
    """A Celery task and how often it runs."""

    name: str
    task: Any
    interval_seconds: int


JOBS = (
    Job("expire_reservations", expire_reservations, settings.EXPIRY_INTERVAL_SECONDS),
    Job("audit_stock", audit_stock, settings.AUDIT_INTERVAL_SECONDS),
    *([Job("drain_outbox_to_log", drain_outbox_to_log, 1)] if settings.OUTBOX_TO_LOG else []),
)
