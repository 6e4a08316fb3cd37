"""RabbitMQ's user needs no more rights than docs/operating/operations.md says, on a vhost that is empty."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent
from tests import consoles, factories
from tests.integration.messaging.faults import troubles
from tests.integration.messaging.faults.commands import Commands
from tests.integration.messaging.faults.neighbours import Neighbour
from tests.servers import RabbitMQ
from tests.service import Process, manage, wait_until

CELERY = [sys.executable, "-m", "celery", "-A", "inventory_project"]
SHOPS_EXCHANGES = r"|order\.events|payment\.events"

pytestmark = pytest.mark.usefixtures("books")


def vhost_user_and_rights() -> tuple[str, str, str, list[str]]:
    """The vhost, the user, the password and the patterns of the commands in docs/operating/operations.md."""
    vhost, user, rights = consoles.commands("docs/operating/operations.md", below="### RabbitMQ's rights")
    [*begin, name] = vhost.words
    assert begin == ["sudo", "rabbitmqctl", "add_vhost"]
    [*begin, user_name, password] = user.words
    assert begin == ["sudo", "rabbitmqctl", "add_user"]
    [*begin, configure, write, read] = rights.words
    assert begin == ["sudo", "rabbitmqctl", "set_permissions", "-p", name, user_name]
    return name, user_name, password, [configure, write, read]


@pytest.fixture
def url(rabbitmq: RabbitMQ) -> Iterator[str]:
    """The URL of RabbitMQ after an administrator has run that very block."""
    vhost, user, password, _ = vhost_user_and_rights()
    for shown in consoles.commands("docs/operating/operations.md", below="### RabbitMQ's rights"):
        troubles.ctl(rabbitmq, *shown.words[2:])
    yield f"amqp://{user}:{password}@127.0.0.1:{rabbitmq.port}/{vhost}"
    troubles.ctl(rabbitmq, "delete_user", user)
    troubles.ctl(rabbitmq, "delete_vhost", vhost)


@pytest.fixture
def shop(rabbitmq: RabbitMQ, url: str) -> Neighbour:
    """The shop, with a user of its own that may do everything."""
    vhost = urlsplit(url).path.removeprefix("/")
    troubles.ctl(rabbitmq, "set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
    return Neighbour(urlsplit(rabbitmq.url)._replace(path=f"/{vhost}").geturl())


def test_with_the_rights_of_the_documents_everything_works_on_an_empty_vhost(
    rabbitmq: RabbitMQ, url: str, shop: Neighbour, tmp_path: Path
) -> None:
    commands = Commands(rabbitmq, tmp_path)
    env = commands.environment(RABBITMQ_URL=url, AUDIT_INTERVAL_SECONDS=1)
    worker = [*CELERY, "worker", "--pool=threads", "--concurrency=2", "--loglevel", "INFO"]
    beat = [*CELERY, "beat", "--schedule", str(tmp_path / "beat"), "--pidfile", ""]
    product_id = factories.product({factories.SP: 100}).pk
    with (
        commands.relay(RABBITMQ_URL=url) as relay,
        commands.consumer(RABBITMQ_URL=url) as consumer,
        Process(worker, env=env, log=tmp_path / "worker.log") as working,
        Process(beat, env=env, log=tmp_path / "beat.log"),
    ):
        relay.wait_for("working")
        consumer.wait_for("working")
        shop.listen()
        early = uuid4()
        [order_id] = shop.send_orders(product_id, 1)
        shop.send("payment.confirmed", early)
        shop.send_bytes("payment.failed", b"no JSON", message_id="unreadable")
        wait_until(lambda: shop.depth("inventory.orders.dead") == 1, "a dead letter")
        # After twelve seconds it would be given up, so what follows happens while it is on its first round.
        wait_until(lambda: shop.depth("inventory.orders.delay") == 1, "the payment that came too early, delayed")
        shop.send("order.created", early, (product_id, 1))
        wait_until(lambda: InboxMessage.objects.count() == 3, "handled")
        audited = r"Task reservations\.tasks\.audit_stock\[.+\] succeeded"
        wait_until(lambda: re.search(audited, working.output), "audited by the worker", 60)
        wait_until(lambda: not OutboxEvent.objects.waiting().exists(), "published")
        assert str(order_id) in {event.data["order_id"] for event in shop.hear()}
        replayed = manage("replay_dead_letters", env=env)
        assert replayed.returncode == 0, replayed.stderr
        wait_until(lambda: shop.depth("inventory.orders.dead") == 1, "back")
        ping = manage("shell", "-c", "from inventory_project.celery import app; print(app.control.ping())", env=env)
        assert "pong" in ping.stdout, ping.stderr
    written = commands.output() + working.output
    assert "ACCESS_REFUSED" not in written
    assert "Traceback" not in written


def test_stricter_rights_suffice_once_the_shop_has_declared_its_exchanges_and_the_consumer_waits_for_that(
    rabbitmq: RabbitMQ, url: str, shop: Neighbour, tmp_path: Path
) -> None:
    vhost, user, _, [configure, write, read] = vhost_user_and_rights()
    assert SHOPS_EXCHANGES in configure
    stricter = configure.replace(SHOPS_EXCHANGES, "")
    troubles.ctl(rabbitmq, "set_permissions", "-p", vhost, user, stricter, write, read)
    product_id = factories.product({factories.SP: 100}).pk
    with Commands(rabbitmq, tmp_path).consumer(RABBITMQ_URL=url) as consumer:
        consumer.wait_for("waiting", "ACCESS_REFUSED - access to exchange 'order.events'")

        with shop.channel() as channel:
            for exchange in ("order.events", "payment.events"):
                channel.exchange_declare(exchange, "direct", durable=True)

        consumer.wait_for("working")
        shop.send_orders(product_id, 1)
        wait_until(lambda: InboxMessage.objects.count() == 1, "handled")
