"""What this service declares on RabbitMQ: the exchange of its events, and its queues with their bindings."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from pika.exceptions import ChannelClosedByBroker

from inventory_project.foundation.messaging.rabbitmq.connection import NOT_FOUND, open_channel, open_connection

QUEUE = "inventory.orders"
DELAY_QUEUE = "inventory.orders.delay"
DEAD_QUEUE = "inventory.orders.dead"

MAX_LOOKS = 2**31 - 1  # at a dead letter


def declare_events() -> None:
    """Have the exchange that our events go to. Raises BrokerUnavailable, TopologyMismatch."""
    with open_channel() as channel:
        channel.exchange_declare(settings.EVENTS_EXCHANGE, "topic", durable=True)


def declare_inbox(bindings: Sequence[tuple[str, str]]) -> None:
    """Have our queues, and the first bound to each (exchange, routing key).

    Raises BrokerUnavailable, TopologyMismatch.
    """
    for exchange in sorted({exchange for exchange, _ in bindings}):
        _have_exchange(exchange)
    with open_channel() as channel:
        for queue, arguments in _queues():
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum", **arguments})
        for exchange, routing_key in bindings:
            channel.queue_bind(QUEUE, exchange, routing_key)


def _have_exchange(exchange: str) -> None:
    """The shop's own exchange as it stands, whatever its type; where there is none yet, one is made."""
    with open_connection() as connection:
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
    yield DEAD_QUEUE, {"x-delivery-limit": MAX_LOOKS}
    yield (
        QUEUE,
        {**safely, "x-dead-letter-routing-key": DEAD_QUEUE, "x-delivery-limit": settings.MESSAGE_MAX_DELIVERIES},
    )
    yield (
        DELAY_QUEUE,
        {**safely, "x-dead-letter-routing-key": QUEUE, "x-message-ttl": settings.MESSAGE_DELAY_SECONDS * 1_000},
    )


def depths() -> dict[str, int]:
    """How many messages wait in each of our queues; one that is not there is left out. Raises BrokerUnavailable."""
    found = {}
    with open_connection() as connection:
        for queue in (QUEUE, DELAY_QUEUE, DEAD_QUEUE):
            try:  # a channel each, for the broker closes it when a queue is not there
                found[queue] = connection.channel().queue_declare(queue, passive=True).method.message_count
            except ChannelClosedByBroker:
                continue
    return found
