"""Dead letters: look at them, put them back into the queue, or discard them. None is lost if this is interrupted."""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields

from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import NackError, UnroutableError

from inventory_project.foundation.messaging.rabbitmq.connection import BrokerUnavailable, open_channel
from inventory_project.foundation.messaging.rabbitmq.messages import (
    REASON_HEADER,
    TRIES_HEADER,
    Delivery,
    delivery_of,
    key_of,
)
from inventory_project.foundation.messaging.rabbitmq.topology import DEAD_QUEUE, QUEUE

logger = logging.getLogger(__name__)

MAX_SEEN_BYTES = 4_096  # of a dead letter's body
BACK_SECONDS = 1.0  # the longest wait until a returned dead letter is back; after one time-out nothing waits
BACK_STEP_SECONDS = 0.001  # between two checks


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(Delivery):
    """A dead letter to look at. `body` is only the beginning; `size` is the full number of bytes.

    `key` identifies it even if it has no message id, and is the same each time.
    """

    key: str
    size: int


def look(*, limit: int) -> tuple[int, list[DeadLetter]]:
    """The number of dead letters, and the oldest of them. All stay in their queue.

    Raises BrokerUnavailable, TopologyMismatch.
    """
    with open_channel() as channel:
        number = _number_of_dead(channel)
        letters = [_seen(delivery) for delivery in _taken(channel, limit)]
        _give_back(channel, [letter.tag for letter in letters])
    return number, letters


def replay(*, limit: int, actor: str, names: Collection[str] | None = None) -> tuple[int, set[str]]:
    """Put the oldest dead letters back into the queue, or those of them whose message id or key is among `names`.

    Returns how many were sent and which names were not found. At most `limit` letters are looked at, and one that comes
    back meanwhile is not sent twice. A letter is confirmed in the main queue before it leaves this one. If the
    connection ends in between, it is in both, and the inbox detects the repeat. Raises BrokerUnavailable,
    TopologyMismatch.
    """
    return _take_out(_requeue, "put back into the queue", limit=limit, actor=actor, names=names)


def discard(*, limit: int, actor: str, names: Collection[str]) -> tuple[int, set[str]]:
    """Discard those of the oldest dead letters whose message id or key is among `names`.

    Returns how many were discarded and which names were not found. Raises BrokerUnavailable, TopologyMismatch.
    """
    return _take_out(_discard, "discarded", limit=limit, actor=actor, names=names)


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
        with open_channel() as channel:
            channel.confirm_delivery()
            for delivery in _taken(channel, min(limit, _number_of_dead(channel))):
                found = {delivery.message_id, key_of(delivery)}.intersection(names or ())
                if names is not None and not found:
                    kept.append(delivery.tag)
                    continue
                act(channel, delivery)
                channel.basic_ack(delivery.tag)
                number += 1
                missing -= found
            _give_back(channel, kept)
    except BrokerUnavailable as refusal:
        if not number:
            raise
        raise BrokerUnavailable(f"{refusal.detail} Dead letters {done} before that: {number}.") from refusal
    finally:
        if number:
            logger.info("dead letters were %s: %s, by %s", done, number, actor)
    return number, missing


def _requeue(channel: BlockingChannel, delivery: Delivery) -> None:
    again = delivery.sent_on(QUEUE, **{TRIES_HEADER: None, REASON_HEADER: None})
    try:
        channel.basic_publish("", QUEUE, again.body, again.properties, mandatory=True)
    except (UnroutableError, NackError) as error:
        raise BrokerUnavailable(
            f"Queue {QUEUE} does not exist or is full. Start `consume_events`, which declares it."
        ) from error


def _discard(_channel: BlockingChannel, delivery: Delivery) -> None:
    logger.warning("dead letter %s is discarded: %s", delivery.message_id or key_of(delivery), delivery.reason)


def _number_of_dead(channel: BlockingChannel) -> int:
    number: int = channel.queue_declare(DEAD_QUEUE, passive=True).method.message_count
    return number


def _taken(channel: BlockingChannel, limit: int) -> Iterator[Delivery]:
    for _ in range(limit):
        method, properties, body = channel.basic_get(DEAD_QUEUE)
        if method is None or properties is None or body is None:
            return
        yield delivery_of(method, properties, body)


def _give_back(channel: BlockingChannel, tags: Sequence[int]) -> None:
    """Return letters to their places, one by one. RabbitMQ would mix up several that are on their way back at once."""
    number = _number_of_dead(channel)
    is_seen = True
    for tag in tags:
        channel.basic_nack(tag, requeue=True)
        before, deadline = number, time.monotonic() + BACK_SECONDS
        while is_seen and (number := _number_of_dead(channel)) == before:
            is_seen = time.monotonic() < deadline  # if another client takes each at once, none will be back
            time.sleep(BACK_STEP_SECONDS)


def _seen(delivery: Delivery) -> DeadLetter:
    """The dead letter with only the beginning of its body, because fifty full bodies may be very large."""
    same = {each.name: getattr(delivery, each.name) for each in fields(Delivery)}
    return DeadLetter(**{**same, "body": delivery.body[:MAX_SEEN_BYTES]}, key=key_of(delivery), size=len(delivery.body))
