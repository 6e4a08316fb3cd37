"""Events are recorded in the transaction that makes them true, so none is lost and none is invented."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from psycopg import Connection
from uuid_utils.compat import uuid7

from inventory_project.foundation import database, tracing
from inventory_project.foundation.messaging.models import OutboxEvent

logger = logging.getLogger(__name__)

COLUMNS = ("event_id", "type", "subject", "occasion", "data", "extensions", "occurred_at")
DRAIN_BATCH = 1_000
AGAIN_CHUNK = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened to whom. `occasion`: see OutboxEvent; `data` is JSON-ready.

    `extensions` are those of the request that is being decided; an event that a whole batch causes is given none.
    """

    type: str
    subject: str
    data: dict[str, Any]
    occasion: str | None = ""
    extensions: Mapping[str, str] = field(default_factory=tracing.current)


def record(events: Sequence[Event], *, at: datetime) -> None:
    """Write the events to the outbox by one statement, in their order. Refuses to run outside a transaction."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("an event is recorded in the transaction of its change")
    database.insert_rows(
        OutboxEvent,
        COLUMNS,
        [(uuid7(), event.type, event.subject, event.occasion, event.data, event.extensions, at) for event in events],
    )


def drain_to_log() -> int:
    """Where no broker is configured: write unpublished events to the log, mark them, return how many there were."""
    with database.job_lock("drain_outbox_to_log") as is_ours:
        if not is_ours:
            return 0
        batch = list(OutboxEvent.objects.waiting()[:DRAIN_BATCH])
        for event in batch:
            members = {
                "event_id": str(event.event_id),
                "event_type": event.type,
                "subject": event.subject,
                "data": event.data,
            }
            logger.info("event %s", event.type, extra=members)
        OutboxEvent.objects.filter(pk__in=[event.pk for event in batch]).update(published_at=database.database_now())
    return len(batch)


def send_unrouted_again(ids: Collection[int] | None = None) -> int:
    """Have the relay send what the broker had no queue for, or those of these ids; how many events those are.

    In chunks from the oldest on: an exchange that nobody listened to for a day leaves more than one statement can do.
    """
    unrouted = OutboxEvent.objects.unrouted()
    if ids is not None:
        unrouted = unrouted.filter(pk__in=ids)
    total, last = 0, 0
    while chunk := list(unrouted.filter(pk__gt=last).values_list("pk", flat=True)[:AGAIN_CHUNK]):
        total += OutboxEvent.objects.unrouted().filter(pk__in=chunk).update(unrouted_at=None)
        last = chunk[-1]
    return total


# --- the relay's reads and marks, over its own session -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """An event that has not left yet; `data` and `extensions` are JSON texts."""

    id: int
    event_id: UUID
    type: str
    subject: str
    data: str
    extensions: str
    occurred_at: datetime


def waiting(session: Connection, *, limit: int) -> list[PendingEvent]:
    """The oldest events that have not left. Not those after the last one that did: ids become visible in any order."""
    rows = session.execute(
        "SELECT id, event_id, type, subject, data::text, extensions::text, occurred_at FROM outbox_event "
        "WHERE published_at IS NULL AND unrouted_at IS NULL ORDER BY id LIMIT %s",
        [limit],
    )
    return [PendingEvent(*row) for row in rows]


def mark(session: Connection, *, published: Sequence[int], unrouted: Sequence[int]) -> list[float]:
    """Note which events have left, and which the broker had no queue for; seconds from each one's commit until now."""
    if unrouted:
        session.execute("UPDATE outbox_event SET unrouted_at = clock_timestamp() WHERE id = ANY(%s)", [unrouted])
    rows = session.execute(
        "UPDATE outbox_event SET published_at = clock_timestamp() WHERE id = ANY(%s) "
        "RETURNING extract(epoch FROM published_at - occurred_at)::float8",
        [published],
    )
    return [row[0] for row in rows]
