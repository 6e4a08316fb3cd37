"""Celery tasks of reservations; one line each."""

from celery import shared_task

from reservations import audit, lifecycle


@shared_task(name="reservations.tasks.expire_reservations")
def expire_reservations() -> int:
    """Release every hold whose time is up."""
    return lifecycle.sweep() or 0


@shared_task(name="reservations.tasks.audit_stock")
def audit_stock() -> int:
    """Check the books, so that damage is seen before a customer sees it."""
    return audit.watch()
