"""The service's two long-running commands as real processes, on the test's database and a broker of the tests."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pika
from django.test import override_settings

from inventory_project.foundation.messaging.rabbitmq import topology
from inventory_project.routes import ROUTES
from tests.integration.messaging.shops import EXCHANGES, ORDERS, OURS, PAYMENTS, Shop, parameters
from tests.service import KEY, MANAGE, Process, environment, url_of_test_database, wait_until


def command(name: str, *, url: str, log: Path, **variables: object) -> Process:
    """`manage.py NAME`, which starts when the block begins and is told to stop at its end."""
    env = environment(DATABASE_URL=url_of_test_database(), RABBITMQ_URL=url, SECRET_KEY=KEY, **variables)
    return Process([sys.executable, str(MANAGE), name], env=env, log=log)


def wait_for_consumers(shop: Shop, number: int = 1) -> None:
    """Until so many consumers are at the queue."""
    wait_until(lambda: shop.consumers() == number, f"{number} consumers")


@contextmanager
def clean(url: str) -> Iterator[None]:
    """The service's exchanges and queues are there, empty, for the length of the block; this process uses them too."""
    with override_settings(RABBITMQ_URL=url):
        _delete_ours(url)
        topology.declare_events()
        topology.declare_inbox([(EXCHANGES[name.partition(".")[0]], name) for name in ROUTES])
        yield
        _delete_ours(url)


def _delete_ours(url: str) -> None:
    connection = pika.BlockingConnection(parameters(url))
    channel = connection.channel()
    for queue in (topology.QUEUE, topology.DELAY_QUEUE, topology.DEAD_QUEUE):
        channel.queue_delete(queue)
    for exchange in (OURS, ORDERS, PAYMENTS):
        channel.exchange_delete(exchange)
    connection.close()
