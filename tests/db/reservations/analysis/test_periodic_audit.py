"""The audit of every minute, which looks at what is new and at a part of what is old; and what it remembers."""

import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from prometheus_client import REGISTRY
from pytest_django import Settings

from inventory_project.foundation.database import database_now
from inventory_project.foundation.messaging import outbox, retention
from inventory_project.foundation.messaging.models import OutboxEvent
from reservations.analysis import audit, scope
from reservations.holds import Hold
from reservations.models import AuditPosition, Damage
from stock.models import StockMovement
from tests import factories
from tests.db.reservations import verbs
from tests.db.reservations.analysis.damaging import damage, execute, sold_and_held
from tests.db.reservations.analysis.test_audit import writable_ledger
from tests.db.reservations.analysis.test_new_invariants import FIVE
from tests.factories import SP

pytestmark = pytest.mark.usefixtures("transactional_db")


def logged(caplog: pytest.LogCaptureFixture) -> set[str]:
    """The invariants that one run of the periodic audit logs as broken."""
    caplog.clear()
    with caplog.at_level(logging.ERROR, logger="reservations.analysis.audit"):
        audit.run_periodic()
    return {record.getMessage().partition(" ")[0] for record in caplog.records}


def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The keys of each part that later audits look at."""
    seen: list[dict[str, str]] = []
    run_over = audit.run_over

    def note(part: scope.Scope) -> Any:
        seen.append(part.keys)
        return run_over(part)

    monkeypatch.setattr(audit, "run_over", note)
    return seen


def number_of(keys: list[dict[str, str]], kind: str) -> list[int]:
    """How many rows of this kind each part has."""
    return [len(part[kind].strip("{}").split(",")) if part[kind] != "{}" else 0 for part in keys]


# --- what one run sees ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", FIVE, ids=lambda harm: harm.__name__)
def test_each_of_the_five_kinds_of_damage_is_seen_by_the_next_run(
    caplog: pytest.LogCaptureFixture, harm: Callable[[], Hold]
) -> None:
    assert audit.run_periodic() == 0
    harm()
    assert logged(caplog) == FIVE[harm] - {"I5"}  # which needs all of the books


@pytest.mark.parametrize("harm", FIVE, ids=lambda harm: harm.__name__)
def test_it_is_seen_within_some_runs_where_it_is_done_to_old_rows(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, harm: Callable[[], Hold]
) -> None:
    monkeypatch.setattr(scope, "NEWEST", 0)
    monkeypatch.setattr(scope, "NEWEST_DOCUMENTS", 0)
    monkeypatch.setattr(scope, "SLICE", 4)
    harm()
    with writable_ledger():
        execute("UPDATE stock_movement SET created_at = created_at - interval '1 hour'")
    factories.hold(factories.product({SP: 9}).pk)
    seen = [logged(caplog) for _ in range(4)]  # of at most 12 movements
    assert set().union(*seen) == FIVE[harm] - {"I5"}


def test_a_hold_and_an_event_that_wait_too_long_are_seen_however_old_they_are(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(scope, "NEWEST", 0)
    monkeypatch.setattr(scope, "NEWEST_DOCUMENTS", 0)
    monkeypatch.setattr(scope, "SLICE", 0)
    held = factories.hold(factories.product({SP: 9}).pk)
    verbs.age(held, minutes=15 + (settings.AUDIT_GRACE_SECONDS + 5) / 60)
    OutboxEvent.objects.update(occurred_at=database_now() - timedelta(hours=1))
    assert logged(caplog) == {"I9"}


def test_a_level_that_was_changed_by_sql_is_seen_by_its_last_movement(caplog: pytest.LogCaptureFixture) -> None:
    sold_and_held()
    damage("UPDATE stock_level SET reserved = reserved + 1")
    assert logged(caplog) == {"I13"}


def test_a_receipt_and_its_document_are_compared(caplog: pytest.LogCaptureFixture) -> None:
    factories.product({SP: 9})
    damage("UPDATE stock_document_line SET quantity = 8")
    assert logged(caplog) == {"I14"}


def test_in_clean_books_nothing_is_seen_run_after_run(caplog: pytest.LogCaptureFixture) -> None:
    outbox.drain_to_log()
    for _ in range(3):
        _, held = sold_and_held()
        verbs.expire(held)
        assert logged(caplog) == set()
    assert not Damage.objects.exists()


# --- where it looks ------------------------------------------------------------------------------------------------


def test_the_next_run_looks_only_at_movements_that_are_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "NEWEST", 0)
    monkeypatch.setattr(scope, "NEWEST_DOCUMENTS", 0)
    monkeypatch.setattr(scope, "SLICE", 0)
    monkeypatch.setattr(scope, "MAX_TRANSACTION", timedelta(0))
    seen = looked_at(monkeypatch)
    sold_and_held()
    audit.run_periodic()
    seen.clear()

    audit.run_periodic()
    assert number_of(seen, "movements") == [0]
    seen.clear()

    factories.hold(StockMovement.objects.latest("created_at").product_id)
    audit.run_periodic()
    assert [number_of(seen, kind) for kind in ("movements", "lines", "levels")] == [[1], [1], [1]]


def test_a_movement_that_was_committed_late_is_looked_at_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "NEWEST", 0)
    monkeypatch.setattr(scope, "NEWEST_DOCUMENTS", 0)
    monkeypatch.setattr(scope, "SLICE", 0)
    audit.run_periodic()
    seen = looked_at(monkeypatch)
    factories.product({SP: 9})
    with writable_ledger():
        execute("UPDATE stock_movement SET created_at = created_at - interval '50 seconds'")
    audit.run_periodic()
    assert number_of(seen, "movements") == [1]


def test_after_a_pause_what_is_new_is_looked_at_in_windows_and_nothing_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scope, "NEWEST", 0)
    monkeypatch.setattr(scope, "NEWEST_DOCUMENTS", 0)
    monkeypatch.setattr(scope, "SLICE", 0)
    seen = looked_at(monkeypatch)
    factories.product({SP: 9})
    sold_and_held()
    with writable_ledger():
        execute("UPDATE stock_movement SET created_at = created_at - interval '12 minutes' WHERE number = 1")
    AuditPosition(pk=1, looked_until=database_now() - timedelta(minutes=14)).save_progress()
    audit.run_periodic()
    assert number_of(seen, "movements") == [2, 0, 5]


def test_old_rows_are_looked_at_in_turn_and_then_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "NEWEST", 0)
    monkeypatch.setattr(scope, "NEWEST_DOCUMENTS", 0)
    monkeypatch.setattr(scope, "SLICE", 4)
    monkeypatch.setattr(scope, "MAX_TRANSACTION", timedelta(0))
    for _ in range(6):
        factories.product({SP: 9})
    AuditPosition(pk=1, looked_until=database_now()).save_progress()
    seen = looked_at(monkeypatch)
    for _ in range(4):
        audit.run_periodic()
    assert number_of(seen, "movements") == [4, 2, 4, 2]
    assert number_of(seen, "levels") == [4, 2, 4, 2]


class InThisThread(ThreadPoolExecutor):
    """Does the work in the caller's thread, whose statements are captured."""

    def map(self, work: Any, *iterables: Any, **_options: Any) -> Any:  # type: ignore[override]
        return map(work, *iterables)


def test_no_statement_of_it_reads_a_large_table_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ThreadPoolExecutor", InThisThread)
    sold_and_held()
    with CaptureQueriesContext(connection) as captured:
        audit.run_periodic()
    queries = [
        query["sql"].partition(" FOR ")[2] if query["sql"].startswith("DECLARE") else query["sql"]
        for query in captured.captured_queries
        if "stock_" in query["sql"] or "reservation" in query["sql"]
    ]
    assert len(queries) > 10
    plans = []
    with transaction.atomic(), connection.cursor() as cursor:
        scope.look_up_by_key(cursor)
        for sql in queries:
            cursor.execute(f"EXPLAIN {sql}")
            plans += [row[0] for row in cursor.fetchall()]
    assert [line for line in plans if re.search("Seq Scan on|Merge.* Join", line)] == []


# --- what is remembered and counted --------------------------------------------------------------------------------


def oversell_events() -> float:
    value = REGISTRY.get_sample_value("inventory_oversell_events")
    assert value is not None
    return value


def test_a_damaged_level_is_counted_once_however_many_audits_and_invariants_find_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, held = sold_and_held()
    before = oversell_events()
    damage("UPDATE stock_level SET reserved = reserved + 1")
    audit.run_periodic()
    audit.run_periodic()
    assert audit.run_everything_if_due() == 4  # I2, I3, I5 and I13
    assert oversell_events() == before + 1
    assert set(Damage.objects.values_list("invariant", flat=True)) == {"I2", "I3", "I5", "I13"}
    assert all(str(held.lines[0].product_id) in one.subject for one in Damage.objects.all())


def test_damage_that_was_repaired_is_forgotten_by_the_next_audit_of_everything_and_counts_again() -> None:
    sold_and_held()
    before = oversell_events()
    damage("UPDATE stock_level SET reserved = reserved + 1")
    audit.run_periodic()
    damage("UPDATE stock_level SET reserved = reserved - 1")
    audit.run_periodic()
    assert Damage.objects.count() == 1
    audit.run_everything_if_due()
    assert not Damage.objects.exists()
    damage("UPDATE stock_level SET reserved = reserved + 1")
    audit.run_periodic()
    assert oversell_events() == before + 2


def test_damage_to_events_is_remembered_and_does_not_count_as_oversell() -> None:
    sold, _ = sold_and_held()
    before = oversell_events()
    damage("DELETE FROM outbox_event WHERE subject = %s AND type = 'inventory.confirmed'", str(sold.id))
    assert audit.run_periodic() == 1
    assert [one.subject for one in Damage.objects.all()] == [
        f"reservation_id={sold.id} event=inventory.confirmed occasion="
    ]
    assert oversell_events() == before


def test_everything_is_audited_again_only_after_the_interval(settings: Settings) -> None:
    settings.AUDIT_FULL_INTERVAL_DAYS = 7
    assert audit.run_everything_if_due() == 0
    assert audit.run_everything_if_due() is None
    AuditPosition.objects.update(everything_at=database_now() - timedelta(days=7))
    assert audit.run_everything_if_due() == 0


def test_an_audit_of_everything_does_not_keep_the_one_of_every_minute_waiting() -> None:
    sold_and_held()
    damage("UPDATE stock_level SET reserved = reserved + 1")
    with verbs.holding_job_lock("audit_everything"):
        assert audit.run_everything_if_due() is None
        assert audit.run_periodic() == 1
    with verbs.holding_job_lock("audit_stock"):
        assert audit.run_periodic() == 0
        assert audit.run_everything_if_due() == 4


# --- events that were deleted --------------------------------------------------------------------------------------


def test_events_deleted_under_a_shorter_retention_are_not_missed_after_it_was_raised(settings: Settings) -> None:
    settings.EVENT_RETENTION_DAYS = 1
    _, held = sold_and_held()
    verbs.cancel(held)
    outbox.drain_to_log()
    OutboxEvent.objects.update(occurred_at=database_now() - timedelta(days=2))
    with writable_ledger():
        execute("UPDATE stock_movement SET created_at = created_at - interval '2 days'")
    for column in ("created_at", "settled_at"):
        execute(f"UPDATE reservation SET {column} = {column} - interval '2 days'")  # noqa: S608
    assert retention.prune()
    settings.EVENT_RETENTION_DAYS = 30
    assert audit.run_periodic() == 0
    assert factories.broken_invariants() == []
