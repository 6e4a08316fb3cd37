"""Dead letters as the consumer makes them, and what a test finds in the service's queue afterwards."""

from typing import Any, Self

import pika

from inventory_project.foundation.messaging.rabbitmq.topology import DEAD_QUEUE, QUEUE
from tests.integration.messaging.shops import parameters

REASON = "There is no reservation for order 7."
NO_ID = None

COUNTS = ("x-delivery-count", "x-acquired-count")  # the broker's, of deliveries; the second since RabbitMQ 4


class Mail:
    """What lies in the queues, put there and looked at by a program of its own."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(parameters(url))
        self.channel = self._connection.channel()
        self.channel.confirm_delivery()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def bury(self, body: bytes, message_id: str | None = NO_ID, **headers: Any) -> None:
        """A dead letter as the consumer makes one."""
        known = {
            "x-exchange": "payment.events",
            "x-routing-key": "payment.confirmed",
            "x-reason": REASON,
            "x-tries": 12,
        }
        kept = {name: value for name, value in {**known, **headers}.items() if value is not None}
        properties = pika.BasicProperties(message_id=message_id, headers=kept, delivery_mode=2)
        self.channel.basic_publish("", DEAD_QUEUE, body, properties, mandatory=True)

    def empty(self) -> None:
        """Away with whatever an earlier test left."""
        for queue in (QUEUE, DEAD_QUEUE):
            self.channel.queue_purge(queue)

    def number(self, queue: str) -> int:
        count: int = self.channel.queue_declare(queue, passive=True).method.message_count
        return count

    def take(self) -> list[tuple[str | None, bytes, dict[str, Any]]]:
        """Everything in the service's queue: id, body and headers, but what RabbitMQ counts."""
        taken = []
        while (found := self.channel.basic_get(QUEUE, auto_ack=True))[0] is not None:
            _, properties, body = found
            headers = {name: value for name, value in (properties.headers or {}).items() if name not in COUNTS}
            taken.append((properties.message_id, body, headers))
        return taken
