"""Celery tasks of reservations; one line each."""

from celery import shared_task

from reservations import lifecycle


@shared_task(name="reservations.tasks.expire_reservations")
def expire_reservations() -> int:
    """Release every hold whose time is up."""
    return lifecycle.sweep().released
