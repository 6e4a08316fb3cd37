"""Who may publish to one exchange sends the messages of that exchange and no others, whatever the messages say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from inventory_project.foundation.messaging.models import InboxMessage
from inventory_project.foundation.messaging.rabbitmq import dead_letters
from inventory_project.foundation.messaging.rabbitmq.topology import DEAD_QUEUE, QUEUE
from reservations.holds import Hold
from reservations.models import Reservation
from tests import consoles, factories
from tests.factories import SP
from tests.integration.messaging.faults import troubles
from tests.integration.messaging.mail import Mail
from tests.integration.messaging.programs import command
from tests.integration.messaging.shops import CLOUD_EVENT, JSON, ORDERS, PAYMENTS, cloud_event, order_of, parameters
from tests.servers import RabbitMQ
from tests.service import wait_until

pytestmark = pytest.mark.usefixtures("books")

USER, PASSWORD = "orders", "of-orders"
PAID = "payment.confirmed"
CLAIM = {"x-exchange": PAYMENTS, "x-routing-key": PAID}


def rights_of_a_shop() -> list[str]:
    """The patterns of the command in docs/operating/operations.md: what it may configure, write and read."""
    _, rights = consoles.commands("docs/operating/operations.md", below="### The rights of senders")
    return rights.words[-3:]


class Sender:
    """A program that may write to `order.events` and do nothing else."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(parameters(url.replace("guest:guest", f"{USER}:{PASSWORD}")))

    def send(self, body: bytes, *, exchange: str = ORDERS, routing_key: str = "order.created", **more: Any) -> None:
        """Publish, and wait for the confirm. Raises ChannelClosedByBroker without the right."""
        channel = self._connection.channel()
        channel.confirm_delivery()
        properties = pika.BasicProperties(delivery_mode=2, **more)
        channel.basic_publish(exchange, routing_key, body, properties, mandatory=True)
        channel.close()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def sender(rabbitmq: RabbitMQ, clean_queues: str) -> Iterator[Sender]:
    troubles.ctl(rabbitmq, "add_user", USER, PASSWORD)
    troubles.ctl(rabbitmq, "set_permissions", USER, *rights_of_a_shop())
    sender = Sender(clean_queues)
    yield sender
    sender.close()
    troubles.ctl(rabbitmq, "delete_user", USER)


@pytest.fixture
def mail(clean_queues: str) -> Iterator[Mail]:
    with Mail(clean_queues) as mail:
        yield mail


@pytest.fixture
def held(books: None) -> Hold:
    """A hold that is not paid for."""
    return factories.hold(factories.product({SP: 5}).pk, 2)


def written(data: object) -> bytes:
    return json.dumps(data).encode()


def forgeries(order_id: UUID) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """By its message id each try to confirm the payment of this order: the body and the properties."""
    data = order_of(order_id)
    event = written(cloud_event(PAID, "forged", data))
    death = {"queue": QUEUE, "reason": "delivery_limit", "exchange": PAYMENTS, "routing-keys": [PAID], "count": 1}
    attributes = {"specversion": "1.0", "id": "1", "source": "/shop", "type": PAID}
    return {
        "another type": (event, {"content_type": CLOUD_EVENT}),
        "by its body": (event, {"content_type": JSON}),
        "with our headers": (written(data), {"content_type": JSON, "headers": CLAIM}),
        "another type with our headers": (event, {"content_type": CLOUD_EVENT, "headers": CLAIM}),
        "with a death": (event, {"content_type": CLOUD_EVENT, "headers": {"x-death": [death]}}),
        "in binary mode": (written(data), {"headers": {f"cloudEvents:{name}": v for name, v in attributes.items()}}),
    }


def is_unpaid(held: Hold) -> bool:
    return (Reservation.objects.get(pk=held.id).status, InboxMessage.objects.count()) == ("ACTIVE", 0)


FROM_ORDERS = (
    "Messages of type payment.confirmed come over payment.events with the routing key payment.confirmed; "
    "this one came over order.events with order.created."
)


def test_rabbitmq_refuses_what_the_sender_has_no_right_for(sender: Sender, held: Hold) -> None:
    for exchange, routing_key in ((PAYMENTS, PAID), ("", QUEUE), ("", DEAD_QUEUE)):
        with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
            sender.send(written(order_of(held.order_id)), exchange=exchange, routing_key=routing_key)


def test_who_may_send_orders_cannot_confirm_payments(
    sender: Sender, mail: Mail, held: Hold, clean_queues: str, tmp_path: Path
) -> None:
    sent = forgeries(held.order_id)
    for name, (body, properties) in sent.items():
        sender.send(body, message_id=name, **properties)

    with command("consume_events", url=clean_queues, log=tmp_path / "consumer.log"):
        wait_until(lambda: mail.number(DEAD_QUEUE) == len(sent), "all of them are dead")

        reasons = {letter.message_id: letter.reason for letter in dead_letters.look(limit=50)[1]}
        assert reasons == dict.fromkeys(sent, FROM_ORDERS) | {"with our headers": "items: This field is required."}
        assert is_unpaid(held)

        assert dead_letters.replay(limit=50, actor="test") == (len(sent), set())
        wait_until(lambda: mail.number(DEAD_QUEUE) == len(sent), "all of them are dead again")

    assert {letter.message_id: letter.reason for letter in dead_letters.look(limit=50)[1]} == reasons
    assert is_unpaid(held)


def test_a_message_that_expires_in_our_queue_cannot_claim_another_origin(
    sender: Sender, mail: Mail, held: Hold, clean_queues: str, tmp_path: Path
) -> None:
    data = order_of(held.order_id)
    death = {"queue": QUEUE, "reason": "expired", "exchange": PAYMENTS, "routing-keys": [PAID], "count": 1}
    sender.send(written(data), message_id="bare", expiration="1", headers={**CLAIM, "x-death": [death]})
    event = written(cloud_event(PAID, "forged", data))
    sender.send(event, message_id="event", expiration="1", headers={**CLAIM, "x-death": [death]})
    wait_until(lambda: mail.number(DEAD_QUEUE) == 2, "RabbitMQ has moved them")
    assert {letter.reason for letter in dead_letters.look(limit=50)[1]} == {"expired"}

    assert dead_letters.replay(limit=50, actor="test") == (2, set())
    with command("consume_events", url=clean_queues, log=tmp_path / "consumer.log"):
        wait_until(lambda: mail.number(DEAD_QUEUE) == 2, "dead again")

    assert {letter.message_id: letter.reason for letter in dead_letters.look(limit=50)[1]} == {
        "bare": "There is no handler for messages of type inventory.orders.dead.",
        "event": FROM_ORDERS.replace(
            "order.events with order.created", "the default exchange with inventory.orders.dead"
        ),
    }
    assert is_unpaid(held)
