"""Outgoing and incoming messages, and the headers that this service sets when it sends a message on."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import pika

from inventory_project.foundation.messaging.rabbitmq.properties import Properties
from inventory_project.foundation.messaging.rabbitmq.topology import QUEUE

DELIVERY_LIMIT = "delivery_limit"  # RabbitMQ's reason for moving a message that was delivered too often

# Headers that the broker adds to a message; they are removed when it is sent on.
THE_BROKERS = (
    *("x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"),
    *("x-delivery-count", "x-acquired-count"),  # the second is RabbitMQ 4's
)
COPIES = (
    "CC",
    "BCC",
)  # with these the broker would copy the message to further queues, perhaps to the one it came from
EXCHANGE_HEADER, ROUTING_KEY_HEADER, TRIES_HEADER, REASON_HEADER = "x-exchange", "x-routing-key", "x-tries", "x-reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A message to send. The broker keeps it on disk."""

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
    """A message that was received. `exchange` and `routing_key` are those of its first publication.

    `problem` is empty, or says what of its properties cannot be read.
    """

    tag: int
    exchange: str
    routing_key: str
    body: bytes
    message_id: str | None
    content_type: str | None
    correlation_id: str | None
    headers: dict[str, Any]
    problem: str = ""
    was_delivered_before: bool = False

    @property
    def tries(self) -> int:
        """How often the message has been delayed so far."""
        tries = self.headers.get(TRIES_HEADER, 0)
        return tries if type(tries) is int and tries > 0 else 0

    @property
    def reason(self) -> str:
        """Why it is a dead letter: the broker's reason if it moved the message itself, otherwise this service's."""
        ours, death = self.headers.get(REASON_HEADER), _death(self.headers)
        # What this service sends on has no record of a death, so here the header is the sender's.
        if ours is None or death.get("queue") == QUEUE:
            return str(death.get("reason", ""))
        return str(ours)

    def sent_on(self, queue: str, **headers: object) -> Publication:
        """The same message for another of our queues. A header of None is removed."""
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


def _death(headers: dict[str, Any]) -> dict[str, Any]:
    """The broker's latest record of moving the message to another queue. The sender may have forged it."""
    deaths = headers.get("x-death")
    return deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}


def delivery_of(method: Any, properties: pika.BasicProperties, body: bytes) -> Delivery:
    """The Delivery for a message from pika."""
    headers: dict[str, Any] = dict(properties.headers or {})
    exchange, routing_key = _origin(method, headers)
    return Delivery(
        tag=method.delivery_tag,
        exchange=exchange,
        routing_key=routing_key,
        body=body,
        message_id=properties.message_id,
        content_type=properties.content_type,
        correlation_id=properties.correlation_id,
        headers=headers,
        problem=properties.problem if isinstance(properties, Properties) else "",
        was_delivered_before=method.redelivered,
    )


def _origin(method: Any, headers: dict[str, Any]) -> tuple[str, str]:
    """The exchange and the routing key of the first publication.

    Headers are whatever the sender wrote. They are believed only in a message that came over the default exchange,
    where this service sends messages on and shops have no right to publish. RabbitMQ moves messages over it too, with
    the sender's headers. Of those, it is known where a message that was delivered too often came from: RabbitMQ says
    so. One that has expired in our queue is not believed, because its sender chose the time, and with it this way.
    """
    if method.exchange:
        return method.exchange, method.routing_key
    death = _death(headers)
    if death.get("queue") == QUEUE:
        keys = death.get("routing-keys")
        if death.get("reason") != DELIVERY_LIMIT:
            return "", method.routing_key
        if death.get("exchange") and isinstance(keys, list) and keys:
            return str(death["exchange"]), str(keys[0])
    return str(headers.get(EXCHANGE_HEADER, "")), str(headers.get(ROUTING_KEY_HEADER, method.routing_key))


def key_of(delivery: Delivery) -> str:
    """A key for a message that may have no id. The same message and content have the same key."""
    sent = repr((delivery.exchange, delivery.routing_key, delivery.message_id)).encode()
    return hashlib.sha256(sent + delivery.body).hexdigest()
