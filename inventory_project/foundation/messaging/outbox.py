"""The outbox: an event is written in the transaction of its change, so none is lost and none is invented."""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from psycopg import Connection
from uuid_utils.compat import uuid7

from inventory_project.foundation import database, tracing
from inventory_project.foundation.errors import Conflict
from inventory_project.foundation.messaging import installation
from inventory_project.foundation.messaging.models import Destination, OutboxEvent

logger = logging.getLogger(__name__)

COLUMNS = ("event_id", "type", "subject", "occasion", "data", "extensions", "occurred_at")
DRAIN_BATCH = 1_000
MAX_DRAIN_SECONDS = 5.0  # of one run of the job, which must end soon after SIGTERM; the next one goes on
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
    """Write unpublished events to the log and mark them as published; returns their number. Used without a broker.

    Where this installation's events go to RabbitMQ, they are left to the relay, whatever this process's settings are.
    """
    with database.job_lock("drain_outbox_to_log") as is_ours:
        if not is_ours:
            return 0
        if installation.read().events_go_to == Destination.RABBITMQ:
            _report_missing_broker()
            return 0
        until = time.monotonic() + MAX_DRAIN_SECONDS
        drained = 0
        while (number := _drain_batch()) and time.monotonic() < until:
            drained += number
        return drained + number


@transaction.atomic
def _drain_batch() -> int:
    if not OutboxEvent.objects.waiting().exists():
        return 0
    if installation.lock().events_go_to == Destination.RABBITMQ:  # a relay has begun since
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
    OutboxEvent.objects.filter(pk__in=[event.pk for event in batch]).update(
        published_at=database.database_now(), published_to=Destination.LOG
    )
    return len(batch)


@cache
def _report_missing_broker() -> None:
    """Log the error once in each process; the job comes every second."""
    logger.error(
        "RABBITMQ_URL is not set here, but this installation's events go to RabbitMQ: they are left to the relay, and "
        "not written to the log. Set RABBITMQ_URL for this process. To give up RabbitMQ, stop all relays and run "
        "`manage.py publish_events --to-log`"
    )


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


def send_logged_again() -> int:
    """Have the relay send the events that were written to the log. Returns their number.

    Raises Conflict if events go to the log, where they would be written a second time.
    """
    if installation.read().events_go_to != Destination.RABBITMQ:
        raise Conflict("Events go to the log here. Start a relay (`manage.py publish_events`) first, then send them.")
    total, last = 0, 0
    while chunk := list(
        OutboxEvent.objects.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:AGAIN_CHUNK]
    ):
        logged = OutboxEvent.objects.filter(pk__in=chunk, published_to=Destination.LOG)
        total += logged.update(published_at=None, published_to=None, unrouted_at=None)
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


def claim(session: Connection) -> None:
    """Record that the events go to RabbitMQ. The write also proves that this session can mark events.

    A server that is read-only, a standby, or full refuses it. Raises psycopg's errors.
    """
    session.execute(
        "INSERT INTO installation (id, events_go_to) VALUES (1, 'rabbitmq') "
        "ON CONFLICT (id) DO UPDATE SET events_go_to = EXCLUDED.events_go_to"
    )


PENDING = "id, event_id, type, subject, data::text, extensions::text, occurred_at"


def waiting(session: Connection, *, limit: int, without: Sequence[str] = ()) -> list[PendingEvent]:
    """The oldest unpublished events, except those of the subjects in `without`.

    It cannot search after the last published id: ids may commit in any order. It is planned each time (not prepared),
    because only then does PostgreSQL look up each subject in a hash table instead of comparing all of them.
    """
    rows = session.execute(
        f"SELECT {PENDING} FROM outbox_event "  # noqa: S608  # our own names
        "WHERE published_at IS NULL AND unrouted_at IS NULL AND subject <> ALL(%s::varchar[]) ORDER BY id LIMIT %s",
        [list(without), limit],
        prepare=False,
    )
    return [PendingEvent(*row) for row in rows]


def oldest_unrouted(session: Connection) -> list[PendingEvent]:
    """The oldest unrouted event of each type. Reads one row of the index for each, however many are unrouted."""
    rows = session.execute(
        f"""
        WITH RECURSIVE oldest AS (
            (SELECT type, id FROM outbox_event
              WHERE published_at IS NULL AND unrouted_at IS NOT NULL ORDER BY type, id LIMIT 1)
            UNION ALL
            SELECT following.type, following.id FROM oldest CROSS JOIN LATERAL (
                SELECT type, id FROM outbox_event
                 WHERE published_at IS NULL AND unrouted_at IS NOT NULL AND type > oldest.type
                 ORDER BY type, id LIMIT 1
            ) AS following
        )
        SELECT {PENDING} FROM outbox_event WHERE id IN (SELECT id FROM oldest) ORDER BY id
        """  # noqa: S608  # our own names
    )
    return [PendingEvent(*row) for row in rows]


# In the UPDATEs, statement_timestamp() and not clock_timestamp(): it is STABLE. All rows of a statement get one moment,
# and PostgreSQL with Citus refuses to distribute an UPDATE with a volatile function.


def mark(session: Connection, *, published: Sequence[int], unrouted: Sequence[int]) -> list[float]:
    """Mark events as published or unrouted. Returns the seconds from each published event's change until now.

    An event that was marked before, by another relay perhaps, stays as it is.
    """
    if unrouted:
        session.execute(
            "UPDATE outbox_event SET unrouted_at = statement_timestamp() "
            "WHERE id = ANY(%s) AND published_at IS NULL AND unrouted_at IS NULL",
            [unrouted],
        )
    rows = session.execute(
        "UPDATE outbox_event SET published_at = statement_timestamp(), published_to = 'rabbitmq' "
        "WHERE id = ANY(%s) AND published_at IS NULL "
        "RETURNING extract(epoch FROM published_at - occurred_at)::float8",
        [published],
    )
    return [row[0] for row in rows]


def send_type_again(session: Connection, type_: str) -> int:
    """Have the oldest unrouted events of a type wait again, AGAIN_CHUNK at most. Returns their number."""
    return session.execute(
        "UPDATE outbox_event SET unrouted_at = NULL WHERE id IN (SELECT id FROM outbox_event "
        "WHERE published_at IS NULL AND unrouted_at IS NOT NULL AND type = %s ORDER BY id LIMIT %s)",
        [type_, AGAIN_CHUNK],
    ).rowcount
