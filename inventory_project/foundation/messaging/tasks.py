"""The Celery tasks of messaging, one line each."""

from celery import shared_task

from inventory_project.foundation.messaging import outbox, retention

# Messages in RabbitMQ and the schedule in the database contain a task's name. It stays the same if the module moves.


@shared_task(name="inventory_project.messaging.tasks.drain_outbox_to_log")
def drain_outbox_to_log() -> int:
    """Write unpublished events to the log. Used if no broker is configured."""
    return outbox.drain_to_log()


@shared_task(name="inventory_project.messaging.tasks.prune_messages")
def prune_messages() -> int | None:
    """Delete events and messages that are older than EVENT_RETENTION_DAYS."""
    return retention.prune()
