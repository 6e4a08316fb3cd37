"""The consumer: takes messages from RabbitMQ, has them handled in batches, and acknowledges what is committed.

The messages of one order are handled in the order in which they came: a batch is cut into rounds, the first message of
each order, then the second, and so on; in a round all messages of one type are one transaction. What comes too early is
put off, what nobody can understand becomes a dead letter, and while a server is away everything waits unacknowledged.
"""

import logging
import time
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event as Flag
from typing import Any

from django.conf import settings
from django.db import InterfaceError, InternalError, OperationalError, connection
from django.utils.module_loading import import_string
from prometheus_client import Counter, Gauge, Histogram

from inventory_project.errors import Invalid, NotFound, Refusal, Unavailable
from inventory_project.faults import crash_point
from inventory_project.messaging import broker, envelope
from inventory_project.messaging.broker import REASON_HEADER, TRIES_HEADER, BrokerAway, Delivery, Publication, Session
from inventory_project.messaging.envelope import Message
from inventory_project.messaging.inbox import Handled, Received
from inventory_project.messaging.pulse import Pulse

logger = logging.getLogger(__name__)

RECEIVE_SECONDS = 1.0
CONFIRM_SECONDS = 10
RETRY_SECONDS = (0.2, 0.5, 1, 2, 5)  # after the first, second, ... failure in a row; then the last
HANDLER_TRIES = 3  # of a message whose handler fails for no reason that passes
DEPTHS_SECONDS = 10
MAX_REASON = 500  # characters

# A server that is away, full, read-only or too busy. What else fails is the message's or the program's fault.
PASSING = (Unavailable, OperationalError, InterfaceError, InternalError)

messages = Counter("inventory_messages", "Messages taken off the queue, by what came of them.", ["type", "result"])
batch_size = Histogram(
    "inventory_consumer_batch_size", "Messages taken at once.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000)
)
batch_seconds = Histogram(
    "inventory_consumer_batch_seconds",
    "From taking a batch to acknowledging the last of it.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60),
)
queue_messages = Gauge(
    "inventory_queue_messages", "Messages that wait in each of our queues.", ["queue"], multiprocess_mode="mostrecent"
)

Answer = Handled | Refusal


@dataclass(frozen=True, slots=True)
class Route:
    """Who reads and who handles the messages of one name.

    `read` raises Invalid for what makes no sense. `handle_many` answers each message in its place, all in one
    transaction: Handled, or a refusal: Invalid (dead letter), NotFound (too early), Unavailable (ask again).
    """

    read: Callable[[Message], Received[Any]]
    handle_many: Callable[[Sequence[Received[Any]]], Sequence[Answer]]


@dataclass(frozen=True, slots=True)
class Task:
    """A delivery that was understood."""

    delivery: Delivery
    received: Received[Any]


def run(stop: Flag, pulse: Pulse) -> None:
    """Consume until `stop`; whatever server goes away, wait for it and go on."""
    routes: Mapping[str, Route] = import_string(settings.MESSAGE_ROUTES)
    bindings = [(settings.MESSAGE_EXCHANGES[name.partition(".")[0]], name) for name in routes]
    failures = 0
    while not stop.is_set():
        try:
            broker.declare_inbox(bindings)
            # Two, for a broker in alarm stops listening to a connection that publishes, also to its acknowledgements.
            waits = partial(pulse.waits, stop)
            with Session("consumer") as inbound, Session("consumer, sending on", waits=waits) as outbound:
                failures = 0
                Consumer(routes, inbound, outbound, stop, pulse).run()
        except Refusal as refusal:
            seconds = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
            failures += 1
            logger.warning("messages wait; trying again in %g s: %s", seconds, refusal.detail)
            pulse.beat("waiting", refusal.detail)
            stop.wait(seconds)


class Consumer:
    """Handles what comes over one pair of sessions, until one of them fails."""

    def __init__(
        self, routes: Mapping[str, Route], inbound: Session, outbound: Session, stop: Flag, pulse: Pulse
    ) -> None:
        self._routes, self._inbound, self._outbound, self._stop, self._pulse = routes, inbound, outbound, stop, pulse
        self._depths_due = 0.0

    def run(self) -> None:
        """Batch after batch until `stop`. Raises BrokerAway; what was not acknowledged then comes again.

        What was delivered before, perhaps to a consumer that it has killed, stands first in the queue. It is taken one
        by one: whoever dies of a message has no other one in hand that would come nearer to its delivery limit too.
        """
        self._inbound.consume(broker.QUEUE, prefetch=1)
        is_one_by_one = True
        while not self._stop.is_set():
            self._pulse.beat("working")
            self._look_at_depths()
            deliveries = self._inbound.receive(limit=settings.CONSUMER_BATCH, within_seconds=RECEIVE_SECONDS)
            if deliveries:
                batch_size.observe(len(deliveries))
                with batch_seconds.time():
                    self._handle(deliveries)
            if is_one_by_one and not any(delivery.was_delivered_before for delivery in deliveries):
                self._inbound.consume(broker.QUEUE, prefetch=2 * settings.CONSUMER_BATCH)
                is_one_by_one = False

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
            if None in answers:
                return  # `stop` has ended the waiting, and what follows must not overtake what is left

    def _understood(self, delivery: Delivery) -> Task:
        message = envelope.read(delivery)
        if message.type not in self._routes:
            raise Invalid(f"There is no handler for messages of type {message.type}.")
        return Task(delivery, self._routes[message.type].read(message))

    # --- deciding --------------------------------------------------------------------------------------------------

    def _decide(self, tasks: Sequence[Task]) -> list[Answer | None]:
        """An answer for each message of a group; None for one that `stop` left undecided.

        Whatever passes is waited for, so that no later message of an order overtakes an earlier one.
        """
        answers: list[Answer | None] = [None] * len(tasks)
        failures = 0
        while not self._stop.is_set() or not failures:
            open_ = [i for i, answer in enumerate(answers) if answer is None]
            for i, answer in zip(open_, self._ask([tasks[i] for i in open_]), strict=True):
                answers[i] = answer
            if None not in answers:
                break
            self._wait(failures)
            failures += 1
        return answers

    def _ask(self, tasks: Sequence[Task]) -> Sequence[Answer | None]:
        """The handler's answers, None for what shall be asked again; should it fail, each message alone."""
        try:
            return self._answers(tasks)
        except PASSING as error:
            self._say_passing(error)
            return [None] * len(tasks)
        except Exception:
            logger.exception("a handler failed; its %s messages are handled one by one", len(tasks))
            connection.close()
            return [self._ask_alone(task) for task in tasks]

    def _ask_alone(self, task: Task) -> Answer | None:
        for number in range(1, HANDLER_TRIES + 1):
            try:
                return self._answers([task])[0]
            except PASSING as error:
                self._say_passing(error)
                return None
            except Exception as error:
                logger.exception("a handler failed on message %s, try %s", task.received.message.id, number)
                connection.close()
                reason = f"The handler failed {number} times: {type(error).__name__}: {error}"
        return Invalid(reason)

    def _answers(self, tasks: Sequence[Task]) -> list[Answer | None]:
        handle_many = self._routes[tasks[0].received.message.type].handle_many
        answers = handle_many([task.received for task in tasks])
        if passing := next((answer for answer in answers if isinstance(answer, Unavailable)), None):
            self._say_passing(passing)
        return [None if isinstance(answer, Unavailable) else answer for answer in answers]

    def _say_passing(self, error: BaseException) -> None:
        detail = error.detail if isinstance(error, Refusal) else str(error).strip()
        logger.warning("messages wait: %s", detail)
        self._pulse.beat("waiting", detail)
        if connection.connection is not None:  # not back into the pool: what began read-only would stay so
            connection.connection.close()
        connection.close()

    def _wait(self, failures: int) -> None:
        seconds = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
        self._stop.wait(seconds)
        self._inbound.check()

    # --- what becomes of the messages ------------------------------------------------------------------------------

    def _settle(self, tasks: Sequence[Task], answers: Sequence[Answer | None]) -> None:
        crash_point("consume.before_ack")
        done: list[Delivery] = []
        early: list[Delivery] = []
        dead: list[tuple[Delivery, str]] = []
        for task, answer in zip(tasks, answers, strict=True):
            message = task.received.message
            if isinstance(answer, Handled):
                messages.labels(message.type, answer.outcome).inc()
                done.append(task.delivery)
            elif isinstance(answer, NotFound) and not message.is_last_try:
                messages.labels(message.type, "delayed").inc()
                early.append(task.delivery)
            elif answer is not None:
                dead.append((task.delivery, answer.detail))
        self._acknowledge(done)
        self._send_on(early, [d.sent_on(broker.DELAY_QUEUE, **{TRIES_HEADER: d.tries + 1}) for d in early])
        self._bury(dead)

    def _bury(self, dead: Sequence[tuple[Delivery, str]]) -> None:
        for delivery, reason in dead:
            known = delivery.routing_key if delivery.routing_key in self._routes else "unknown"
            messages.labels(known, "dead").inc()
            logger.error("message %s is a dead letter: %s", delivery.message_id, reason)
        letters = [d.sent_on(broker.DEAD_QUEUE, **{REASON_HEADER: reason[:MAX_REASON]}) for d, reason in dead]
        self._send_on([delivery for delivery, _ in dead], letters)

    def _send_on(self, deliveries: Sequence[Delivery], publications: Sequence[Publication]) -> None:
        """Put them into another queue of ours, confirmed, before they leave this one."""
        if not publications:
            return
        sending = self._outbound.publish(publications, within_seconds=CONFIRM_SECONDS)
        if sending.problem or sending.returned:
            raise BrokerAway(f"Messages could not be sent on: {sending.problem or 'a queue of ours is missing'}.")
        crash_point("consume.before_ack_of_sent_on")
        self._acknowledge(deliveries)

    def _acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            self._inbound.acknowledge([delivery.tag for delivery in deliveries])

    def _look_at_depths(self) -> None:
        if time.monotonic() < self._depths_due:
            return
        self._depths_due = time.monotonic() + DEPTHS_SECONDS
        for queue, depth in broker.depths().items():
            queue_messages.labels(queue).set(depth)


def rounds(tasks: Sequence[Task]) -> list[list[Task]]:
    """The k-th messages of each order, for k from the first on; in each round one group for each type."""
    numbers: Counts[Any] = Counts()
    groups: dict[tuple[int, str], list[Task]] = defaultdict(list)
    for task in tasks:
        order_id = task.received.order_id
        groups[numbers[order_id], task.received.message.type].append(task)
        numbers[order_id] += 1
    return [groups[key] for key in sorted(groups, key=lambda key: key[0])]
