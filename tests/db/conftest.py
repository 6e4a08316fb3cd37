"""Whatever a test of the books does, they must be right when it ends."""

from collections.abc import Iterator

import pytest

from tests import factories


@pytest.fixture
def books(transactional_db: None) -> Iterator[None]:
    """Real transactions, and an audit of all invariants after the test."""
    yield
    assert factories.broken_invariants() == []
