"""Facts of the whole installation. They are in its database, because the environments of two processes may differ."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import transaction

from inventory_project.foundation import database
from inventory_project.foundation.messaging.models import Destination, Installation

logger = logging.getLogger(__name__)

THE_ROW = 1
# Counters count as in use for so long after a sync, or for two intervals of the sync if that is longer.
COUNTERS_IN_USE = timedelta(hours=1)


def read() -> Installation:
    """The facts as they are now. An installation that has recorded none yet has the defaults."""
    return Installation.objects.filter(pk=THE_ROW).first() or Installation()


def lock() -> Installation:
    """The facts, which no other process can change until this transaction ends. Must run inside a transaction."""
    row, _ = Installation.objects.select_for_update().get_or_create(pk=THE_ROW)
    return row


@transaction.atomic
def send_events_to(destination: Destination) -> None:
    """Record where the events of this installation go from now on."""
    row = lock()
    row.events_go_to = destination
    row.save(update_fields=["events_go_to"])
    logger.info("events go to %s from now on", destination.label)


@transaction.atomic
def note_counters_synced() -> None:
    """Record that this installation uses counters, and that they agree with the levels."""
    row = lock()
    row.counters_synced_at = database.database_now()
    row.save(update_fields=["counters_synced_at"])


def warn_of_missing_redis() -> None:
    """Log an error if this process has no REDIS_URL and others keep counters: they do not see what it sells.

    It is no reason to refuse the start: no counter is trusted, and each sync repairs them.
    """
    synced_at = None if settings.REDIS_URL else read().counters_synced_at
    if synced_at is None:
        return
    age = database.database_now() - synced_at
    if age < max(COUNTERS_IN_USE, 2 * timedelta(seconds=settings.SYNC_INTERVAL_SECONDS)):
        logger.error(
            "REDIS_URL is not set here, but another process synced this installation's counters in Redis %d s ago. "
            "Until the next sync, availability from the counters misses what this process sells. Set the same "
            "REDIS_URL everywhere; if Redis was given up, ignore this for an hour",
            age.total_seconds(),
        )
