"""The Celery task of the audit."""

from celery import shared_task

from reservations.analysis import audit


@shared_task(name="reservations.tasks.audit_stock")
def audit_stock() -> int:
    """Check the invariants of the books, so that damage is found before a customer finds it."""
    return audit.run_periodic()
