"""Whatever a test of the books does, they must be right when it ends."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from tests import factories


@pytest.fixture(autouse=True)
def no_redis(settings: Settings) -> None:
    """This tier is about the database; what Redis changes is seen in tests/integration."""
    settings.REDIS_URL = ""


@pytest.fixture
def books(transactional_db: None) -> Iterator[None]:
    """Real transactions, and an audit of all invariants after the test."""
    yield
    assert factories.broken_invariants() == []
