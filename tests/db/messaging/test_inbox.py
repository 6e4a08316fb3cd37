"""The proof of what was handled, and the lock of each order: what is known is known to all, or nobody goes on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from inventory_project.foundation.database import database_now
from inventory_project.foundation.messaging import inbox
from inventory_project.foundation.messaging.envelope import Message
from inventory_project.foundation.messaging.inbox import Handled, Known, Outcome, Received
from inventory_project.foundation.messaging.models import InboxMessage
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.processes import wait_until

pytestmark = pytest.mark.usefixtures("books")

OTHER_OUTCOMES = [outcome for outcome in Outcome if outcome not in (Outcome.CANCELLED, Outcome.REJECTED)]


def received(
    order_id: UUID | None = None, *, message_id: str | None = None, source: str = "shop", type_: str = "order.created"
) -> Received[None]:
    message = Message(source=source, id=message_id or str(uuid4()), type=type_, data={}, extensions={}, tries=0)
    return Received(message=message, order_id=order_id or uuid4(), request=None)


def record(*messages: Received[None], outcome: str = Outcome.RESERVED, code: str = "") -> None:
    with transaction.atomic():
        inbox.record([(each, Handled(outcome=outcome, code=code)) for each in messages])


def look(*messages: Received[None]) -> Known:
    with transaction.atomic():
        return inbox.lock_and_read(messages)


# --- what is known -------------------------------------------------------------------------------------------------


def test_a_message_is_recorded_with_what_came_of_it() -> None:
    one = received(type_="payment.confirmed", message_id="1")
    record(one, outcome=Outcome.REJECTED, code="order_cancelled")
    row = InboxMessage.objects.get()
    assert (row.source, row.message_id, row.type, row.order_id) == ("shop", "1", "payment.confirmed", one.order_id)
    assert (row.outcome, row.code) == ("rejected", "order_cancelled")
    assert timedelta(0) <= database_now() - row.processed_at < timedelta(seconds=30)


def test_a_message_is_known_by_source_and_id_whatever_its_order() -> None:
    one = received(message_id="1")
    record(one)
    again, another_order = received(one.order_id, message_id="1"), received(message_id="1")
    another_source, another_id = received(message_id="1", source="market"), received(one.order_id, message_id="2")
    known = look(again, another_order, another_source, another_id)
    assert [known.has(each.message) for each in (again, another_order, another_source, another_id)] == [
        True,
        True,
        False,
        False,
    ]


def test_a_message_cannot_be_recorded_twice() -> None:
    one = received()
    record(one)
    with records.no_trace(), pytest.raises(IntegrityError, match="inbox_message_is_handled_once"):
        record(received(), one)


def test_nothing_is_recorded_of_no_messages() -> None:
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        inbox.record([])
    assert [query["sql"] for query in queries if "inbox" in query["sql"]] == []


def test_an_order_is_called_off_or_rejected_by_what_came_of_its_messages() -> None:
    called_off, rejected, both, others = (received() for _ in range(4))
    record(called_off, outcome=Outcome.CANCELLED)
    record(rejected, outcome=Outcome.REJECTED, code="insufficient_stock")
    record(both, outcome=Outcome.REJECTED, code="insufficient_stock")
    record(received(both.order_id), outcome=Outcome.CANCELLED)
    for outcome in OTHER_OUTCOMES:
        record(received(others.order_id), outcome=outcome)
    known = look(*[received(each.order_id) for each in (called_off, rejected, both, others)])
    assert known.called_off == {called_off.order_id, both.order_id}
    assert known.rejected == {rejected.order_id, both.order_id}
    assert look(received()) == Known()


def test_looking_costs_as_many_statements_for_many_messages_as_for_one() -> None:
    record(*[received() for _ in range(20)])
    for number in (1, 50):
        messages = [received() for _ in range(number)]
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            inbox.lock_and_read(messages)
        statements = [query["sql"] for query in queries if not query["sql"].startswith(("BEGIN", "SAVEPOINT"))]
        assert statements[0].startswith("SELECT set_config('lock_timeout'")
        assert [statement.split(" FROM ")[-1].split()[0] for statement in statements[1:]] == [
            "unnest(%s::int[])",
            "inbox_message",
        ]


def test_the_look_is_by_index() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT source FROM inbox_message WHERE order_id = ANY(%s) OR message_id = ANY(%s)",
            [[uuid4()], ["1"]],
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")
    assert "BitmapOr" in plan
    assert "inbox_message_by_order" in plan
    assert "inbox_message_is_handled_once" in plan


# --- the lock ------------------------------------------------------------------------------------------------------


@contextmanager
def locked_elsewhere(order_id: UUID) -> Iterator[None]:
    """Another consumer has a message of this order in hand."""
    with verbs.another_session() as cursor, cursor.connection.transaction():
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [inbox.ORDER_LOCKS, inbox._lock_key(order_id)])
        yield


@contextmanager
def waiting_at_most(milliseconds: int) -> Iterator[None]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {milliseconds}")
        yield


def test_without_a_transaction_there_is_no_look() -> None:
    with pytest.raises(transaction.TransactionManagementError, match="as long as the transaction"):
        inbox.lock_and_read([received()])


def test_the_order_of_each_message_is_waited_for_and_no_other() -> None:
    order_id = uuid4()
    with locked_elsewhere(order_id):
        with waiting_at_most(2_000):
            inbox.lock_and_read([received(), received()])
        with pytest.raises(OperationalError, match="lock timeout"), waiting_at_most(50):
            inbox.lock_and_read([received(), received(order_id)])
    with waiting_at_most(2_000):
        inbox.lock_and_read([received(order_id)])


def test_the_lock_ends_with_the_transaction_and_locks_no_jobs() -> None:
    one = received()
    with transaction.atomic():
        inbox.lock_and_read([one])
        with verbs.another_session() as cursor:
            assert is_free(cursor, one.order_id) is False
    with verbs.another_session() as cursor:
        assert is_free(cursor, one.order_id) is True


def is_free(cursor: psycopg.Cursor[Any], order_id: UUID) -> bool:
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [inbox.ORDER_LOCKS, inbox._lock_key(order_id)])
    row = cursor.fetchone()
    assert row is not None
    return bool(row[0])


def test_what_was_written_while_the_lock_was_waited_for_is_known() -> None:
    one = received(message_id="1")
    with ThreadPoolExecutor(1) as threads:
        with locked_elsewhere(one.order_id):
            known = threads.submit(look_and_disconnect, one)
            wait_until(is_somebody_waiting)
            record(one)
        assert known.result(timeout=30).has(one.message)


def look_and_disconnect(message: Received[None]) -> Known:
    try:
        return look(message)
    finally:
        connection.close()


def is_somebody_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
        return cursor.fetchone() is not None


def test_the_lock_keys_are_signed_numbers_of_32_bits_and_spread() -> None:
    keys = {inbox._lock_key(uuid4()) for _ in range(2_000)}
    assert -(2**31) <= min(keys) < 0 < max(keys) < 2**31
    assert len(keys) > 1_990
