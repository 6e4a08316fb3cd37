"""The consumer: takes messages from RabbitMQ, handles them in batches, and acknowledges what is committed.

The messages of one order are handled in the sequence in which they came. A batch is cut into rounds: the first message
of each order, then the second, and so on. In a round, all messages of one type share a transaction. A message that is
too early is delayed, and one that cannot be understood becomes a dead letter. While a server is unreachable, all
messages wait unacknowledged.
"""

import logging
import time
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from threading import Event as Flag
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import Error, connection
from django.utils.module_loading import import_string
from prometheus_client import Counter, Gauge, Histogram

from inventory_project.foundation import database, failures
from inventory_project.foundation.errors import Invalid, NotFound, Refusal, Unavailable
from inventory_project.foundation.failures import Failure, KeptWaiting, Undecided
from inventory_project.foundation.faults import crash_point
from inventory_project.foundation.messaging import envelope
from inventory_project.foundation.messaging.envelope import Message
from inventory_project.foundation.messaging.heartbeat import Heartbeat
from inventory_project.foundation.messaging.inbox import Handled, Outcome, Received
from inventory_project.foundation.messaging.rabbitmq import topology
from inventory_project.foundation.messaging.rabbitmq.connection import BrokerUnavailable
from inventory_project.foundation.messaging.rabbitmq.messages import (
    REASON_HEADER,
    TRIES_HEADER,
    Delivery,
    Publication,
    key_of,
)
from inventory_project.foundation.messaging.rabbitmq.session import Session

logger = logging.getLogger(__name__)

RECEIVE_SECONDS = 1.0
CONFIRM_SECONDS = 10
# The longest wait with unacknowledged messages. RabbitMQ closes a channel that keeps one for half an hour. Each return
# counts towards the delivery limit: after seven hours of a full disk the first would be a dead letter.
WAITING_SECONDS = 20 * 60
TOGETHER_TRIES = 3  # for a group that cannot be decided; then each message on its own
HANDLER_TRIES = 3  # for a message whose handler fails for a lasting reason
DEPTHS_SECONDS = 10
MAX_REASON = 500  # characters

# How long after an order's message was postponed its others are not counted as too early: it comes back in between.
POSTPONED_SECONDS = 3 * settings.MESSAGE_DELAY_SECONDS
EVERYBODYS = (Failure.LOST, Failure.READ_ONLY, Failure.BUSY)

messages = Counter("inventory_messages", "Messages taken off the queue, by result.", ["type", "result"])
batch_size = Histogram(
    "inventory_consumer_batch_size", "Messages taken at once.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000)
)
batch_seconds = Histogram(
    "inventory_consumer_batch_seconds",
    "From taking a batch to acknowledging the last of it.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60),
)
queue_messages = Gauge(
    "inventory_queue_messages",
    "Messages waiting in each of the service's queues.",
    ["queue"],
    multiprocess_mode="mostrecent",
)

Answer = Handled | Refusal


@dataclass(frozen=True, slots=True)
class Route:
    """The reader and the handler for the messages of one name.

    `read` raises Invalid for a malformed message. `handle_many` handles all messages in one transaction and returns an
    answer for each, in the same order: Handled, Invalid (dead letter), NotFound (too early) or Unavailable (try again).
    """

    read: Callable[[Message], Received[Any]]
    handle_many: Callable[[Sequence[Received[Any]]], Sequence[Answer]]


@dataclass(frozen=True, slots=True)
class Task:
    """A delivery and the message that was read from it."""

    delivery: Delivery
    received: Received[Any]


def run(stop: Flag, heartbeat: Heartbeat) -> None:
    """Consume until `stop`. If a server becomes unreachable, wait for it and continue."""
    routes: Mapping[str, Route] = import_string(settings.MESSAGE_ROUTES)
    while not stop.is_set():
        try:
            _require_database()
            if not database.is_migrated():
                raise Unavailable(database.NOT_MIGRATED)  # otherwise handlers would fail and bury each message
            topology.declare_inbox(bindings(routes))
            # Two sessions, because a broker in alarm stops reading from one that publishes, acknowledgements included.
            keep_waiting = partial(heartbeat.keep_waiting, stop)
            with Session("consumer") as inbound, Session("consumer, sending on", keep_waiting=keep_waiting) as outbound:
                Consumer(routes, inbound, outbound, stop, heartbeat).run()
        except Refusal as refusal:
            heartbeat.wait(stop, refusal.detail)


def bindings(names: Iterable[str]) -> list[tuple[str, str]]:
    """For each message name, the exchange that it comes from and the name itself, which is its routing key."""
    return [(settings.MESSAGE_EXCHANGES[name.partition(".")[0]], name) for name in names]


def _require_database() -> None:
    """Raise Unavailable if the database takes no writes: taking messages would waste one of their deliveries."""
    try:
        is_writable = database.is_writable()
    except Error as error:
        raise Unavailable(f"The database cannot be used: {error}") from error
    if not is_writable:
        raise Unavailable("The database is read-only.")


class Consumer:
    """Handles the messages that come over one pair of sessions, until one of them fails."""

    def __init__(
        self, routes: Mapping[str, Route], inbound: Session, outbound: Session, stop: Flag, heartbeat: Heartbeat
    ) -> None:
        self._routes, self._inbound, self._outbound = routes, inbound, outbound
        self._stop, self._heartbeat = stop, heartbeat
        self._depths_due, self._why = 0.0, ""
        self._postponed: dict[UUID, float] = {}  # orders with a message that waits for a locked row, and until when

    def run(self) -> None:
        """Handle batch after batch until `stop`. Raises BrokerUnavailable; unacknowledged messages then come again.

        A message that was delivered before may have killed a consumer. Such messages are first in the queue and are
        taken one by one: if a message kills the consumer, no other message counts a delivery with it.
        """
        self._inbound.consume(topology.QUEUE, prefetch=1)
        is_one_by_one = True
        while not self._stop.is_set():
            self._heartbeat.beat("working")
            self._look_at_depths()
            deliveries = self._inbound.receive(limit=settings.CONSUMER_BATCH, within_seconds=RECEIVE_SECONDS)
            if is_one_by_one and deliveries and not any(delivery.was_delivered_before for delivery in deliveries):
                # Until it is acknowledged, no other message is on its way to the subscription that ends here.
                self._inbound.consume(topology.QUEUE, prefetch=2 * settings.CONSUMER_BATCH)
                is_one_by_one = False
            if deliveries:
                batch_size.observe(len(deliveries))
                with batch_seconds.time():
                    self._handle(deliveries)

    def _handle(self, deliveries: Sequence[Delivery]) -> None:
        tasks: list[Task] = []
        dead: list[tuple[Delivery, str]] = []
        for delivery in deliveries:
            try:
                tasks.append(self._understood(delivery))
            except Invalid as refusal:
                dead.append((delivery, refusal.detail))
        self._bury(dead)
        for group in rounds(tasks):
            answers = self._decide(group)
            self._settle(group, answers)
            if self._stop.is_set():
                return  # the rest comes again; none of it may overtake a message that is still undecided

    def _understood(self, delivery: Delivery) -> Task:
        message = envelope.read(delivery)
        if message.type not in self._routes:
            raise Invalid(f"There is no handler for messages of type {message.type}.")
        [(exchange, routing_key)] = bindings([message.type])
        if (delivery.exchange, delivery.routing_key) != (exchange, routing_key):
            # RabbitMQ's rights are by exchange: a sender of orders must not be able to confirm payments.
            raise Invalid(
                f"Messages of type {message.type} come over {exchange} with the routing key {routing_key}; "
                f"this one came over {delivery.exchange or 'the default exchange'} with {delivery.routing_key}."
            )
        return Task(delivery, self._routes[message.type].read(message))

    # --- deciding --------------------------------------------------------------------------------------------------

    def _decide(self, tasks: Sequence[Task]) -> list[Answer | None]:
        """An answer for each message of a group, or None for one that `stop` left undecided.

        Temporary failures are waited out, so that no later message of an order overtakes an earlier one. The exception
        is a message that needs a locked row: it gets KeptWaiting and comes back later, and the others go on. If a
        message cannot be decided although the database answers, it is delayed after some tries; otherwise it would
        block all others. Raises Unavailable if a server stays unreachable: the messages are given back and come again.
        """
        answers: list[Answer | None] = [None] * len(tasks)
        deadline = time.monotonic() + WAITING_SECONDS
        for number in count(1):
            undecided = [i for i, answer in enumerate(answers) if answer is None]
            asked = self._ask([tasks[i] for i in undecided], is_alone=number > TOGETHER_TRIES)
            for i, answer in zip(undecided, asked, strict=True):
                if isinstance(answer, KeptWaiting) or not isinstance(answer, Unavailable):
                    answers[i] = answer
                elif number > TOGETHER_TRIES:
                    answers[i] = NotFound(answer.detail)  # delayed, like one that came too early
            if None not in answers or self._stop.is_set():
                break
            if None in asked and time.monotonic() > deadline:
                raise Unavailable(f"Messages are given back after {WAITING_SECONDS} s: {self._why}")
            self._heartbeat.wait(self._stop, self._why)
            self._inbound.check()
        return answers

    def _ask(self, tasks: Sequence[Task], *, is_alone: bool) -> list[Answer | None]:
        """The handler's answers, None while a server is unreachable. If it fails, each message is tried on its own."""
        if not is_alone:
            try:
                answers = self._answers(tasks)
            except Exception as error:
                if _is_temporary(error):
                    self._note(error)
                    return [None] * len(tasks)
                logger.exception("a handler failed; its %s messages are handled one by one", len(tasks))
                connection.close()
            else:
                return [
                    self._ask_alone(task) if isinstance(answer, Undecided) else answer
                    for task, answer in zip(tasks, answers, strict=True)
                ]
        alone: list[Answer | None] = []
        for task in tasks:
            # Once a server is unreachable, the other messages would only wait for the same time-out.
            is_unreachable = bool(alone) and alone[-1] is None
            alone.append(None if is_unreachable else self._ask_alone(task))
        return alone

    def _ask_alone(self, task: Task) -> Answer | None:
        reason = ""
        for number in range(1, HANDLER_TRIES + 1):
            self._heartbeat.turn()
            try:
                [answer] = self._answers([task])
            except Exception as error:
                if _is_temporary(error):
                    return self._of_passing(error)
                logger.exception("a handler failed on message %s, try %s", task.received.message.id, number)
                connection.close()
                reason = f"{type(error).__name__}: {error}"
            else:
                if not isinstance(answer, Undecided):
                    return answer
                reason = answer.detail
        return Invalid(f"The handler failed {HANDLER_TRIES} times: {reason}")

    def _of_passing(self, error: BaseException) -> Answer | None:
        """None if the failure affects all messages; Unavailable if only this one, such as a row that stays locked."""
        self._note(error)
        cause = error if isinstance(error, Error) else error.__cause__
        if isinstance(cause, Error) and failures.kind_of(cause) in EVERYBODYS:
            return None
        try:
            _require_database()
        except Unavailable:
            return None
        return Unavailable(self._why)

    def _answers(self, tasks: Sequence[Task]) -> list[Answer]:
        handle_many = self._routes[tasks[0].received.message.type].handle_many
        answers = list(handle_many([task.received for task in tasks]))
        for answer in answers:
            if isinstance(answer, Unavailable) and not isinstance(answer, KeptWaiting):
                self._note(answer)
                break
        return answers

    def _note(self, error: BaseException) -> None:
        """Remember the reason for waiting, and close the session, which may be broken."""
        self._why = error.detail if isinstance(error, Refusal) else str(error).strip()
        database.drop_session()

    # --- acknowledging and sending on ------------------------------------------------------------------------------

    def _settle(self, tasks: Sequence[Task], answers: Sequence[Answer | None]) -> None:
        crash_point("consume.before_ack")
        self._note_postponed(tasks, answers)
        done: list[Delivery] = []
        early: list[Delivery] = []
        postponed: list[Delivery] = []
        dead: list[tuple[Delivery, str]] = []
        for task, answer in zip(tasks, answers, strict=True):
            message = task.received.message
            if isinstance(answer, Handled):
                if answer.outcome == Outcome.CONFLICT:
                    logger.warning("message %s of order %s: %s", message.id, task.received.order_id, answer.code)
                messages.labels(message.type, answer.outcome).inc()
                done.append(task.delivery)
            elif isinstance(answer, KeptWaiting) or self._is_early_for_a_lock(task, answer):
                messages.labels(message.type, "postponed").inc()
                postponed.append(task.delivery)
            elif isinstance(answer, NotFound) and not message.is_last_try:
                messages.labels(message.type, "delayed").inc()
                early.append(task.delivery)
            elif answer is not None:
                dead.append((task.delivery, answer.detail))
        self._acknowledge(done)
        self._send_on(postponed, [d.sent_on(topology.DELAY_QUEUE) for d in postponed])  # a lock costs a message no try
        self._send_on(early, [d.sent_on(topology.DELAY_QUEUE, **{TRIES_HEADER: d.tries + 1}) for d in early])
        self._bury(dead)

    def _is_early_for_a_lock(self, task: Task, answer: Answer | None) -> bool:
        """Whether the order is unknown only because an earlier message of it waits for a locked row."""
        return isinstance(answer, NotFound) and task.received.order_id in self._postponed

    def _note_postponed(self, tasks: Sequence[Task], answers: Sequence[Answer | None]) -> None:
        now = time.monotonic()
        self._postponed = {order_id: until for order_id, until in self._postponed.items() if until > now}
        for task, answer in zip(tasks, answers, strict=True):
            if isinstance(answer, KeptWaiting):
                self._postponed[task.received.order_id] = now + POSTPONED_SECONDS

    def _bury(self, dead: Sequence[tuple[Delivery, str]]) -> None:
        for delivery, reason in dead:
            known = delivery.routing_key if delivery.routing_key in self._routes else "unknown"
            messages.labels(known, "dead").inc()
            logger.error("message %s is a dead letter: %s", delivery.message_id or key_of(delivery), reason)
        letters = [d.sent_on(topology.DEAD_QUEUE, **{REASON_HEADER: reason[:MAX_REASON]}) for d, reason in dead]
        self._send_on([delivery for delivery, _ in dead], letters)

    def _send_on(self, deliveries: Sequence[Delivery], publications: Sequence[Publication]) -> None:
        """Publish messages to another of our queues and wait for the confirm, then acknowledge them in this one."""
        if not publications:
            return
        result = self._outbound.publish(publications, within_seconds=CONFIRM_SECONDS)
        if result.problem or result.returned:
            raise BrokerUnavailable(
                f"Messages could not be sent on: {result.problem or 'one of our queues is missing'}."
            )
        crash_point("consume.before_ack_of_sent_on")
        self._acknowledge(deliveries)

    def _acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            self._inbound.acknowledge([delivery.tag for delivery in deliveries])

    def _look_at_depths(self) -> None:
        if time.monotonic() < self._depths_due:
            return
        self._depths_due = time.monotonic() + DEPTHS_SECONDS
        try:
            depths = topology.depths()
        except Refusal as refusal:
            logger.warning("the depths of the queues are not known: %s", refusal.detail)
            return
        for queue, depth in depths.items():
            queue_messages.labels(queue).set(depth)


def _is_temporary(error: Exception) -> bool:
    """Whether a server is unreachable, full, read-only or too busy. Any other failure is due to message or code."""
    return isinstance(error, Unavailable) or (isinstance(error, Error) and failures.refusal_for(error) is not None)


def rounds(tasks: Sequence[Task]) -> list[list[Task]]:
    """Groups of messages to handle together: first the first message of each order, by type, then the second ..."""
    numbers: Counts[Any] = Counts()
    groups: dict[tuple[int, str], list[Task]] = defaultdict(list)
    for task in tasks:
        order_id = task.received.order_id
        groups[numbers[order_id], task.received.message.type].append(task)
        numbers[order_id] += 1
    return [groups[key] for key in sorted(groups, key=lambda key: key[0])]
