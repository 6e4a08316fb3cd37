"""Celery tasks of the outbox; one line each."""

from celery import shared_task

from inventory_project.foundation.messaging import outbox, retention

# A task's name is part of the messages in RabbitMQ and of the schedule in the database: it stays when a module moves.


@shared_task(name="inventory_project.messaging.tasks.drain_outbox_to_log")
def drain_outbox_to_log() -> int:
    """Write unpublished events to the log, where no broker is configured."""
    return outbox.drain_to_log()


@shared_task(name="inventory_project.messaging.tasks.prune_messages")
def prune_messages() -> int | None:
    """Delete what the outbox and the inbox have kept long enough."""
    return retention.prune()
