"""What the outbox and the inbox have kept long enough is deleted, and nothing that is still to leave."""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from pytest_django import Settings

from inventory_project.foundation.database import database_now
from inventory_project.foundation.messaging import outbox, retention
from inventory_project.foundation.messaging.models import InboxMessage, Installation, OutboxEvent
from reservations.models import Reservation
from tests import factories
from tests.db.messaging.test_outbox import event
from tests.db.reservations import verbs
from tests.db.stock import records

KEPT_DAYS = 7


@pytest.fixture(autouse=True)
def week(settings: Settings, books: None) -> None:
    settings.EVENT_RETENTION_DAYS = KEPT_DAYS


def days_ago(days: float) -> datetime:
    return database_now() - timedelta(days=days)


def put_event(subject: str, *, days: float, **moments: datetime) -> None:
    with transaction.atomic():
        outbox.record([event(subject)], at=days_ago(days))
    OutboxEvent.objects.filter(subject=subject).update(**moments)


def put_message(message_id: str, *, days: float) -> None:
    InboxMessage.objects.create(
        source="shop",
        message_id=message_id,
        type="order.created",
        order_id=uuid4(),
        outcome="reserved",
        processed_at=days_ago(days),
    )


def test_only_what_has_left_and_is_old_is_deleted() -> None:
    put_event("published, old", days=8, published_at=days_ago(8))
    put_event("unrouted, old", days=8, unrouted_at=days_ago(8))
    put_event("published, new", days=6, published_at=days_ago(6))
    put_event("unrouted, new", days=6, unrouted_at=days_ago(6))
    put_event("waiting", days=0)
    put_message("old", days=8)
    put_message("new", days=6)
    assert retention.prune() == 3
    kept = OutboxEvent.objects.order_by("id").values_list("subject", flat=True)
    assert list(kept) == ["published, new", "unrouted, new", "waiting"]
    assert [message.message_id for message in InboxMessage.objects.all()] == ["new"]


def test_an_old_event_that_still_waits_is_not_deleted() -> None:
    put_event("waiting", days=8)
    put_event("published, old", days=8, published_at=days_ago(8))
    assert retention.prune() == 1
    assert OutboxEvent.objects.get().subject == "waiting"
    OutboxEvent.objects.all().delete()  # it breaks I9, as it should


def test_chunk_after_chunk_is_deleted_until_there_is_nothing_or_it_shall_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CHUNK", 2)
    for number in range(5):
        put_message(str(number), days=8)
    stops = iter([False, False, True])  # the outbox, which is empty; one chunk of the inbox
    assert retention.prune(should_stop=lambda: next(stops)) == 2
    assert retention.prune() == 3


def test_the_audit_asks_for_no_event_that_was_deleted() -> None:
    held = factories.hold(factories.product({factories.SP: 5}).pk)
    verbs.confirm(held)
    OutboxEvent.objects.all().delete()
    assert [name.partition(":")[0] for name in factories.broken_invariants()] == ["I6"]
    old = days_ago(8)
    Reservation.objects.filter(pk=held.id).update(created_at=old, settled_at=old)
    assert factories.broken_invariants() == []


def test_before_when_events_were_deleted_is_known_and_never_moves_back(settings: Settings) -> None:
    assert retention.pruned_before() is None
    before = database_now()
    retention.prune()
    first = retention.pruned_before()
    assert first is not None
    assert before <= first + timedelta(days=KEPT_DAYS) <= database_now()

    settings.EVENT_RETENTION_DAYS = 30
    retention.prune()
    assert retention.pruned_before() == first

    settings.EVENT_RETENTION_DAYS = 1
    Installation.objects.update(retention_seen_at=days_ago(1.1))
    retention.prune()
    second = retention.pruned_before()
    assert second is not None
    assert before <= second + timedelta(days=1) <= database_now()


def test_it_is_known_before_the_first_event_is_deleted() -> None:
    seen = []

    def should_stop() -> bool:
        seen.append(retention.pruned_before())
        return True

    put_event("published, old", days=8, published_at=days_ago(8))
    assert retention.prune(should_stop=should_stop) == 0
    assert None not in seen


def test_the_longest_retention_of_the_last_day_counts_for_all_processes(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    put_event("published, old", days=8, published_at=days_ago(8))
    settings.EVENT_RETENTION_DAYS = 30
    retention.prune()
    settings.EVENT_RETENTION_DAYS = KEPT_DAYS

    assert retention.prune() == 0
    assert "EVENT_RETENTION_DAYS is 7 here, and was 30 in another process" in caplog.text

    Installation.objects.update(retention_seen_at=days_ago(1.1))  # no process has asked for 30 since
    assert retention.prune() == 1
    assert Installation.objects.get().retention_days == KEPT_DAYS


def test_while_another_process_prunes_this_one_leaves_it_alone() -> None:
    put_message("old", days=8)
    with verbs.holding_job_lock("prune_messages"), records.no_trace():
        assert retention.prune() is None
    assert retention.prune() == 1
