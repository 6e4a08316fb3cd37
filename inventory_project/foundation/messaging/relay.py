"""The relay: sends events from the outbox to RabbitMQ, in the order of their ids, at least once.

One relay works and the others stand by; an advisory lock decides which. The lock, the reads and the marks use one
database session, so a relay that loses the lock cannot mark events. An event is marked once the broker has confirmed
it. If the relay is killed between the two, the event is sent again with the same id.
"""

import logging
from collections import Counter as Counts
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event as Flag

import psycopg
from django.conf import settings
from prometheus_client import Counter, Histogram

from inventory_project.foundation import database
from inventory_project.foundation.errors import Refusal
from inventory_project.foundation.faults import crash_point
from inventory_project.foundation.messaging import envelope, outbox
from inventory_project.foundation.messaging.heartbeat import Heartbeat
from inventory_project.foundation.messaging.outbox import PendingEvent
from inventory_project.foundation.messaging.rabbitmq import topology
from inventory_project.foundation.messaging.rabbitmq.connection import BrokerUnavailable
from inventory_project.foundation.messaging.rabbitmq.session import Session

logger = logging.getLogger(__name__)

LOCK = "publish_events"
BATCH = 1_000  # events sent before waiting for the confirms
CONFIRM_SECONDS = 10
REST_SECONDS = 0.1  # between two queries while the outbox is empty
STANDBY_SECONDS = 1.0
REFUSALS_BORNE = 10  # of one event by a full queue, before it is set aside

published = Counter("inventory_events_published", "Events that RabbitMQ has confirmed.", ["type"])
unrouted = Counter(
    "inventory_events_unrouted", "Events that no queue was bound for, or that a full one refused.", ["type"]
)
publish_delay_seconds = Histogram(
    "inventory_event_delay_seconds",
    "From the clock reading of an event's transaction to its confirmed publication.",
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1_800),
)


@dataclass(slots=True)
class History:
    """What the relay remembers between batches, and after it reconnects."""

    refusals: Counts[int] = field(default_factory=Counts)  # by a full queue, for each event
    unheard_types: set[str] = field(default_factory=set)  # no queue was bound for the last event of these types

    def note_listeners(self, events: Sequence[PendingEvent], returned: set[str]) -> None:
        """Log which event types lost their last queue and which have one again. `returned` are ids without a queue."""
        is_unheard = {event.type: str(event.event_id) in returned for event in events}
        lost = sorted(type_ for type_, is_so in is_unheard.items() if is_so and type_ not in self.unheard_types)
        found = sorted(type_ for type_, is_so in is_unheard.items() if not is_so and type_ in self.unheard_types)
        self.unheard_types.update(lost)
        self.unheard_types.difference_update(found)
        if lost:
            logger.warning(
                "no queue is bound to %s for %s, so nobody receives these events; they are not lost, but kept as "
                "unrouted for %s days: bind a queue, then run `manage.py publish_events --again-unrouted`",
                settings.EVENTS_EXCHANGE,
                ", ".join(lost),
                settings.EVENT_RETENTION_DAYS,
            )
        if found:
            logger.info("a queue is bound to %s for %s again", settings.EVENTS_EXCHANGE, ", ".join(found))


def run(stop: Flag, heartbeat: Heartbeat) -> None:
    """Publish until `stop`. If a server becomes unreachable, wait for it and continue."""
    history = History()
    while not stop.is_set():
        try:
            with database.session_of_its_own() as session:
                _stand_by(session, stop, heartbeat)
                topology.declare_events()
                with Session("relay", keep_waiting=partial(heartbeat.keep_waiting, stop)) as channel:
                    while not stop.is_set():
                        number = _publish_batch(session, channel, history)
                        heartbeat.beat("working")
                        if not number:
                            stop.wait(REST_SECONDS)
        except Refusal as refusal:
            heartbeat.wait(stop, refusal.detail)
        except psycopg.Error as error:
            heartbeat.wait(stop, f"The database cannot be used: {error}")


def _stand_by(session: psycopg.Connection, stop: Flag, heartbeat: Heartbeat) -> None:
    """Wait until this relay gets the lock, that is, until no other relay works."""
    while not stop.is_set():
        row = session.execute("SELECT pg_try_advisory_lock(%s)", [database.lock_key(LOCK)]).fetchone()
        if row and row[0]:
            return
        heartbeat.beat("standby", "another relay works")
        stop.wait(STANDBY_SECONDS)


def _publish_batch(session: psycopg.Connection, channel: Session, history: History) -> int:
    """Publish the oldest events and return their number. Raises BrokerUnavailable after marking those that were sent.

    An event that a full queue has refused REFUSALS_BORNE times is set aside as unrouted, because each try delivers it
    again to the other queues.
    """
    channel.check()
    events = outbox.waiting(session, limit=BATCH)
    if not events:
        return 0
    result = channel.publish([envelope.publication(event) for event in events], within_seconds=CONFIRM_SECONDS)
    crash_point("relay.after_publish")
    history.refusals.update(events[place].id for place in result.refused)
    confirmed = [event for event, is_confirmed in zip(events, result.is_confirmed, strict=True) if is_confirmed]
    left = [event for event in confirmed if str(event.event_id) not in result.returned]
    unheard = [event for event in confirmed if str(event.event_id) in result.returned]
    refused = [event for event in events if history.refusals[event.id] >= REFUSALS_BORNE]
    aside = [*unheard, *refused]
    delays = outbox.mark(session, published=_ids(left), unrouted=_ids(aside))
    for delay in delays:
        publish_delay_seconds.observe(delay)
    for event in left:
        published.labels(event.type).inc()
    for event in aside:
        unrouted.labels(event.type).inc()
    for event in (*left, *aside):
        del history.refusals[event.id]
    history.note_listeners(confirmed, result.returned)
    if refused:
        logger.error(
            "a full queue refused %s events %s times, the first %s %s; they are kept as unrouted",
            len(refused),
            REFUSALS_BORNE,
            refused[0].type,
            refused[0].event_id,
        )
    if result.problem:
        raise BrokerUnavailable(f"RabbitMQ did not take all events: {result.problem}.")
    return len(events)


def _ids(events: list[PendingEvent]) -> list[int]:
    return [event.id for event in events]
