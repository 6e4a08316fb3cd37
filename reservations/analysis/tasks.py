"""The Celery task of the audit."""

from celery import shared_task

from reservations.analysis import audit


@shared_task(name="reservations.tasks.audit_stock")
def audit_stock() -> int:
    """Check what is new and a part of what is old, so that damage is found before a customer finds it."""
    return audit.run_periodic()


@shared_task(name="reservations.tasks.audit_everything")
def audit_everything() -> int | None:
    """Check all of the books, if it was not done for AUDIT_FULL_INTERVAL_DAYS."""
    return audit.run_everything_if_due()
