"""The outbox and the inbox keep what has done its work for EVENT_RETENTION_DAYS, and no longer."""

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db.models import Q

from inventory_project.foundation import database
from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent

CHUNK = 5_000  # rows of one transaction


def prune(*, should_stop: Callable[[], bool] = lambda: False) -> int | None:
    """Delete events that have left, or found no queue, and messages that were handled, once they are old.

    How many rows those were, None when another process is at it. `should_stop` is asked after each chunk.
    """
    with database.job_lock("prune_messages") as is_ours:
        if not is_ours:
            return None
        old = database.database_now() - timedelta(days=settings.EVENT_RETENTION_DAYS)
        has_left = Q(published_at__isnull=False) | Q(unrouted_at__isnull=False)
        return _delete(OutboxEvent, has_left & Q(occurred_at__lt=old), should_stop) + _delete(
            InboxMessage, Q(processed_at__lt=old), should_stop
        )


def _delete(model: type[OutboxEvent] | type[InboxMessage], is_done: Q, should_stop: Callable[[], bool]) -> int:
    """Chunk by chunk, oldest first, up to one that has nothing to delete: the id alone is indexed."""
    total = 0
    while not should_stop():
        oldest = list(model._default_manager.order_by("pk").values_list("pk", flat=True)[:CHUNK])
        deleted, _ = model._default_manager.filter(is_done, pk__in=oldest).delete()
        total += deleted
        if not deleted:
            break
    return total
