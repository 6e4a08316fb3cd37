"""Events are recorded in the transaction that makes them true, so none is lost and none is invented."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from uuid_utils.compat import uuid7

from inventory_project import database
from inventory_project.messaging.models import OutboxEvent

logger = logging.getLogger(__name__)

COLUMNS = ("event_id", "type", "subject", "occasion", "data", "occurred_at")
DRAIN_BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened to whom. `occasion`: see OutboxEvent; `data` is JSON-ready."""

    type: str
    subject: str
    data: dict[str, Any]
    occasion: str | None = ""


def record(events: Sequence[Event], *, at: datetime) -> None:
    """Write the events to the outbox by one statement, in their order. Refuses to run outside a transaction."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("an event is recorded in the transaction of its change")
    database.insert_rows(
        OutboxEvent,
        COLUMNS,
        [(uuid7(), event.type, event.subject, event.occasion, event.data, at) for event in events],
    )


def drain_to_log() -> int:
    """Where no broker is configured: write unpublished events to the log, mark them, return how many there were."""
    with database.job_lock("drain_outbox_to_log") as is_ours:
        if not is_ours:
            return 0
        batch = list(OutboxEvent.objects.filter(published_at=None).order_by("id")[:DRAIN_BATCH])
        for event in batch:
            logger.info(
                "event %s subject=%s data=%s", event.type, event.subject, json.dumps(event.data, sort_keys=True)
            )
        OutboxEvent.objects.filter(pk__in=[event.pk for event in batch]).update(published_at=database.database_now())
    return len(batch)
