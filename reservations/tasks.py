"""Celery tasks of reservations; one line each."""

from celery import shared_task

from reservations import audit, lifecycle


@shared_task
def expire_reservations() -> int:
    """Release every hold whose time is up."""
    return lifecycle.sweep() or 0


@shared_task
def audit_stock() -> int:
    """Check the books, so that damage is seen before a customer sees it."""
    return audit.watch()
