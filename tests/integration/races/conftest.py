"""Four processes that all races share, and books that must be right after each."""

from collections.abc import Iterator

import pytest

from tests import factories
from tests.processes import Crowd


@pytest.fixture(scope="session")
def _processes(django_db_setup: None) -> Iterator[Crowd]:
    with Crowd(4) as crowd:
        yield crowd


@pytest.fixture
def crowd(_processes: Crowd, transactional_db: None) -> Crowd:
    """Four processes on the test's database; for controls, which leave the books broken."""
    return _processes


@pytest.fixture
def audited_crowd(crowd: Crowd) -> Iterator[Crowd]:
    """The same, and an audit of all invariants after the race."""
    yield crowd
    assert factories.broken_invariants() == []
