"""A shop as the service meets it: another program, which publishes order and payment events and listens to ours."""

import json
from collections.abc import Mapping
from typing import Any, Self
from uuid import UUID, uuid4

import pika

from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent
from inventory_project.foundation.messaging.rabbitmq import topology
from inventory_project.foundation.messaging.rabbitmq.messages import REASON_HEADER
from tests import asyncapi
from tests.service import PATIENCE_SECONDS, wait_until

ORDERS, PAYMENTS, OURS = "order.events", "payment.events", "inventory.events"
EXCHANGES = {"order": ORDERS, "payment": PAYMENTS}
SOURCE = "/shop"
CLOUD_EVENT = "application/cloudevents+json"
JSON = "application/json"

Event = dict[str, Any]


def parameters(url: str) -> pika.URLParameters:
    """Without heartbeats, for a test does not listen while it waits for something else."""
    found = pika.URLParameters(url)
    found.heartbeat = 0
    return found


def word(type_: str, data: Mapping[str, Any]) -> str:
    """An event as docs/reference/events.md names it: with the reason of a release or the code of a rejection."""
    why = data.get("reason") or data.get("code")
    return f"{type_} ({why})" if why else type_


def order_of(order_id: UUID, items: Mapping[UUID, int] | None = None, **more: object) -> dict[str, Any]:
    """The data of a message about this order, with items where they are given."""
    data: dict[str, Any] = {"order_id": str(order_id), **more}
    if items is not None:
        data["items"] = [{"product_id": str(product_id), "quantity": units} for product_id, units in items.items()]
    return data


def cloud_event(type_: str, message_id: str, data: object, **attributes: object) -> Event:
    """The envelope with everything that it must have; an attribute of None is left out."""
    event = {"specversion": "1.0", "id": message_id, "source": SOURCE, "type": type_, "data": data, **attributes}
    return {name: value for name, value in event.items() if value is not None}


class Shop:
    """One connection that publishes, confirmed, and a queue of its own that hears whatever the service says."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._events: list[Event] = []

    def __enter__(self) -> Self:
        self._connection = pika.BlockingConnection(parameters(self._url))
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        for exchange in (ORDERS, PAYMENTS, OURS):
            self._channel.exchange_declare(exchange, "topic", durable=True)
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(self._queue, OURS, "#")
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    # --- speaking --------------------------------------------------------------------------------------------------

    def send(self, exchange: str, routing_key: str, body: bytes, **properties: Any) -> None:
        """Publish these bytes; fails where no queue is bound for them."""
        self._channel.basic_publish(exchange, routing_key, body, pika.BasicProperties(**properties), mandatory=True)

    def say(self, type_: str, data: object, *, message_id: str | None = None, **properties: Any) -> str:
        """Publish a message in bare JSON; its id."""
        message_id = message_id or str(uuid4())
        body = json.dumps(data).encode()
        properties = {"content_type": JSON, "delivery_mode": 2, **properties}
        self.send(EXCHANGES[type_.partition(".")[0]], type_, body, message_id=message_id, **properties)
        return message_id

    def say_cloud_event(self, type_: str, data: object, *, message_id: str | None = None, **attributes: object) -> str:
        """Publish a message as a CloudEvent in structured mode; its id, which AMQP is not told."""
        message_id = message_id or str(uuid4())
        body = json.dumps(cloud_event(type_, message_id, data, **attributes)).encode()
        self.send(EXCHANGES[type_.partition(".")[0]], type_, body, content_type=CLOUD_EVENT, delivery_mode=2)
        return message_id

    # --- listening -------------------------------------------------------------------------------------------------

    def heard(self) -> list[Event]:
        """Everything that the service has said since the shop opened, in the order in which it came."""
        while True:
            method, properties, body = self._channel.basic_get(self._queue, auto_ack=True)
            if method is None or properties is None or body is None:
                return self._events
            event = asyncapi.check_published(body)
            assert (method.exchange, method.routing_key) == (OURS, event["type"])
            assert (properties.message_id, properties.content_type) == (event["id"], CLOUD_EVENT)
            assert properties.delivery_mode == 2
            self._events.append(event)

    def heard_of(self, order_id: UUID) -> list[Event]:
        """What it said of this order."""
        return [event for event in self.heard() if event["data"].get("order_id") == str(order_id)]

    def wait_for(self, order_id: UUID, *words: str, seconds: float = PATIENCE_SECONDS) -> list[Event]:
        """What it said of this order, once it is as much as these words and if it is these words."""
        wait_until(lambda: len(self.heard_of(order_id)) >= len(words), f"{words} of {order_id}", seconds)
        events = self.heard_of(order_id)
        assert [word(event["type"], event["data"]) for event in events] == list(words)
        return events

    # --- what became of it -----------------------------------------------------------------------------------------

    def consumers(self) -> int:
        """How many consumers the service's queue has."""
        return self._channel.queue_declare(topology.QUEUE, passive=True).method.consumer_count

    def dead_letters(self) -> dict[str | None, str]:
        """The reason of each dead letter, by the id of its message; they stay where they are."""
        reasons: dict[str | None, str] = {}
        number = self.number_in(topology.DEAD_QUEUE)
        channel = self._connection.channel()
        for _ in range(number):
            _, properties, _ = channel.basic_get(topology.DEAD_QUEUE)
            assert properties is not None
            reasons[properties.message_id] = str((properties.headers or {}).get(REASON_HEADER, ""))
        channel.close()
        wait_until(lambda: self.number_in(topology.DEAD_QUEUE) >= number, "the dead letters are back")
        return reasons

    def forget_dead_letters(self) -> None:
        """For the next test."""
        self._channel.queue_purge(topology.DEAD_QUEUE)

    def number_in(self, queue: str) -> int:
        """How many messages wait in the queue, in nobody's hands."""
        return self._channel.queue_declare(queue, passive=True).method.message_count


def outcomes(*message_ids: str) -> list[str]:
    """What became of these messages, in their order: the outcome, with its code where there is one."""
    rows = InboxMessage.objects.filter(message_id__in=message_ids).values_list("message_id", "outcome", "code")
    found = {message_id: f"{outcome} ({code})" if code else outcome for message_id, outcome, code in rows}
    return [found.get(message_id, "-") for message_id in message_ids]


def wait_until_handled(*message_ids: str, seconds: float = PATIENCE_SECONDS) -> list[str]:
    """The outcomes of these messages once all of them are handled and everything that came of them is published."""
    wait_until(lambda: "-" not in outcomes(*message_ids), f"handled: {message_ids}", seconds)
    wait_until(lambda: not OutboxEvent.objects.filter(published_at=None).exists(), "an empty outbox", seconds)
    return outcomes(*message_ids)
