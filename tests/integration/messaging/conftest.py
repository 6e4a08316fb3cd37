"""A RabbitMQ of its own for the tests of messages: its queues have fixed names, and other workers run tests as well."""

from collections.abc import Iterator

import pytest

from tests import factories
from tests.integration.messaging.programs import clean
from tests.integration.messaging.shops import Shop
from tests.servers import RabbitMQ


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """The server."""
    with RabbitMQ(tmp_path_factory.mktemp("messaging")) as server:
        yield server


@pytest.fixture
def clean_queues(rabbitmq: RabbitMQ) -> Iterator[str]:
    """The URL of a broker that has the service's exchanges and queues, all of them empty; the service uses it."""
    with clean(rabbitmq.url):
        yield rabbitmq.url


@pytest.fixture
def shop(clean_queues: str) -> Iterator[Shop]:
    """Another program at the same broker."""
    with Shop(clean_queues) as shop:
        yield shop


@pytest.fixture
def books(transactional_db: None) -> Iterator[None]:
    """Real transactions, and an audit of all invariants after the test."""
    yield
    assert factories.broken_invariants() == []
