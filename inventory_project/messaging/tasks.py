"""Celery tasks of the outbox; one line each."""

from celery import shared_task

from inventory_project.messaging import outbox


@shared_task
def drain_outbox_to_log() -> int:
    """Write unpublished events to the log, where no broker is configured."""
    return outbox.drain_to_log()
