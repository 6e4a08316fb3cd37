"""The Celery task of the audit, one line."""

from celery import shared_task

from reservations.analysis import audit


@shared_task(name="reservations.tasks.audit_stock")
def audit_stock() -> int:
    """Check the books, so that damage is seen before a customer sees it."""
    return audit.run_periodic()
