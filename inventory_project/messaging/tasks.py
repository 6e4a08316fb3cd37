"""Celery tasks of the outbox; one line each."""

from celery import shared_task

from inventory_project.messaging import outbox, retention


@shared_task
def drain_outbox_to_log() -> int:
    """Write unpublished events to the log, where no broker is configured."""
    return outbox.drain_to_log()


@shared_task
def prune_messages() -> int | None:
    """Delete what the outbox and the inbox have kept long enough."""
    return retention.prune()
