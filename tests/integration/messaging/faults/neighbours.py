"""Another program at the same RabbitMQ, which survives whatever happens to it."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pika
from django.conf import settings
from pika.adapters.blocking_connection import BlockingChannel

from inventory_project.foundation.messaging import consumer
from inventory_project.foundation.messaging.rabbitmq import dead_letters, topology
from inventory_project.routes import ROUTES

LISTENER = "listener"
BINDINGS = consumer.bindings(ROUTES)
EXCHANGES = (settings.EVENTS_EXCHANGE, *sorted(set(settings.MESSAGE_EXCHANGES.values())))
CONNECT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Heard:
    """An event as it came to the listener."""

    id: str
    type: str
    data: Mapping[str, Any]


@dataclass
class Neighbour:
    """Sends order and payment events and listens to ours, over a connection for each call."""

    url: str
    heard: list[Heard] = field(default_factory=list)

    @contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        parameters = pika.URLParameters(self.url)
        parameters.socket_timeout = parameters.stack_timeout = CONNECT_SECONDS
        with pika.BlockingConnection(parameters) as connection:
            yield connection.channel()

    def clear(self) -> None:
        """Take away everything that an earlier test left."""
        with self.channel() as channel:
            for queue in (LISTENER, "full", topology.QUEUE, topology.DELAY_QUEUE, topology.DEAD_QUEUE):
                channel.queue_delete(queue)
            for exchange in EXCHANGES:
                channel.exchange_delete(exchange)

    # --- listening -------------------------------------------------------------------------------------------------

    def listen(self, *types: str, queue: str = LISTENER, **arguments: object) -> None:
        """From now on have the events of these types kept, all of them unless they are named."""
        with self.channel() as channel:
            channel.exchange_declare(settings.EVENTS_EXCHANGE, "topic", durable=True)
            channel.queue_declare(
                queue, durable=True, arguments={name.replace("_", "-"): value for name, value in arguments.items()}
            )
            for type_ in types or ("#",):
                channel.queue_bind(queue, settings.EVENTS_EXCHANGE, type_)

    def hear(self) -> list[Heard]:
        """All events about orders that came so far; those about stock levels are left out."""
        with self.channel() as channel:
            while True:
                _, _, body = channel.basic_get(LISTENER, auto_ack=True)
                if body is None:
                    return self.heard
                event = json.loads(body)
                if "order_id" in event["data"]:
                    self.heard.append(Heard(event["id"], event["type"], event["data"]))

    def times(self) -> Counter[str]:
        """How often each event about an order came, by its id."""
        return Counter(event.id for event in self.hear())

    def heard_types(self) -> list[str]:
        """The types of all events about orders that came so far."""
        return [event.type for event in self.hear()]

    # --- sending ---------------------------------------------------------------------------------------------------

    def send(self, type_: str, order_id: UUID, *items: tuple[UUID, int], message_id: str | None = None) -> None:
        """One of the four messages, as bare JSON."""
        self.send_bytes(type_, _body(order_id, *items), message_id=message_id or str(uuid4()))

    def send_orders(self, product_id: UUID, number: int) -> list[UUID]:
        """So many order.created for one unit each; the ids of the orders."""
        order_ids = [uuid4() for _ in range(number)]
        with self.channel() as channel:
            channel.confirm_delivery()
            for order_id in order_ids:
                self._publish(channel, "order.created", _body(order_id, (product_id, 1)), message_id=str(uuid4()))
        return order_ids

    def send_bytes(self, type_: str, body: bytes, **properties: Any) -> None:
        """Whatever; raises UnroutableError when no queue takes it."""
        with self.channel() as channel:
            channel.confirm_delivery()
            self._publish(channel, type_, body, **properties)

    def _publish(self, channel: BlockingChannel, type_: str, body: bytes, **properties: Any) -> None:
        exchange = settings.MESSAGE_EXCHANGES[type_.partition(".")[0]]
        channel.basic_publish(
            exchange, type_, body, pika.BasicProperties(delivery_mode=2, **properties), mandatory=True
        )

    # --- looking ---------------------------------------------------------------------------------------------------

    def depth(self, queue: str = topology.QUEUE) -> int:
        """Messages that wait there; those that a consumer has in hand do not count."""
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)


def _body(order_id: UUID, *items: tuple[UUID, int]) -> bytes:
    data: dict[str, Any] = {"order_id": str(order_id)}
    if items:
        data["items"] = [{"product_id": str(product_id), "quantity": units} for product_id, units in items]
    return json.dumps(data).encode()


def reasons_of_dead_letters() -> dict[str | None, str]:
    """The reason of each dead letter, by the message's id."""
    _, letters = dead_letters.look(limit=1_000)
    return {letter.message_id: letter.reason for letter in letters}
