"""The users that the containers' RabbitMQ has: each may do its own work, and nobody else's."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pika
import pytest
from django.conf import settings
from pika.exceptions import ChannelClosedByBroker

from tests.integration.messaging.faults import troubles
from tests.servers import RabbitMQ

VHOST = "inventory"
EXCHANGES = ("order.events", "payment.events", "inventory.events")
PUBLISHES = {"shop": {"order.events"}, "payments": {"payment.events"}, "inventory": {"inventory.events"}}
REFUSED = 403


@pytest.fixture
def imported(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[RabbitMQ]:
    """RabbitMQ with the users of deploy/rabbitmq/start.sh, each with its name as the password."""
    file = tmp_path / "definitions.json"
    passwords = {
        "RABBITMQ_PASSWORD": "inventory", "RABBITMQ_SHOP_PASSWORD": "shop", "RABBITMQ_PAYMENTS_PASSWORD": "payments"
    }  # fmt: skip
    script = Path(settings.BASE_DIR) / "deploy/rabbitmq/start.sh"
    subprocess.run(["sh", str(script), "true"], env=os.environ | passwords | {"DEFINITIONS": str(file)}, check=True)
    troubles.ctl(rabbitmq, "import_definitions", str(file))
    with closing(connection(rabbitmq, "inventory")) as service:
        for exchange in EXCHANGES:
            service.channel().exchange_declare(exchange, "topic", durable=True)
    yield rabbitmq
    for user in PUBLISHES:
        troubles.ctl(rabbitmq, "delete_user", user)
    troubles.ctl(rabbitmq, "delete_vhost", VHOST)


def connection(rabbitmq: RabbitMQ, user: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(f"amqp://{user}:{user}@127.0.0.1:{rabbitmq.port}/{VHOST}"))


@pytest.mark.parametrize("user", PUBLISHES)
def test_each_user_publishes_to_its_own_exchange_only(imported: RabbitMQ, user: str) -> None:
    allowed, refused = set(), set()
    with closing(connection(imported, user)) as opened:
        for exchange in EXCHANGES:
            channel = opened.channel()
            channel.confirm_delivery()
            try:
                channel.basic_publish(exchange, "order.created", b"{}")
                allowed.add(exchange)
            except ChannelClosedByBroker as refusal:
                refused.add(refusal.reply_code)

    assert (allowed, refused) == (PUBLISHES[user], {REFUSED})


def test_the_shop_hears_the_events_of_the_service_by_a_queue_of_its_own(imported: RabbitMQ) -> None:
    with closing(connection(imported, "shop")) as shop, closing(connection(imported, "inventory")) as service:
        listening = shop.channel()
        listening.queue_declare("shop.stock", durable=True)
        listening.queue_bind("shop.stock", "inventory.events", "#")

        service.channel().basic_publish("inventory.events", "inventory.reserved", b"{}")

        shop.sleep(0.5)
        assert listening.basic_get("shop.stock", auto_ack=True)[2] == b"{}"
        with pytest.raises(ChannelClosedByBroker):
            shop.channel().queue_declare("inventory.orders", durable=True)


def test_payments_hears_nothing(imported: RabbitMQ) -> None:
    with closing(connection(imported, "payments")) as payments:
        for name in ("payments.x", "shop.x", "inventory.orders"):
            with pytest.raises(ChannelClosedByBroker) as refusal:
                payments.channel().queue_declare(name, durable=True)
            assert refusal.value.reply_code == REFUSED


def test_no_user_is_an_administrator(imported: RabbitMQ) -> None:
    tags = dict(line.split("\t") for line in troubles.ctl(imported, "list_users", "--quiet").splitlines()[1:])

    assert {name: tags[name] for name in PUBLISHES} == {"shop": "[]", "payments": "[]", "inventory": "[management]"}
