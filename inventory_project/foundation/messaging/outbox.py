"""The outbox: an event is written in the transaction of its change, so none is lost and none is invented."""

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
    """An event to record: what happened to which subject. For `occasion` see OutboxEvent; `data` is JSON-ready.

    `extensions` default to those of the request that is being decided. An event caused by a whole batch has none.
    """

    type: str
    subject: str
    data: dict[str, Any]
    occasion: str | None = ""
    extensions: Mapping[str, str] = field(default_factory=tracing.current)


def record(events: Sequence[Event], *, at: datetime) -> None:
    """Write the events to the outbox in this order, with one statement. Must run inside a transaction."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("an event is recorded in the transaction of its change")
    database.insert_rows(
        OutboxEvent,
        COLUMNS,
        [(uuid7(), event.type, event.subject, event.occasion, event.data, event.extensions, at) for event in events],
    )


def drain_to_log() -> int:
    """Write unpublished events to the log and mark them as published; returns their number. Used without a broker."""
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
    """Have the relay send all unrouted events again, or only those with these ids. Returns their number.

    It works in chunks from the oldest on: after a day without any queue, one statement could not update all of them.
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
    """An event that waits to be published. `data` and `extensions` are JSON texts."""

    id: int
    event_id: UUID
    type: str
    subject: str
    data: str
    extensions: str
    occurred_at: datetime


def waiting(session: Connection, *, limit: int) -> list[PendingEvent]:
    """The oldest unpublished events. It cannot search after the last published id: ids may commit in any order."""
    rows = session.execute(
        "SELECT id, event_id, type, subject, data::text, extensions::text, occurred_at FROM outbox_event "
        "WHERE published_at IS NULL AND unrouted_at IS NULL ORDER BY id LIMIT %s",
        [limit],
    )
    return [PendingEvent(*row) for row in rows]


def mark(session: Connection, *, published: Sequence[int], unrouted: Sequence[int]) -> list[float]:
    """Mark events as published or unrouted. Returns the seconds from each published event's change until now."""
    if unrouted:
        session.execute("UPDATE outbox_event SET unrouted_at = clock_timestamp() WHERE id = ANY(%s)", [unrouted])
    rows = session.execute(
        "UPDATE outbox_event SET published_at = clock_timestamp() WHERE id = ANY(%s) "
        "RETURNING extract(epoch FROM published_at - occurred_at)::float8",
        [published],
    )
    return [row[0] for row in rows]
