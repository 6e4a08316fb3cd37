"""Deletes published events and handled messages after EVENT_RETENTION_DAYS, and records until when."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from inventory_project.foundation import database
from inventory_project.foundation.messaging import installation
from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent

logger = logging.getLogger(__name__)

CHUNK = 5_000  # rows deleted in one transaction
# A process that asks for more days than others prunes every hour. After a day without it, the days were lowered.
LOWERED_AFTER = timedelta(days=1)


def prune(*, should_stop: Callable[[], bool] = lambda: False) -> int | None:
    """Delete old published or unrouted events, and old handled messages.

    Returns the number of rows, or None if another process is doing it. `should_stop` is called before each chunk.
    """
    with database.job_lock("prune_messages") as is_ours:
        if not is_ours:
            return None
        now = database.database_now()
        old = now - timedelta(days=_days_kept(now))
        _note_pruned_before(old)  # before the first row goes: the audit must never miss an event that was deleted
        has_left = Q(published_at__isnull=False) | Q(unrouted_at__isnull=False)
        return _delete(OutboxEvent, has_left & Q(occurred_at__lt=old), should_stop) + _delete(
            InboxMessage, Q(processed_at__lt=old), should_stop
        )


def pruned_before() -> datetime | None:
    """The moment before which published events may have been deleted; None if none was ever deleted.

    It never moves back, also if EVENT_RETENTION_DAYS is raised. A transaction sees it and the events at one moment.
    """
    return installation.read().pruned_before


@transaction.atomic
def _note_pruned_before(moment: datetime) -> None:
    row = installation.lock()
    if row.pruned_before is None or row.pruned_before < moment:
        row.pruned_before = moment
        row.save(update_fields=["pruned_before"])


@transaction.atomic
def _days_kept(now: datetime) -> int:
    """The longest EVENT_RETENTION_DAYS that a process of this installation asked for in the last day.

    Otherwise the process with the fewest days would delete what the others want to keep.
    """
    row = installation.lock()
    wanted = settings.EVENT_RETENTION_DAYS
    is_lowered = row.retention_seen_at is None or row.retention_seen_at < now - LOWERED_AFTER
    if row.retention_days is None or wanted >= row.retention_days or is_lowered:
        row.retention_days, row.retention_seen_at = wanted, now
        row.save(update_fields=["retention_days", "retention_seen_at"])
    else:
        logger.warning(
            "EVENT_RETENTION_DAYS is %s here, and was %s in another process within the last day; %s days are kept. "
            "Set the same value everywhere",
            wanted,
            row.retention_days,
            row.retention_days,
        )
    return row.retention_days


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
