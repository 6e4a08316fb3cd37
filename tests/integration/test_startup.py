"""A process that decides over stock is warm before its first batch: a web process and a consumer, as they start."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from threading import Event

import pytest
from django.conf import settings
from django.core.management import call_command
from pytest_django import DjangoAssertNumQueries

from inventory_project import startup
from inventory_project.foundation.messaging import consumer
from inventory_project.management.commands import consume_events
from tests import factories
from tests.factories import SP
from tests.servers import free_port
from tests.service import KEY, PATIENCE_SECONDS, environment, url_of_test_database
from warehouses import network

MOST = 50_000  # objects at least that a process of the service has when everything is loaded
WEB_PROCESS = """
import gc
from importlib import import_module
from inventory_project import webserver
import_module(webserver.wsgi_app)  # as gunicorn's worker does before that
webserver.post_worker_init(None)
from django.urls import get_resolver
from warehouses import network
print(gc.get_freeze_count(), "url_patterns" in vars(get_resolver()), *network.recent().sites)
"""


@pytest.fixture
def _thawed() -> Iterator[None]:
    """The collector of the tests' own process looks at everything again afterwards."""
    yield
    gc.unfreeze()


def start_of_a_web_process(**variables: str) -> tuple[list[str], list[str]]:
    """What it answered, in words, and the lines that it logged."""
    done = subprocess.run(
        [sys.executable, "-c", WEB_PROCESS],
        env=environment(SECRET_KEY=KEY, **variables) | {"DJANGO_SETTINGS_MODULE": "inventory_project.settings"},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    *log, answer = done.stdout.splitlines()
    return answer.split(), log


def test_a_web_process_starts_with_views_and_network_read_and_all_of_it_left_alone(transactional_db: None) -> None:
    factories.warehouse(SP)
    (frozen, has_views, *warehouse_ids), log = start_of_a_web_process(DATABASE_URL=url_of_test_database())
    assert int(frozen) > MOST
    assert (has_views, warehouse_ids, log) == ("True", [SP], [])


def test_without_a_database_it_starts_all_the_same_and_warns() -> None:
    away = f"postgres://nobody@127.0.0.1:{free_port()}/inventory"
    (frozen, has_views, *warehouse_ids), log = start_of_a_web_process(DATABASE_URL=away)
    assert int(frozen) > MOST
    assert (has_views, warehouse_ids) == ("True", [])
    assert "the warehouses, postal areas and policies cannot be read" in log[-1]


@pytest.mark.usefixtures("_thawed")
def test_a_consumer_is_warm_before_its_first_message(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    factories.warehouse(SP)
    seen: list[tuple[bool, list[str]]] = []

    def run(stop: Event, heartbeat: object) -> None:
        with django_assert_num_queries(1):  # nothing but the version
            seen.append((gc.get_freeze_count() > MOST, list(network.current()().sites)))

    monkeypatch.setattr(consumer, "run", run)
    monkeypatch.setattr(consume_events, "stop_on_signals", Event)  # the tests' own process keeps its handlers
    call_command("consume_events")
    assert seen == [(True, [SP])]


@pytest.mark.usefixtures("_thawed")
def test_garbage_that_comes_later_is_still_collected(transactional_db: None) -> None:
    startup.warm_up()

    class Knot:
        """Refers to itself."""

    knot = Knot()
    knot.itself = knot  # type: ignore[attr-defined]
    del knot
    assert gc.isenabled()
    assert gc.collect() > 0
