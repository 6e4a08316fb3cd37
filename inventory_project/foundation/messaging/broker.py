"""RabbitMQ, known here alone: what is declared there, and a session that publishes, consumes and keeps itself alive.

A Session runs pika's loop in a thread of its own. So heartbeats go on through the longest transaction, publisher
confirms and deliveries are taken in while the owner works, and a thousand confirms can be under way at once.
"""

import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from threading import Condition, Thread
from typing import Any, Self

import pika
from django.conf import settings
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.select_connection import SelectConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.channel import Channel
from pika.exceptions import AMQPError, ChannelClosedByBroker, NackError, UnroutableError

from inventory_project.foundation.errors import Conflict, Unavailable

logger = logging.getLogger(__name__)

QUEUE = "inventory.orders"
DELAY_QUEUE = "inventory.orders.delay"
DEAD_QUEUE = "inventory.orders.dead"

CONNECT_SECONDS = 5
HEARTBEAT_SECONDS = 30
CLOSE_SECONDS = 5
MOST_LOOKS = 2**31 - 1  # at a dead letter
MOST_SEEN_BYTES = 4_096  # of its body
STEP_SECONDS = 1.0  # between two looks at whether an alarm is worth waiting for
BACK_SECONDS = 1.0  # at most for a dead letter to be seen in its place again; then for none any more
BACK_STEP_SECONDS = 0.001  # between two looks at whether it is
NOT_ALLOWED, NOT_FOUND, NOT_EQUAL = 403, 404, 406  # AMQP's reply codes
FAILURES = (AMQPError, AMQPConnectorException, OSError)  # the second is a time-out while connecting, of no family

# What is put on a message that is sent on, and taken away when it is sent anew.
THE_BROKERS = (
    *("x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"),
    *("x-delivery-count", "x-acquired-count"),  # the second is RabbitMQ 4's
)
COPIES = ("CC", "BCC")  # would have the broker put what is sent on into other queues too, the one it came from perhaps
EXCHANGE_HEADER, ROUTING_KEY_HEADER, TRIES_HEADER, REASON_HEADER = "x-exchange", "x-routing-key", "x-tries", "x-reason"


class BrokerAway(Unavailable):
    """RabbitMQ cannot be reached, was lost, or does not answer in time."""

    code = "broker_unavailable"


class TopologyMismatch(Conflict):
    """What stands on the broker is not what this service declares, or it may not declare it."""

    code = "topology_mismatch"


# --- messages ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A message to be sent, persistent."""

    exchange: str
    routing_key: str
    body: bytes
    message_id: str | None
    content_type: str | None
    correlation_id: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)

    @property
    def properties(self) -> pika.BasicProperties:
        return pika.BasicProperties(
            content_type=self.content_type,
            message_id=self.message_id,
            correlation_id=self.correlation_id,
            headers=self.headers,
            delivery_mode=2,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message that came. `exchange` and `routing_key` are those it was first published with."""

    tag: int
    exchange: str
    routing_key: str
    body: bytes
    message_id: str | None
    content_type: str | None
    correlation_id: str | None
    headers: dict[str, Any]
    was_delivered_before: bool = False

    @property
    def tries(self) -> int:
        """How often it was put off so far."""
        tries = self.headers.get(TRIES_HEADER, 0)
        return tries if type(tries) is int and tries > 0 else 0

    @property
    def reason(self) -> str:
        """Why it is a dead letter: what we wrote on it, else what the broker says."""
        said = self.headers.get(REASON_HEADER)
        return str(said) if said is not None else str(_death(self.headers, 0).get("reason", ""))

    def sent_on(self, queue: str, **headers: object) -> Publication:
        """The same message for another queue of ours; a header of None is taken away."""
        ours = {EXCHANGE_HEADER: self.exchange, ROUTING_KEY_HEADER: self.routing_key, **headers}
        kept = {name: value for name, value in self.headers.items() if name not in {*ours, *THE_BROKERS, *COPIES}}
        return Publication(
            exchange="",
            routing_key=queue,
            body=self.body,
            message_id=self.message_id,
            content_type=self.content_type,
            correlation_id=self.correlation_id,
            headers={**kept, **{name: value for name, value in ours.items() if value is not None}},
        )


def _death(headers: dict[str, Any], place: int) -> dict[str, Any]:
    """What the broker wrote when it moved the message to another queue, the latest first; anybody may write it too."""
    deaths = headers.get("x-death")
    return deaths[place] if isinstance(deaths, list) and deaths and isinstance(deaths[place], dict) else {}


def _delivery(method: Any, properties: pika.BasicProperties, body: bytes) -> Delivery:
    headers = dict(properties.headers or {})
    death = _death(headers, -1)
    keys = death.get("routing-keys")
    routing_key = keys[0] if keys and isinstance(keys, list) else method.routing_key
    return Delivery(
        tag=method.delivery_tag,
        exchange=str(headers.get(EXCHANGE_HEADER, death.get("exchange", method.exchange))),
        routing_key=str(headers.get(ROUTING_KEY_HEADER, routing_key)),
        body=body,
        message_id=properties.message_id,
        content_type=properties.content_type,
        correlation_id=properties.correlation_id,
        headers=headers,
        was_delivered_before=method.redelivered,
    )


# --- what is declared ----------------------------------------------------------------------------------------------


def declare_events() -> None:
    """Have the exchange that our events go to. Raises BrokerAway, TopologyMismatch."""
    with _channel() as channel:
        channel.exchange_declare(settings.EVENTS_EXCHANGE, "topic", durable=True)


def declare_inbox(bindings: Sequence[tuple[str, str]]) -> None:
    """Have our queues, and the first bound to each (exchange, routing key). Raises BrokerAway, TopologyMismatch."""
    for exchange in sorted({exchange for exchange, _ in bindings}):
        _have_exchange(exchange)
    with _channel() as channel:
        for queue, arguments in _queues():
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum", **arguments})
        for exchange, routing_key in bindings:
            channel.queue_bind(QUEUE, exchange, routing_key)


def _have_exchange(exchange: str) -> None:
    """The shop's own exchange as it stands, whatever its type; where there is none yet, one is made."""
    with _connected() as connection:
        try:
            connection.channel().exchange_declare(exchange, passive=True)
        except ChannelClosedByBroker as closed:
            if closed.reply_code != NOT_FOUND:
                raise
            connection.channel().exchange_declare(exchange, "topic", durable=True)


def _queues() -> Iterator[tuple[str, dict[str, Any]]]:
    # A message leaves its queue only when the next one has confirmed it; that strategy asks for reject-publish.
    safely = {"x-dead-letter-exchange": "", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
    # Each look at a dead letter is a delivery. With a limit RabbitMQ gives it back to its place, and not to the end;
    # and RabbitMQ 4 has one of 20 where none is named, and then drops it.
    yield DEAD_QUEUE, {"x-delivery-limit": MOST_LOOKS}
    yield (
        QUEUE,
        {**safely, "x-dead-letter-routing-key": DEAD_QUEUE, "x-delivery-limit": settings.MESSAGE_MAX_DELIVERIES},
    )
    yield (
        DELAY_QUEUE,
        {**safely, "x-dead-letter-routing-key": QUEUE, "x-message-ttl": settings.MESSAGE_DELAY_SECONDS * 1_000},
    )


def depths() -> dict[str, int]:
    """How many messages wait in each of our queues; one that is not there is left out. Raises BrokerAway."""
    found = {}
    with _connected() as connection:
        for queue in (QUEUE, DELAY_QUEUE, DEAD_QUEUE):
            try:  # a channel each, for the broker closes it when a queue is not there
                found[queue] = connection.channel().queue_declare(queue, passive=True).method.message_count
            except ChannelClosedByBroker:
                continue
    return found


# --- dead letters --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(Delivery):
    """A dead letter to be looked at; `body` is the beginning of what has `size` bytes.

    `key` tells it from others, also where nobody gave it an id, and is the same at each look.
    """

    key: str
    size: int


def dead_letters(*, limit: int) -> tuple[int, list[DeadLetter]]:
    """How many there are, and the oldest of them, which stay where they are. Raises BrokerAway, TopologyMismatch."""
    with _channel() as channel:
        number = _number_of_dead(channel)
        letters = [_seen(delivery) for delivery in _taken(channel, limit)]
        _give_back(channel, [letter.tag for letter in letters])
    return number, letters


def replay(*, limit: int, actor: str, names: Collection[str] | None = None) -> tuple[int, set[str]]:
    """Have the oldest dead letters handled anew, or those of them whose message id or key is among `names`.

    How many were sent, and which names were not found. `limit` is how many are looked at; what comes back meanwhile is
    not sent twice. Each is in the main queue, confirmed, before it leaves this one; should the connection end between
    the two it is in both, and the inbox knows it the second time. Raises BrokerAway, TopologyMismatch.
    """
    return _take_out(_send_anew, "sent to be handled anew", limit=limit, actor=actor, names=names)


def discard(*, limit: int, actor: str, names: Collection[str]) -> tuple[int, set[str]]:
    """Throw those of the oldest dead letters away whose message id or key is among `names`; as `replay`."""
    return _take_out(_throw_away, "thrown away", limit=limit, actor=actor, names=names)


def _take_out(
    act: Callable[[BlockingChannel, Delivery], None],
    done: str,
    *,
    limit: int,
    actor: str,
    names: Collection[str] | None,
) -> tuple[int, set[str]]:
    number, missing = 0, set(names or ())
    kept: list[int] = []
    try:
        with _channel() as channel:
            channel.confirm_delivery()
            for delivery in _taken(channel, min(limit, _number_of_dead(channel))):
                found = {delivery.message_id, key(delivery)}.intersection(names or ())
                if names is not None and not found:
                    kept.append(delivery.tag)
                    continue
                act(channel, delivery)
                channel.basic_ack(delivery.tag)
                number += 1
                missing -= found
            _give_back(channel, kept)
    except BrokerAway as away:
        if not number:
            raise
        raise BrokerAway(f"{away.detail} Before that were {done}: {number}.") from away
    finally:
        if number:
            logger.info("dead letters were %s: %s, by %s", done, number, actor)
    return number, missing


def _send_anew(channel: BlockingChannel, delivery: Delivery) -> None:
    again = delivery.sent_on(QUEUE, **{TRIES_HEADER: None, REASON_HEADER: None})
    try:
        channel.basic_publish("", QUEUE, again.body, again.properties, mandatory=True)
    except (UnroutableError, NackError) as error:
        raise BrokerAway(f"There is no queue {QUEUE}, or it takes nothing; a consumer declares it.") from error


def _throw_away(_channel: BlockingChannel, delivery: Delivery) -> None:
    logger.warning("dead letter %s is thrown away: %s", delivery.message_id or key(delivery), delivery.reason)


def _number_of_dead(channel: BlockingChannel) -> int:
    number: int = channel.queue_declare(DEAD_QUEUE, passive=True).method.message_count
    return number


def _taken(channel: BlockingChannel, limit: int) -> Iterator[Delivery]:
    for _ in range(limit):
        method, properties, body = channel.basic_get(DEAD_QUEUE)
        if method is None or properties is None or body is None:
            return
        yield _delivery(method, properties, body)


def _give_back(channel: BlockingChannel, tags: Sequence[int]) -> None:
    """To their places. RabbitMQ mixes what is on its way back together, so each waits until the one before is there."""
    number = _number_of_dead(channel)
    is_seen = True
    for tag in tags:
        channel.basic_nack(tag, requeue=True)
        before, deadline = number, time.monotonic() + BACK_SECONDS
        while is_seen and (number := _number_of_dead(channel)) == before:
            is_seen = time.monotonic() < deadline  # where others take each at once, none of them will be
            time.sleep(BACK_STEP_SECONDS)


def _seen(delivery: Delivery) -> DeadLetter:
    """Without most of the body: fifty of them may be as large as the broker takes."""
    same = {each.name: getattr(delivery, each.name) for each in fields(Delivery)}
    return DeadLetter(**{**same, "body": delivery.body[:MOST_SEEN_BYTES]}, key=key(delivery), size=len(delivery.body))


def key(delivery: Delivery) -> str:
    """What stands for the id of a message without one; the same content has the same."""
    sent = repr((delivery.exchange, delivery.routing_key, delivery.message_id)).encode()
    return hashlib.sha256(sent + delivery.body).hexdigest()


# --- connections ---------------------------------------------------------------------------------------------------


def _parameters(purpose: str) -> pika.URLParameters:
    parameters = pika.URLParameters(settings.RABBITMQ_URL)
    parameters.heartbeat = HEARTBEAT_SECONDS
    parameters.connection_attempts = 1
    parameters.socket_timeout = parameters.stack_timeout = CONNECT_SECONDS
    parameters.blocked_connection_timeout = None
    parameters.client_properties = {"connection_name": f"inventory-service {purpose}"}
    return parameters


@contextmanager
def _connected() -> Iterator[pika.BlockingConnection]:
    """A connection for a few commands one after the other, none of which waits long for a broker that is frozen."""
    parameters = _parameters("declare")
    parameters.heartbeat = parameters.blocked_connection_timeout = CONNECT_SECONDS
    try:
        connection = pika.BlockingConnection(parameters)
    except FAILURES as error:
        raise BrokerAway(f"RabbitMQ cannot be reached: {_words(error)}.") from error
    try:
        with connection:
            yield connection
    except ChannelClosedByBroker as error:
        raise TopologyMismatch(_mismatch(error)) from error
    except FAILURES as error:
        raise BrokerAway(f"RabbitMQ was lost: {_words(error)}.") from error


@contextmanager
def _channel() -> Iterator[BlockingChannel]:
    """The same with one channel."""
    with _connected() as connection:
        yield connection.channel()


def _mismatch(error: ChannelClosedByBroker) -> str:
    if error.reply_code == NOT_EQUAL:
        return (
            f"What stands on RabbitMQ is not what this service declares: {error.reply_text}. Delete what stands there, "
            "once it is empty, or bring it into the declared form; docs/operating/operations.md shows how."
        )
    if error.reply_code == NOT_ALLOWED:
        return (
            f"The user of RABBITMQ_URL lacks a right: {error.reply_text}. "
            "docs/operating/operations.md lists the rights."
        )
    if error.reply_code == NOT_FOUND:
        return f"RabbitMQ lacks what a consumer declares when it starts: {error.reply_text}."
    return f"RabbitMQ refused: {error.reply_text}."


def _words(error: BaseException) -> str:
    """What happened, also where pika's exception has no text of its own, but holds another one that has."""
    held = getattr(error, "exception", None) or next(iter(error.args), None)
    if not str(error) and isinstance(held, BaseException):
        return _words(held)
    return (str(error) or type(error).__name__).strip().rstrip(".")


@dataclass(slots=True)
class Sending:
    """What became of the messages of one `publish`, by their position; `problem` is why not all were confirmed."""

    is_confirmed: list[bool]
    unanswered: int
    returned: set[str] = field(default_factory=set)  # ids of messages that no queue was there for
    refused: set[int] = field(default_factory=set)  # positions of messages that a full queue did not take
    problem: str = ""


class Session:
    """One connection with one channel. It fails once and for all: whoever gets BrokerAway opens another one.

    A broker in alarm reads nothing more from who publishes, and reads what it was sent when the alarm is over. Whoever
    opened another session meanwhile would send everything twice; so `publish` waits, as long as `waits` says so.
    """

    def __init__(self, purpose: str, *, waits: Callable[[str], bool] = bool) -> None:
        self._purpose = purpose
        self._waits = waits
        self._changed = Condition()
        self._is_open = False
        self._problem = ""
        self._alarm = ""
        self._consumer_tag = ""
        self._deliveries: deque[Delivery] = deque()
        self._sending = Sending([], 0)
        self._places: dict[int, int] = {}  # of the messages under way, by the broker's number for them
        self._last_number = 0

    def __enter__(self) -> Self:
        """Connect. Raises BrokerAway."""
        self._connection = SelectConnection(
            _parameters(self._purpose),
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
            raise BrokerAway(f"RabbitMQ cannot be reached: {self._problem or 'it does not answer'}.")
        return self

    def __exit__(self, *exception: object) -> None:
        """Disconnect; what was delivered and not acknowledged goes back to its queue."""
        self._in_the_loop(self._close)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():  # the broker does not answer
            self._in_the_loop(self._connection.ioloop.stop)
            self._thread.join(CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._connection.ioloop.close()

    def check(self) -> None:
        """Raises BrokerAway when the session has failed."""
        if self._problem or not self._thread.is_alive():
            raise BrokerAway(f"RabbitMQ was lost: {self._problem or 'the thread of its connection has ended'}.")

    def publish(self, publications: Sequence[Publication], *, within_seconds: float) -> Sending:
        """Send all of them and wait for the confirms, at most so long. Raises nothing: `problem` tells."""
        sending = Sending([False] * len(publications), len(publications))
        with self._changed:
            self._sending, self._places = sending, {}
        self._in_the_loop(lambda: self._send(publications))
        with self._changed:
            self._wait_for_answers(sending, within_seconds)
            if sending.unanswered:
                sending.problem = self._problem or self._alarm or f"no confirm within {within_seconds:g} s"
            self._sending, self._places = Sending([], 0), {}
        return sending

    def _wait_for_answers(self, sending: Sending, within_seconds: float) -> None:
        """Until each message is confirmed or refused: those beside one that a full queue refuses count as well."""
        deadline = time.monotonic() + within_seconds
        while not self._changed.wait_for(lambda: not sending.unanswered or self._problem, STEP_SECONDS):
            if self._alarm and self._waits(self._alarm):
                deadline = time.monotonic() + within_seconds
            elif self._alarm or time.monotonic() >= deadline:
                return

    def consume(self, queue: str, *, prefetch: int) -> None:
        """Have messages delivered, so many ahead of their acknowledgement; in place of what was asked for before."""

        def start() -> None:
            if self._consumer_tag:
                self._channel.basic_cancel(self._consumer_tag)
            self._channel.basic_qos(prefetch_count=prefetch)
            self._consumer_tag = self._channel.basic_consume(queue, self._on_message)

        self._in_the_loop(start)

    def receive(self, *, limit: int, within_seconds: float) -> list[Delivery]:
        """The next messages, as soon as there is one; none when none came in time. Raises BrokerAway."""
        with self._changed:
            self._changed.wait_for(lambda: self._deliveries or self._problem, within_seconds)
            self.check()
            return [self._deliveries.popleft() for _ in range(min(limit, len(self._deliveries)))]

    def acknowledge(self, tags: Sequence[int]) -> None:
        """Have these messages leave their queue. Raises BrokerAway when they will come again instead."""

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
            except Exception as error:  # nobody is above the loop to catch it, and the owner waits
                self._fail(_words(error))

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
        # The broker numbers what a channel publishes from 1 on; a confirm for `multiple` numbers ends at one of them.
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
                self._sending.is_confirmed[place] = not is_nack
                self._sending.unanswered -= 1
                if is_nack:
                    self._sending.refused.add(place)
            if numbers and is_nack:
                self._sending.problem = "a queue refused a message"
            if not self._sending.unanswered:
                self._changed.notify_all()

    def _on_return(self, _channel: Channel, _method: Any, properties: pika.BasicProperties, _body: bytes) -> None:
        with self._changed:
            self._sending.returned.add(properties.message_id or "")

    def _on_message(self, _channel: Channel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        with self._changed:
            self._deliveries.append(_delivery(method, properties, body))
            self._changed.notify_all()

    def _on_closed(self, _closed: object, reason: BaseException) -> None:
        self._fail(_words(reason))
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
