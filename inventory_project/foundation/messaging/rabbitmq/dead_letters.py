"""Dead letters: looked at without harm, sent back into the queue, or discarded; each stays until that is confirmed."""

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

MAX_SEEN_BYTES = 4_096  # of its body
BACK_SECONDS = 1.0  # at most for a dead letter to be seen in its place again; then for none any more
BACK_STEP_SECONDS = 0.001  # between two looks at whether it is


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(Delivery):
    """A dead letter to be looked at; `body` is the beginning of what has `size` bytes.

    `key` tells it from others, also where nobody gave it an id, and is the same at each look.
    """

    key: str
    size: int


def look(*, limit: int) -> tuple[int, list[DeadLetter]]:
    """How many there are, and the oldest of them, which stay where they are.

    Raises BrokerUnavailable, TopologyMismatch.
    """
    with open_channel() as channel:
        number = _number_of_dead(channel)
        letters = [_seen(delivery) for delivery in _taken(channel, limit)]
        _give_back(channel, [letter.tag for letter in letters])
    return number, letters


def replay(*, limit: int, actor: str, names: Collection[str] | None = None) -> tuple[int, set[str]]:
    """Have the oldest dead letters handled anew, or those of them whose message id or key is among `names`.

    How many were sent, and which names were not found. `limit` is how many are looked at; what comes back meanwhile is
    not sent twice. Each is in the main queue, confirmed, before it leaves this one; should the connection end between
    the two it is in both, and the inbox knows it the second time. Raises BrokerUnavailable, TopologyMismatch.
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
        raise BrokerUnavailable(f"{refusal.detail} Before that were {done}: {number}.") from refusal
    finally:
        if number:
            logger.info("dead letters were %s: %s, by %s", done, number, actor)
    return number, missing


def _send_anew(channel: BlockingChannel, delivery: Delivery) -> None:
    again = delivery.sent_on(QUEUE, **{TRIES_HEADER: None, REASON_HEADER: None})
    try:
        channel.basic_publish("", QUEUE, again.body, again.properties, mandatory=True)
    except (UnroutableError, NackError) as error:
        raise BrokerUnavailable(f"There is no queue {QUEUE}, or it takes nothing; a consumer declares it.") from error


def _throw_away(_channel: BlockingChannel, delivery: Delivery) -> None:
    logger.warning("dead letter %s is thrown away: %s", delivery.message_id or key_of(delivery), delivery.reason)


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
    return DeadLetter(**{**same, "body": delivery.body[:MAX_SEEN_BYTES]}, key=key_of(delivery), size=len(delivery.body))
