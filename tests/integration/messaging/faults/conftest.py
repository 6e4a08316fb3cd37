"""A RabbitMQ that may be hurt, and the service's commands at it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from pytest_django import Settings

from inventory_project.foundation.messaging.rabbitmq import topology
from tests.integration.messaging.faults import hurried, troubles
from tests.integration.messaging.faults.commands import Commands
from tests.integration.messaging.faults.neighbours import BINDINGS, Neighbour
from tests.servers import RabbitMQ


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """One for all these tests, as it takes eight seconds to start; each leaves it in good order."""
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.fixture
def neighbour(rabbitmq: RabbitMQ, settings: Settings) -> Neighbour:
    """Another program, which listens to all our events. Our queues are there and empty; this process uses them too."""
    settings.RABBITMQ_URL = rabbitmq.url
    for name in ("MESSAGE_DELAY_SECONDS", "MESSAGE_MAX_DELIVERIES"):
        setattr(settings, name, getattr(hurried, name))
    return troubles.on_a_healthy_node(rabbitmq, partial(_settled, rabbitmq))


def _settled(rabbitmq: RabbitMQ) -> Neighbour:
    neighbour = Neighbour(rabbitmq.url)
    neighbour.clear()
    neighbour.listen()
    topology.declare_inbox(BINDINGS)
    return neighbour


@pytest.fixture
def commands(rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """Makes the service's commands at this RabbitMQ."""
    folder: Path = tmp_path_factory.mktemp("commands")
    return Commands(rabbitmq, folder)


@pytest.fixture(autouse=True)
def without_stack_traces(commands: Commands) -> Iterator[None]:
    """Whatever happens to the servers is no surprise to our commands; a test of a defect deletes their logs."""
    yield
    assert "Traceback" not in commands.output()
