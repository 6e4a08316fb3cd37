"""The relay: sends events from the outbox to RabbitMQ, at least once, those of one subject in the order of their ids.

One relay works and the others stand by; an advisory lock decides which. The lock, the reads and the marks use one
database session, which ends if the relay is frozen. An event is marked once the broker has confirmed it. What could not
be marked is remembered, and marked before anything else is sent. If the relay is killed between the two, the event is
sent again with the same id.

A batch is cut into rounds, as the consumer does: the first event of each subject, then the second, and so on. So of one
subject only one event is under way at a time. If a full queue refuses it, the subject waits and the others go on.
"""

import logging
import time
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial
from threading import Event as Flag

import psycopg
from django.conf import settings
from prometheus_client import Counter, Histogram

from inventory_project.foundation import database
from inventory_project.foundation.errors import Conflict, Refusal
from inventory_project.foundation.faults import crash_point
from inventory_project.foundation.messaging import envelope, installation, outbox
from inventory_project.foundation.messaging.backoff import Backoff
from inventory_project.foundation.messaging.heartbeat import Heartbeat
from inventory_project.foundation.messaging.models import Destination
from inventory_project.foundation.messaging.outbox import PendingEvent
from inventory_project.foundation.messaging.rabbitmq import topology
from inventory_project.foundation.messaging.rabbitmq.connection import BrokerUnavailable
from inventory_project.foundation.messaging.rabbitmq.session import PublishResult, Session

logger = logging.getLogger(__name__)

LOCK = "publish_events"
BATCH = 1_000  # events read at once
CONFIRM_SECONDS = 10
MARK_SECONDS = 1.0  # the longest time from a confirm to the mark, in a batch of many rounds
REST_SECONDS = 0.1  # between two queries while the outbox is empty
STANDBY_SECONDS = 1.0
IDLE_SESSION_SECONDS = 30  # then the database ends the relay's session and frees the lock
MAX_WAITING_SUBJECTS = 10_000  # that full queues refused; beyond it no event of another subject is sent
TRY_UNROUTED_SECONDS = 60  # between two tries whether a queue is bound by now

published = Counter("inventory_events_published", "Events that RabbitMQ has confirmed.", ["type"])
unrouted = Counter("inventory_events_unrouted", "Events that were set aside because no queue was bound.", ["type"])
refusals = Counter("inventory_event_refusals", "Times that a full queue refused an event.", ["type"])
publish_delay_seconds = Histogram(
    "inventory_event_delay_seconds",
    "From the clock reading of an event's transaction to its confirmed publication.",
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1_800),
)


def run(stop: Flag, heartbeat: Heartbeat) -> None:
    """Publish until `stop`. If a server becomes unreachable, wait for it and continue."""
    relay = Relay(stop, heartbeat)
    while not stop.is_set():
        try:
            with database.session_of_its_own() as session:
                _limit_idleness(session)
                if not _stand_by(session, stop, heartbeat):
                    return
                outbox.claim(session)
                topology.declare_events()
                keep_waiting = partial(_keep_waiting, session, stop, heartbeat)
                with Session("relay", keep_waiting=keep_waiting) as channel:
                    relay.run(session, channel)
        except Refusal as refusal:
            heartbeat.wait(stop, refusal.detail)
        except psycopg.Error as error:
            heartbeat.wait(stop, f"The database cannot be used: {error}")


def retire() -> None:
    """Have events go to the log from now on, in an installation that gives up RabbitMQ.

    Raises Conflict while a relay works. A relay that is started later takes the events to RabbitMQ again.
    """
    with database.process_lock(LOCK) as is_ours:
        if not is_ours:
            raise Conflict("A relay works now. Stop all relays first; a running one would take the events to RabbitMQ.")
        installation.send_events_to(Destination.LOG)


def _limit_idleness(session: psycopg.Connection) -> None:
    """Have the database end this session if the relay is frozen. A frozen process keeps its connections otherwise.

    The first limit is for a session without a statement, the second for one that sends rows which nobody reads.
    """
    session.execute(
        "SELECT set_config('idle_session_timeout', %s, false), set_config('tcp_user_timeout', %s, false)",
        [f"{IDLE_SESSION_SECONDS}s"] * 2,
    )


def _stand_by(session: psycopg.Connection, stop: Flag, heartbeat: Heartbeat) -> bool:
    """Wait until this relay gets the lock, that is, until no other relay works. False if it must stop first.

    Raises Unavailable behind a connection pooler, which would give the session and its lock to others.
    """
    database.require_no_pooler(session)
    while not stop.is_set():
        row = session.execute("SELECT pg_try_advisory_lock(%s)", [database.lock_key(LOCK)]).fetchone()
        if row and row[0]:
            return True
        heartbeat.beat("standby", "another relay works")
        stop.wait(STANDBY_SECONDS)
    return False


def _keep_waiting(session: psycopg.Connection, stop: Flag, heartbeat: Heartbeat, detail: str) -> bool:
    """Keep the database session in use while RabbitMQ is in alarm. Returns False once the relay must stop.

    If the session is lost, the marks will fail and be made up for; the confirms are worth waiting for all the same.
    """
    with suppress(psycopg.Error):
        session.execute("SELECT 1")
    return heartbeat.keep_waiting(stop, detail)


class Relay:
    """Publishes batch after batch. What it remembers outlasts its sessions with the two servers."""

    def __init__(self, stop: Flag, heartbeat: Heartbeat) -> None:
        self._stop, self._heartbeat = stop, heartbeat
        self._published: list[PendingEvent] = []  # confirmed and not marked yet
        self._unrouted: list[PendingEvent] = []  # returned and not marked yet
        self._backoff = Backoff()
        self._refused_types: set[str] = set()
        self._unrouted_types: set[str] = set()  # no queue was bound for the last event of these types
        self._types_heard_again: set[str] = set()  # a queue is bound again, and the unrouted events are still to follow
        self._tries: set[int] = set()  # ids of the unrouted events that were tried again last
        self._try_at = 0.0

    def run(self, session: psycopg.Connection, channel: Session) -> None:
        """Publish until `stop`. Raises BrokerUnavailable or psycopg's errors; what was confirmed is not sent again."""
        while not self._stop.is_set():
            number = self.publish_batch(session, channel)
            self._beat()
            if not number:
                self._stop.wait(REST_SECONDS)

    def publish_batch(self, session: psycopg.Connection, channel: Session) -> int:
        """Publish the oldest events that may be sent now, and mark them. Returns how many left the outbox.

        Raises BrokerUnavailable after marking those that were confirmed.
        """
        channel.check()
        self._mark(session)  # what an earlier session could not mark
        self._bring_back_unrouted(session)
        number, mark_at = 0, time.monotonic() + MARK_SECONDS
        stuck: set[str] = set()
        for group in rounds(self._read(session)):
            self._heartbeat.turn()
            events = [event for event in group if event.subject not in stuck]
            if not events:
                continue
            result = self._publish(channel, events)
            stuck.update(events[place].subject for place in result.refused)
            number += sum(result.is_confirmed)
            if result.unanswered or time.monotonic() > mark_at:
                self._mark(session)
                mark_at = time.monotonic() + MARK_SECONDS
            if result.unanswered:
                raise BrokerUnavailable(f"RabbitMQ did not take all events: {result.problem}.")
            if self._stop.is_set():
                break
        self._mark(session)
        return number

    def _read(self, session: psycopg.Connection) -> list[PendingEvent]:
        """The oldest events of subjects that need not wait. There is room for each of them to be refused."""
        now = time.monotonic()
        waiting = self._backoff.waiting(now)
        limit = min(BATCH, MAX_WAITING_SUBJECTS - len(waiting))
        if limit <= 0:
            return []
        events = outbox.waiting(session, limit=limit, without=waiting)
        if len(events) < limit:  # these are all
            self._backoff.forget_others({event.subject for event in events}, now)
        return sorted([*self._unrouted_to_try(session, now, waiting), *events], key=lambda event: event.id)

    def _publish(self, channel: Session, events: Sequence[PendingEvent]) -> PublishResult:
        """Send events of different subjects, and remember what became of each."""
        result = channel.publish([envelope.publication(event) for event in events], within_seconds=CONFIRM_SECONDS)
        crash_point("relay.after_publish")
        confirmed = [event for event, is_confirmed in zip(events, result.is_confirmed, strict=True) if is_confirmed]
        refused = [events[place] for place in result.refused]
        for event in confirmed:
            (self._unrouted if str(event.event_id) in result.returned else self._published).append(event)
        self._note_queues(confirmed, result.returned)
        self._note_refusals(confirmed, refused)
        return result

    def _mark(self, session: psycopg.Connection) -> None:
        """Mark what was confirmed. If that fails, it stays remembered; nothing is sent before it is marked."""
        if not self._published and not self._unrouted:
            return
        delays = outbox.mark(session, published=_ids(self._published), unrouted=_ids(self._unrouted))
        for delay in delays:
            publish_delay_seconds.observe(delay)
        for event in self._published:
            published.labels(event.type).inc()
        for event in self._unrouted:
            if event.id not in self._tries:  # it was counted before
                unrouted.labels(event.type).inc()
        self._published, self._unrouted = [], []

    # --- full queues -----------------------------------------------------------------------------------------------

    def _note_refusals(self, confirmed: Sequence[PendingEvent], refused: Sequence[PendingEvent]) -> None:
        self._backoff.note(
            accepted={event.subject for event in confirmed},
            refused={event.subject for event in refused},
            now=time.monotonic(),
        )
        for event in refused:
            refusals.labels(event.type).inc()
        if news := sorted({event.type for event in refused} - self._refused_types):
            logger.warning(
                "a queue that is bound to %s is full and refuses %s; the events of one subject wait in their order, "
                "and are tried again",
                settings.EVENTS_EXCHANGE,
                ", ".join(news),
            )
            self._refused_types.update(news)
        if self._refused_types and not self._backoff:
            logger.info("no queue that is bound to %s refuses events any more", settings.EVENTS_EXCHANGE)
            self._refused_types.clear()

    def _beat(self) -> None:
        number = len(self._backoff)
        detail = f"a full queue refuses the events of {number} subjects" if number else ""
        is_full = number >= MAX_WAITING_SUBJECTS
        self._heartbeat.beat("waiting" if is_full else "working", detail)

    # --- events without a queue ------------------------------------------------------------------------------------

    def _note_queues(self, confirmed: Sequence[PendingEvent], returned: set[str]) -> None:
        """Log which event types lost their last queue and which have one again. `returned` are ids without a queue."""
        is_unrouted = {event.type: str(event.event_id) in returned for event in confirmed}
        lost = sorted(type_ for type_, is_so in is_unrouted.items() if is_so and type_ not in self._unrouted_types)
        found = sorted(type_ for type_, is_so in is_unrouted.items() if not is_so and type_ in self._unrouted_types)
        tried = {event.type for event in confirmed if event.id in self._tries and not is_unrouted[event.type]}
        self._unrouted_types.update(lost)
        self._unrouted_types.difference_update(found)
        self._types_heard_again.update(found, tried)
        if lost:
            logger.warning(
                "no queue is bound to %s for %s, so nobody receives these events; they are not lost, but kept as "
                "unrouted for %s days, and sent soon after a queue is bound",
                settings.EVENTS_EXCHANGE,
                ", ".join(lost),
                settings.EVENT_RETENTION_DAYS,
            )
        if found:
            logger.info("a queue is bound to %s for %s again", settings.EVENTS_EXCHANGE, ", ".join(found))

    def _unrouted_to_try(self, session: psycopg.Connection, now: float, waiting: Collection[str]) -> list[PendingEvent]:
        """Now and then the oldest unrouted event of each type, to find out whether a queue is bound by now.

        They stay marked until a queue takes them; otherwise the outbox would look late for a moment at each try.
        """
        if now < self._try_at:
            return []
        events = [event for event in outbox.oldest_unrouted(session) if event.subject not in waiting]
        self._try_at, self._tries = now + TRY_UNROUTED_SECONDS, {event.id for event in events}
        return events

    def _bring_back_unrouted(self, session: psycopg.Connection) -> None:
        """Have all unrouted events of the types that have a queue again wait to be published.

        All of them before anything is read, so that none is overtaken by a later event of its subject.
        """
        while self._types_heard_again and not self._stop.is_set():
            type_ = min(self._types_heard_again)
            if not outbox.send_type_again(session, type_):
                self._types_heard_again.remove(type_)
            self._heartbeat.turn()


def rounds(events: Sequence[PendingEvent]) -> list[list[PendingEvent]]:
    """Groups of events to send together: first the first event of each subject, then the second, and so on."""
    numbers: Counts[str] = Counts()
    groups: dict[int, list[PendingEvent]] = defaultdict(list)
    for event in events:
        groups[numbers[event.subject]].append(event)
        numbers[event.subject] += 1
    return [groups[number] for number in sorted(groups)]


def _ids(events: Sequence[PendingEvent]) -> list[int]:
    return [event.id for event in events]
