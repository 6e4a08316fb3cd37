"""The relay: takes events from the outbox to RabbitMQ, in the order of their ids, at least once.

One relay works, others stand by: an advisory lock tells. The lock, the reads and the marks go over one session with the
database, so whoever loses the lock cannot mark. An event is marked once the broker has confirmed it; killed between the
two, the relay leaves it to be sent again, with the same id.
"""

import logging
from functools import partial
from threading import Event as Flag

import psycopg
from prometheus_client import Counter, Histogram

from inventory_project import database
from inventory_project.errors import Refusal
from inventory_project.faults import crash_point
from inventory_project.messaging import broker, envelope, outbox
from inventory_project.messaging.broker import BrokerAway, Session
from inventory_project.messaging.outbox import Waiting
from inventory_project.messaging.pulse import Pulse

logger = logging.getLogger(__name__)

LOCK = "publish_events"
BATCH = 1_000  # events under way at once
CONFIRM_SECONDS = 10
REST_SECONDS = 0.1  # between two looks at an outbox that was empty
STANDBY_SECONDS = 1.0
RETRY_SECONDS = (0.5, 1, 2, 5)  # after the first, second, ... failure in a row; then the last

published = Counter("inventory_events_published", "Events that RabbitMQ has confirmed.", ["type"])
unrouted = Counter("inventory_events_unrouted", "Events that no queue was bound for.", ["type"])
publish_delay_seconds = Histogram(
    "inventory_event_delay_seconds",
    "From the clock reading of an event's transaction to its confirmed publication.",
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1_800),
)


def run(stop: Flag, pulse: Pulse) -> None:
    """Publish until `stop`; whatever server goes away, wait for it and go on."""
    failures = 0
    while not stop.is_set():
        try:
            with database.session_of_its_own() as session:
                _stand_by(session, stop, pulse)
                broker.declare_events()
                with Session("relay", waits=partial(pulse.waits, stop)) as channel:
                    while not stop.is_set():
                        pulse.beat("working")
                        if not _publish_batch(session, channel):
                            stop.wait(REST_SECONDS)
                        failures = 0
        except (psycopg.Error, Refusal) as error:
            seconds = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
            failures += 1
            detail = error.detail if isinstance(error, Refusal) else f"The database cannot be used: {error}"
            logger.warning("events wait; trying again in %g s: %s", seconds, detail.strip())
            pulse.beat("waiting", detail)
            stop.wait(seconds)


def _stand_by(session: psycopg.Connection, stop: Flag, pulse: Pulse) -> None:
    """Wait until no other relay works."""
    while not stop.is_set():
        row = session.execute("SELECT pg_try_advisory_lock(%s)", [database.lock_key(LOCK)]).fetchone()
        if row and row[0]:
            return
        pulse.beat("standby", "another relay works")
        stop.wait(STANDBY_SECONDS)


def _publish_batch(session: psycopg.Connection, channel: Session) -> int:
    """Publish the oldest events; how many there were. Raises BrokerAway once those that left are marked."""
    channel.check()
    events = outbox.waiting(session, limit=BATCH)
    if not events:
        return 0
    sending = channel.publish([envelope.publication(event) for event in events], within_seconds=CONFIRM_SECONDS)
    crash_point("relay.after_publish")
    confirmed = [event for event, is_confirmed in zip(events, sending.is_confirmed, strict=True) if is_confirmed]
    left = [event for event in confirmed if str(event.event_id) not in sending.returned]
    returned = [event for event in confirmed if str(event.event_id) in sending.returned]
    delays = outbox.mark(session, published=_ids(left), unrouted=_ids(returned))
    for delay in delays:
        publish_delay_seconds.observe(delay)
    for event in left:
        published.labels(event.type).inc()
    for event in returned:
        unrouted.labels(event.type).inc()
    if returned:
        logger.error(
            "no queue is bound for %s events, the first %s %s", len(returned), returned[0].type, returned[0].event_id
        )
    if sending.problem:
        raise BrokerAway(f"RabbitMQ did not take all events: {sending.problem}.")
    return len(events)


def _ids(events: list[Waiting]) -> list[int]:
    return [event.id for event in events]
