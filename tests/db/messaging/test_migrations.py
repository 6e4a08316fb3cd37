"""What migrations do to messages that are there already."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import transaction
from pytest_django import Settings

from inventory_project.foundation.database import database_now
from inventory_project.foundation.messaging import outbox, retention
from inventory_project.foundation.messaging.models import Installation, OutboxEvent
from tests.db.messaging.test_outbox import event
from tests.db.migrating import migrate

pytestmark = pytest.mark.usefixtures("books")

BEFORE, LATEST = ("messaging", "0004_installation"), ("messaging", "0005_earlier_prunes")


@pytest.fixture(autouse=True)
def _up_to_date_afterwards(books: None) -> Iterator[None]:
    migrate(BEFORE)
    yield
    migrate(LATEST)


def test_an_installation_without_events_has_no_facts_yet() -> None:
    migrate(LATEST)

    assert not Installation.objects.exists()
    assert retention.pruned_before() is None


@pytest.mark.parametrize(("age_days", "pruned_days_ago"), [(3, 3), (40, 7)])
def test_what_earlier_versions_may_have_deleted_counts_as_pruned(
    settings: Settings, age_days: int, pruned_days_ago: int
) -> None:
    settings.EVENT_RETENTION_DAYS = 7
    now = database_now()
    with transaction.atomic():
        outbox.record([event("oldest")], at=now - timedelta(days=age_days))
        outbox.record([event("newer")], at=now - timedelta(days=1))
    OutboxEvent.objects.update(published_at=now)

    migrate(LATEST)

    pruned = retention.pruned_before()
    assert pruned is not None
    assert abs(pruned - (now - timedelta(days=pruned_days_ago))) < timedelta(minutes=5)


@pytest.mark.parametrize(("url", "destination"), [("amqp://broker", "rabbitmq"), ("", "log")])
def test_where_events_go_follows_the_settings_of_the_process_that_migrates(
    settings: Settings, url: str, destination: str
) -> None:
    settings.RABBITMQ_URL = url
    with transaction.atomic():
        outbox.record([event("one")], at=database_now())

    migrate(LATEST)

    assert Installation.objects.get().events_go_to == destination
    OutboxEvent.objects.all().delete()
