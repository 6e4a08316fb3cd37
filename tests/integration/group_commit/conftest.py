"""The real service with two web processes, which the races share; the books must be right after each."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from django.conf import settings

from tests import factories
from tests.service import KEY, Service, environment, url_of_test_database

Serve = Callable[..., AbstractContextManager[Service]]


def serving(log: Path, **values: object) -> Service:
    """`serve` on the test's database, with two web processes unless told otherwise.

    RABBITMQ_URL is set, so that it runs no periodic jobs: they would lock the tables that a test empties in the end.
    Its expiration worker sweeps once as it starts: later it would release what a test has made overdue for itself.
    Connections may be silent for a minute: a test opens many of them before it uses the first.
    """
    env = environment(
        **{
            "DATABASE_URL": url_of_test_database(),
            "RABBITMQ_URL": settings.RABBITMQ_URL,
            "SECRET_KEY": KEY,
            "EXPIRY_INTERVAL_SECONDS": 3_600,
            "WEB_WORKERS": 2,
            "WEB_HEAD_SECONDS": 60,
            "WEB_KEEPALIVE_SECONDS": 60,
            "INVENTORY_API_AUTH": "off",
            **values,
        }
    )
    return Service(env=env, log=log)


@pytest.fixture
def serve(transactional_db: None, tmp_path: Path) -> Serve:
    """Starts a service of the test's own."""

    def start(**values: object) -> Service:
        return serving(tmp_path / "serve.log", **values)

    return start


@pytest.fixture(scope="package")
def _two_processes(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    delays = "reserve.after_lock=sleep:0.002,settle.after_lock=sleep:0.002"
    with serving(tmp_path_factory.mktemp("races") / "serve.log", INVENTORY_CRASH_POINT=delays) as service:
        yield service


@pytest.fixture
def books(transactional_db: None) -> Iterator[None]:
    """Real transactions, and an audit of all invariants after the test."""
    yield
    assert factories.broken_invariants() == []


@pytest.fixture
def service(_two_processes: Service, books: None) -> Service:
    """Two web processes that dawdle a moment with the rows locked."""
    return _two_processes
