"""Declares this service's part of RabbitMQ: the exchange for its events, and its queues with their bindings."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from pika.exceptions import ChannelClosedByBroker

from inventory_project.foundation.messaging.rabbitmq.connection import NOT_FOUND, open_channel, open_connection

QUEUE = "inventory.orders"
DELAY_QUEUE = "inventory.orders.delay"
DEAD_QUEUE = "inventory.orders.dead"

MAX_LOOKS = 2**31 - 1  # how often a dead letter can be looked at


def declare_events() -> None:
    """Declare the exchange for our events. Raises BrokerUnavailable, TopologyMismatch."""
    with open_channel() as channel:
        channel.exchange_declare(settings.EVENTS_EXCHANGE, "topic", durable=True)


def declare_inbox(bindings: Sequence[tuple[str, str]]) -> None:
    """Declare our queues, and bind the main queue to each (exchange, routing key).

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
    """Accept the shop's exchange as it is, whatever its type. Create it if it does not exist."""
    with open_connection() as connection:
        try:
            connection.channel().exchange_declare(exchange, passive=True)
        except ChannelClosedByBroker as closed:
            if closed.reply_code != NOT_FOUND:
                raise
            connection.channel().exchange_declare(exchange, "topic", durable=True)


def _queues() -> Iterator[tuple[str, dict[str, Any]]]:
    # A message leaves its queue only once the next queue has confirmed it. That strategy requires reject-publish.
    safely = {"x-dead-letter-exchange": "", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
    # Each look at a dead letter is a delivery. With a limit RabbitMQ returns the letter to its place, not to the end.
    # Without one, RabbitMQ 4 has a limit of 20, after which it drops the letter.
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
    """The number of messages in each of our queues that exists. Raises BrokerUnavailable."""
    found = {}
    with open_connection() as connection:
        for queue in (QUEUE, DELAY_QUEUE, DEAD_QUEUE):
            try:  # a channel each: the broker closes it if the queue does not exist
                found[queue] = connection.channel().queue_declare(queue, passive=True).method.message_count
            except ChannelClosedByBroker:
                continue
    return found
