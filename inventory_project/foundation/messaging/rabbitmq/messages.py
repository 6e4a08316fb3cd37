"""Outgoing and incoming messages, and the headers that this service sets when it sends a message on."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import pika

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
    """A message that was received. `exchange` and `routing_key` are those of its first publication."""

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
        """How often the message has been delayed so far."""
        tries = self.headers.get(TRIES_HEADER, 0)
        return tries if type(tries) is int and tries > 0 else 0

    @property
    def reason(self) -> str:
        """Why it is a dead letter: the reason that this service set as a header, otherwise the broker's."""
        reason = self.headers.get(REASON_HEADER)
        return str(reason) if reason is not None else str(_death(self.headers, 0).get("reason", ""))

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


def _death(headers: dict[str, Any], place: int) -> dict[str, Any]:
    """The broker's record of moving the message to another queue, latest first. It is untrusted: anybody can set it."""
    deaths = headers.get("x-death")
    return deaths[place] if isinstance(deaths, list) and deaths and isinstance(deaths[place], dict) else {}


def delivery_of(method: Any, properties: pika.BasicProperties, body: bytes) -> Delivery:
    """The Delivery for a message from pika."""
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


def key_of(delivery: Delivery) -> str:
    """A key for a message that may have no id. The same message and content have the same key."""
    sent = repr((delivery.exchange, delivery.routing_key, delivery.message_id)).encode()
    return hashlib.sha256(sent + delivery.body).hexdigest()
