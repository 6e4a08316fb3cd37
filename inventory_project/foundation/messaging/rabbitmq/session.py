"""A session with RabbitMQ that publishes, consumes and keeps itself alive.

A Session runs pika's loop in its own thread. So heartbeats continue during the longest transaction, confirms and
deliveries are received while the owner works, and a thousand confirms can be outstanding at once.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any, Self

import pika
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel

from inventory_project.foundation.messaging.rabbitmq.connection import (
    CONNECT_SECONDS,
    BrokerUnavailable,
    connection_parameters,
    words_of,
)
from inventory_project.foundation.messaging.rabbitmq.messages import Delivery, Publication, delivery_of

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5
STEP_SECONDS = 1.0  # between two checks during an alarm


@dataclass(slots=True)
class PublishResult:
    """The result of one `publish`, by the position of each message. `problem` is why not all were confirmed."""

    is_confirmed: list[bool]
    unanswered: int
    returned: set[str] = field(default_factory=set)  # ids of messages without a queue
    refused: set[int] = field(default_factory=set)  # positions of messages that a full queue refused
    problem: str = ""


class Session:
    """One connection with one channel. After BrokerUnavailable it stays failed, and the caller opens a new one.

    A broker in alarm stops reading from a connection that publishes, and reads the rest after the alarm. A caller that
    opened a new session meanwhile would send everything twice. So `publish` waits as long as `keep_waiting` is true.
    """

    def __init__(self, purpose: str, *, keep_waiting: Callable[[str], bool] = bool) -> None:
        self._purpose = purpose
        self._keep_waiting = keep_waiting
        self._changed = Condition()
        self._is_open = False
        self._problem = ""
        self._alarm = ""
        self._consumer_tag = ""
        self._deliveries: deque[Delivery] = deque()
        self._result = PublishResult([], 0)
        self._places: dict[int, int] = {}  # of unconfirmed messages, by the broker's number for them
        self._last_number = 0

    def __enter__(self) -> Self:
        """Connect and open the channel. Raises BrokerUnavailable."""
        self._connection = SelectConnection(
            connection_parameters(self._purpose),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._on_channel),
            on_open_error_callback=self._on_closed,
            on_close_callback=self._on_closed,
        )
        self._thread = Thread(target=self._connection.ioloop.start, name=f"broker-{self._purpose}", daemon=True)
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._is_open or self._problem, timeout=2 * CONNECT_SECONDS)
        if not self._is_open:
            self.__exit__()
            raise BrokerUnavailable(f"RabbitMQ cannot be reached: {self._problem or 'it does not answer'}.")
        return self

    def __exit__(self, *exception: object) -> None:
        """Disconnect. Messages that were delivered but not acknowledged go back to their queue."""
        self._in_the_loop(self._close)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():  # the broker does not answer
            self._in_the_loop(self._connection.ioloop.stop)
            self._thread.join(CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._connection.ioloop.close()

    def check(self) -> None:
        """Raise BrokerUnavailable if the session has failed."""
        if self._problem or not self._thread.is_alive():
            raise BrokerUnavailable(
                f"Lost the connection to RabbitMQ: {self._problem or 'the thread of its connection has ended'}."
            )

    def publish(self, publications: Sequence[Publication], *, within_seconds: float) -> PublishResult:
        """Send all messages and wait for the confirms. Does not raise: the result's `problem` reports failures."""
        result = PublishResult([False] * len(publications), len(publications))
        with self._changed:
            self._result, self._places = result, {}
        self._in_the_loop(lambda: self._send(publications))
        with self._changed:
            self._wait_for_answers(result, within_seconds)
            if result.unanswered:
                result.problem = self._problem or self._alarm or f"no confirm within {within_seconds:g} s"
            self._result, self._places = PublishResult([], 0), {}
        return result

    def _wait_for_answers(self, result: PublishResult, within_seconds: float) -> None:
        """Wait until each message is confirmed or refused. If a full queue refuses one, still wait for the others."""
        deadline = time.monotonic() + within_seconds
        while not self._changed.wait_for(lambda: not result.unanswered or self._problem, STEP_SECONDS):
            if self._alarm and self._keep_waiting(self._alarm):
                deadline = time.monotonic() + within_seconds
            elif self._alarm or time.monotonic() >= deadline:
                return

    def consume(self, queue: str, *, prefetch: int) -> None:
        """Start delivery, with at most `prefetch` unacknowledged messages. Replaces an earlier subscription."""

        def start() -> None:
            if self._consumer_tag:
                self._channel.basic_cancel(self._consumer_tag)
            self._channel.basic_qos(prefetch_count=prefetch)
            self._consumer_tag = self._channel.basic_consume(queue, self._on_message)

        self._in_the_loop(start)

    def receive(self, *, limit: int, within_seconds: float) -> list[Delivery]:
        """The next messages, as soon as there is one; an empty list if none came in time. Raises BrokerUnavailable."""
        with self._changed:
            self._changed.wait_for(lambda: self._deliveries or self._problem, within_seconds)
            self.check()
            return [self._deliveries.popleft() for _ in range(min(limit, len(self._deliveries)))]

    def acknowledge(self, tags: Sequence[int]) -> None:
        """Acknowledge these messages, so that they leave their queue. After BrokerUnavailable they come again."""

        def acknowledge() -> None:
            for tag in tags:
                self._channel.basic_ack(tag)

        with self._changed:
            self.check()
        self._in_the_loop(acknowledge)

    # --- inside the loop's thread ----------------------------------------------------------------------------------

    def _in_the_loop(self, call: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                call()
            except Exception as error:  # the loop has no caller to catch it, and the owner waits
                self._fail(words_of(error))

        self._connection.ioloop.add_callback_threadsafe(guarded)

    def _on_channel(self, channel: Channel) -> None:
        self._channel = channel
        self._connection.add_on_connection_blocked_callback(
            lambda _connection, frame: self._on_alarm(f"RabbitMQ is in alarm and takes nothing: {frame.method.reason}")
        )
        self._connection.add_on_connection_unblocked_callback(lambda _connection, _frame: self._on_alarm(""))
        channel.add_on_cancel_callback(lambda _frame: self._fail("the queue was deleted"))
        channel.add_on_close_callback(self._on_closed)
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=self._on_ready)

    def _on_ready(self, _frame: object) -> None:
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def _send(self, publications: Sequence[Publication]) -> None:
        # The broker numbers a channel's messages from 1. A confirm with `multiple` covers all up to its number.
        with self._changed:
            for place in range(len(publications)):
                self._last_number += 1
                self._places[self._last_number] = place
        for publication in publications:
            self._channel.basic_publish(
                publication.exchange,
                publication.routing_key,
                publication.body,
                publication.properties,
                mandatory=True,
            )

    def _on_confirm(self, frame: Any) -> None:
        last, is_nack = frame.method.delivery_tag, isinstance(frame.method, pika.spec.Basic.Nack)
        with self._changed:
            if frame.method.multiple:
                numbers = [number for number in self._places if number <= last]
            else:
                numbers = [last] if last in self._places else []
            for number in numbers:
                place = self._places.pop(number)
                self._result.is_confirmed[place] = not is_nack
                self._result.unanswered -= 1
                if is_nack:
                    self._result.refused.add(place)
            if numbers and is_nack:
                self._result.problem = "a queue refused a message"
            if not self._result.unanswered:
                self._changed.notify_all()

    def _on_return(self, _channel: Channel, _method: Any, properties: pika.BasicProperties, _body: bytes) -> None:
        with self._changed:
            self._result.returned.add(properties.message_id or "")

    def _on_message(self, _channel: Channel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        with self._changed:
            self._deliveries.append(delivery_of(method, properties, body))
            self._changed.notify_all()

    def _on_closed(self, _closed: object, reason: BaseException) -> None:
        self._fail(words_of(reason))
        if isinstance(_closed, SelectConnection):
            _closed.ioloop.stop()

    def _on_alarm(self, alarm: str) -> None:
        logger.warning("%s", alarm or "RabbitMQ's alarm is over")
        with self._changed:
            self._alarm = alarm

    def _fail(self, problem: str) -> None:
        with self._changed:
            self._problem = self._problem or problem
            self._changed.notify_all()

    def _close(self) -> None:
        if self._connection.is_open:
            self._connection.close()
        elif not self._connection.is_closing:
            self._connection.ioloop.stop()
