"""Celery tasks of reservations; one line each."""

from celery import shared_task

from reservations import lifecycle


@shared_task
def expire_reservations() -> int:
    """Release every hold whose time is up."""
    return lifecycle.sweep()
