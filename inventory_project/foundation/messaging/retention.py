"""Deletes published events and handled messages after EVENT_RETENTION_DAYS."""

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db.models import Q

from inventory_project.foundation import database
from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent

CHUNK = 5_000  # rows deleted in one transaction


def prune(*, should_stop: Callable[[], bool] = lambda: False) -> int | None:
    """Delete old published or unrouted events, and old handled messages.

    Returns the number of rows, or None if another process is doing it. `should_stop` is called before each chunk.
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
    """Delete in chunks, oldest first, until a chunk has nothing to delete. Only the id is indexed, not the time."""
    total = 0
    while not should_stop():
        oldest = list(model._default_manager.order_by("pk").values_list("pk", flat=True)[:CHUNK])
        deleted, _ = model._default_manager.filter(is_done, pk__in=oldest).delete()
        total += deleted
        if not deleted:
            break
    return total
