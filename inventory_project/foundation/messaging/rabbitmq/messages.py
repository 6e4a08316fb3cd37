"""Messages as they are sent and as they come, and the headers that this service writes on those it sends on."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import pika

# What is put on a message that is sent on, and taken away when it is sent anew.
THE_BROKERS = (
    *("x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"),
    *("x-delivery-count", "x-acquired-count"),  # the second is RabbitMQ 4's
)
COPIES = ("CC", "BCC")  # would have the broker put what is sent on into other queues too, the one it came from perhaps
EXCHANGE_HEADER, ROUTING_KEY_HEADER, TRIES_HEADER, REASON_HEADER = "x-exchange", "x-routing-key", "x-tries", "x-reason"


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


def delivery_of(method: Any, properties: pika.BasicProperties, body: bytes) -> Delivery:
    """What pika hands over, as a Delivery."""
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
    """What stands for the id of a message without one; the same content has the same."""
    sent = repr((delivery.exchange, delivery.routing_key, delivery.message_id)).encode()
    return hashlib.sha256(sent + delivery.body).hexdigest()
