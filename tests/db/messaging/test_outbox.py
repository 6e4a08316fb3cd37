"""Events are recorded with their change, and where there is no broker they end in the log, each once."""

import json
import logging
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from inventory_project.foundation.database import database_now
from inventory_project.foundation.messaging import installation, outbox
from inventory_project.foundation.messaging.models import Destination, Installation, OutboxEvent
from inventory_project.foundation.messaging.outbox import Event
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records

pytestmark = pytest.mark.usefixtures("books")

LOGGER = "inventory_project.foundation.messaging.outbox"


def event(subject: str, **changes: Any) -> Event:
    return Event(**{"type": "inventory.tested", "subject": subject, "data": {"b": [1, "é"], "a": None}, **changes})


def record(*events: Event) -> None:
    with transaction.atomic():
        outbox.record(events, at=database_now())


def test_events_are_recorded_in_their_order_with_ids_that_rise() -> None:
    moment = database_now()
    with transaction.atomic():
        outbox.record([event("one"), event("two", occasion="x"), event("three", occasion=None)], at=moment)
    rows = OutboxEvent.objects.order_by("id")
    assert list(rows.values_list("type", "subject", "occasion", "data", "occurred_at", "published_at")) == [
        ("inventory.tested", subject, occasion, {"b": [1, "é"], "a": None}, moment, None)
        for subject, occasion in (("one", ""), ("two", "x"), ("three", None))
    ]
    ids: list[UUID] = list(rows.values_list("event_id", flat=True))
    assert ids == sorted(set(ids))


def test_no_events_are_no_statement() -> None:
    with transaction.atomic():
        outbox.record([], at=database_now())
    assert not OutboxEvent.objects.exists()


def test_an_event_is_not_recorded_outside_the_transaction_of_its_change() -> None:
    with records.no_trace(), pytest.raises(transaction.TransactionManagementError, match="in the transaction of its"):
        outbox.record([event("one")], at=database_now())


def test_an_event_goes_with_the_change_that_is_rolled_back() -> None:
    with records.no_trace(), transaction.atomic():
        outbox.record([event("one")], at=database_now())
        transaction.set_rollback(True)


def test_an_event_that_may_recur_is_recorded_each_time() -> None:
    record(event("one", occasion=None))
    record(event("one", occasion=None))
    assert OutboxEvent.objects.count() == 2


def test_draining_logs_each_event_once_in_order_and_marks_it(caplog: pytest.LogCaptureFixture) -> None:
    record(event("one"), event("two"))
    with caplog.at_level(logging.INFO, logger=LOGGER):
        assert outbox.drain_to_log() == 2
        assert outbox.drain_to_log() == 0
    lines = [line for line in caplog.records if line.name == LOGGER]
    assert [line.getMessage() for line in lines] == ["event inventory.tested"] * 2
    ids = [str(id_) for id_ in OutboxEvent.objects.order_by("id").values_list("event_id", flat=True)]
    assert [(line.__dict__["event_id"], line.__dict__["subject"]) for line in lines] == [
        (ids[0], "one"),
        (ids[1], "two"),
    ]
    assert not OutboxEvent.objects.filter(published_at=None).exists()


def formatted(renderer: Any, line: logging.LogRecord) -> str:
    """The line as the service writes it, in JSON or for people."""
    chain = settings.LOGGING["formatters"]["structured"]["foreign_pre_chain"]
    return structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=chain).format(line)


def test_the_members_of_an_event_are_members_of_the_line_in_json_and_one_line_on_the_console(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record(event("one"))
    with caplog.at_level(logging.INFO, logger=LOGGER):
        outbox.drain_to_log()

    line = json.loads(formatted(structlog.processors.JSONRenderer(), caplog.records[-1]))
    assert {name: line[name] for name in ("event", "event_type", "subject", "data", "level", "logger")} == {
        "event": "event inventory.tested",
        "event_type": "inventory.tested",
        "subject": "one",
        "data": {"a": None, "b": [1, "\u00e9"]},
        "level": "info",
        "logger": LOGGER,
    }
    assert UUID(line["event_id"]) == OutboxEvent.objects.get().event_id

    on_console = formatted(structlog.dev.ConsoleRenderer(colors=False), caplog.records[-1])
    assert "\n" not in on_console
    assert "event inventory.tested" in on_console
    assert "subject=one" in on_console
    assert "data={'a': None, 'b': [1, '\u00e9']}" in on_console


def test_draining_goes_in_batches_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "DRAIN_BATCH", 2)
    record(*[event(str(uuid4())) for _ in range(5)])
    ids = list(OutboxEvent.objects.order_by("id").values_list("id", flat=True))
    with CaptureQueriesContext(connection) as captured:
        assert outbox.drain_to_log() == 5
    assert len([query for query in captured if query["sql"].startswith("UPDATE")]) == 3
    assert list(OutboxEvent.objects.order_by("published_at", "id").values_list("id", flat=True)) == ids
    assert outbox.drain_to_log() == 0


def test_a_drain_ends_after_some_seconds_and_the_next_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "DRAIN_BATCH", 2)
    monkeypatch.setattr(outbox, "MAX_DRAIN_SECONDS", 0.0)
    record(*[event(str(uuid4())) for _ in range(5)])
    assert [outbox.drain_to_log() for _ in range(4)] == [2, 2, 1, 0]


def test_draining_leaves_what_is_published_already_as_it_is() -> None:
    record(event("one"))
    outbox.drain_to_log()
    published_at = OutboxEvent.objects.get().published_at
    record(event("two"))
    assert outbox.drain_to_log() == 1
    assert OutboxEvent.objects.get(subject="one").published_at == published_at


def test_while_another_process_drains_this_one_leaves_it_alone() -> None:
    record(event("one"))
    with verbs.holding_job_lock("drain_outbox_to_log"), records.no_trace():
        assert outbox.drain_to_log() == 0
    assert outbox.drain_to_log() == 1


def test_what_was_drained_is_known_to_have_gone_to_the_log() -> None:
    record(event("one"))
    outbox.drain_to_log()
    assert OutboxEvent.objects.get().published_to == Destination.LOG


def test_where_events_go_to_rabbitmq_a_process_without_it_drains_nothing_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outbox._report_missing_broker.cache_clear()
    installation.send_events_to(Destination.RABBITMQ)
    record(event("one"))

    with records.no_trace():
        assert [outbox.drain_to_log(), outbox.drain_to_log()] == [0, 0]

    lines = [line for line in caplog.records if line.name == LOGGER]
    assert [line.levelname for line in lines] == ["ERROR"]
    assert "RABBITMQ_URL is not set here" in lines[0].getMessage()
    assert "`manage.py publish_events --to-log`" in lines[0].getMessage()


def test_a_relay_that_begins_after_the_first_look_still_gets_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    record(event("one"))
    monkeypatch.setattr(installation, "read", Installation)  # as it was before the relay began
    installation.send_events_to(Destination.RABBITMQ)

    with records.no_trace():
        assert outbox.drain_to_log() == 0


def test_an_installation_goes_back_to_the_log_by_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    installation.send_events_to(Destination.RABBITMQ)
    record(event("one"))

    call_command("publish_events", "--to-log")

    assert capsys.readouterr().out == (
        "Events go to the log from now on. Restart all processes without RABBITMQ_URL.\n"
    )
    assert outbox.drain_to_log() == 1


def test_it_does_not_while_a_relay_works() -> None:
    installation.send_events_to(Destination.RABBITMQ)
    refused = pytest.raises(CommandError, match=r"^A relay works now\.")
    with verbs.holding_job_lock("publish_events"), records.no_trace(), refused:
        call_command("publish_events", "--to-log")


def test_what_went_to_the_log_is_sent_again_chunk_by_chunk_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "AGAIN_CHUNK", 2)
    record(*[event(str(number)) for number in range(5)])
    outbox.drain_to_log()
    OutboxEvent.objects.filter(subject="3").update(published_to=Destination.RABBITMQ)
    OutboxEvent.objects.filter(subject="4").update(published_to=None)  # by an earlier version
    installation.send_events_to(Destination.RABBITMQ)

    assert outbox.send_logged_again() == 3

    assert list(OutboxEvent.objects.waiting().values_list("subject", "published_to")) == [
        ("0", None),
        ("1", None),
        ("2", None),
    ]
    assert outbox.send_logged_again() == 0


def test_what_went_to_the_log_is_not_sent_again_where_it_would_go_there_once_more() -> None:
    record(event("one"))
    outbox.drain_to_log()
    with records.no_trace(), pytest.raises(CommandError, match=r"^Events go to the log here\."):
        call_command("publish_events", "--again-logged")


def test_the_events_of_a_sale_are_drained() -> None:
    product = factories.product({factories.SP: 5})
    verbs.confirm(factories.hold(product.pk, 5))
    assert outbox.drain_to_log() == 4  # in stock, reserved, out of stock, confirmed
    assert connection.in_atomic_block is False
