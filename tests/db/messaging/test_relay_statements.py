"""What the relay reads and marks over its own session."""

from collections.abc import Iterator

import psycopg
import pytest

from inventory_project.foundation import database
from inventory_project.foundation.database import database_now
from inventory_project.foundation.messaging import outbox
from inventory_project.foundation.messaging.models import Destination, Installation, OutboxEvent
from tests.db.messaging.test_outbox import event, record

pytestmark = pytest.mark.usefixtures("books")


@pytest.fixture
def session(books: None) -> Iterator[psycopg.Connection]:
    with database.session_of_its_own() as session:
        yield session


def set_aside(*subjects: str) -> None:
    OutboxEvent.objects.filter(subject__in=subjects).update(unrouted_at=database_now())


def subjects_waiting() -> list[str]:
    return list(OutboxEvent.objects.waiting().values_list("subject", flat=True))


def ids(*subjects: str) -> list[int]:
    return list(OutboxEvent.objects.filter(subject__in=subjects).order_by("id").values_list("id", flat=True))


@pytest.fixture(autouse=True)
def _empty_afterwards(books: None) -> Iterator[None]:
    yield
    OutboxEvent.objects.all().delete()  # events that wait for long break I9, as they should


def test_the_oldest_are_read_except_those_of_subjects_that_wait(session: psycopg.Connection) -> None:
    record(event("a"), event("b"), event("a", occasion="2"), event("c"), event("d"))

    read = outbox.waiting(session, limit=2, without=["a", "e"])

    assert [each.subject for each in read] == ["b", "c"]
    assert [each.subject for each in outbox.waiting(session, limit=10)] == ["a", "b", "a", "c", "d"]


def test_events_are_marked_with_where_they_went_and_those_that_are_marked_stay_as_they_are(
    session: psycopg.Connection,
) -> None:
    record(event("a"), event("b"), event("c"))
    [delay] = outbox.mark(session, published=ids("a"), unrouted=ids("b"))
    assert delay >= 0
    before = list(OutboxEvent.objects.order_by("id").values())
    assert [(row["published_to"], row["unrouted_at"] is None) for row in before] == [
        (Destination.RABBITMQ, True),
        (None, False),
        (None, True),
    ]

    assert outbox.mark(session, published=ids("a"), unrouted=ids("a", "b")) == []

    assert list(OutboxEvent.objects.order_by("id").values()) == before


def test_events_that_are_marked_together_are_marked_at_one_moment(session: psycopg.Connection) -> None:
    record(*[event(str(number)) for number in range(50)])

    outbox.mark(session, published=ids(*map(str, range(50))), unrouted=[])

    assert len(set(OutboxEvent.objects.values_list("published_at", flat=True))) == 1


def test_the_oldest_unrouted_event_of_each_type_is_found(session: psycopg.Connection) -> None:
    record(
        event("published", type="t.one"),
        event("one", type="t.one"),
        event("two", type="t.two"),
        event("one later", type="t.one"),
        event("waiting", type="t.three"),
        event("four", type="t.four"),
        event("two later", type="t.two"),
    )
    assert outbox.oldest_unrouted(session) == []
    OutboxEvent.objects.filter(subject="published").update(published_at=database_now(), unrouted_at=database_now())
    set_aside("one", "two", "one later", "four", "two later")

    assert [each.subject for each in outbox.oldest_unrouted(session)] == ["one", "two", "four"]


def test_the_unrouted_events_of_a_type_come_back_oldest_first_in_chunks(
    session: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "AGAIN_CHUNK", 2)
    record(*[event(name) for name in "abc"], event("other", type="t.other"))
    set_aside("a", "b", "c", "other")

    assert outbox.send_type_again(session, "inventory.tested") == 2
    assert subjects_waiting() == ["a", "b"]
    assert [outbox.send_type_again(session, "inventory.tested") for _ in range(2)] == [1, 0]
    assert list(OutboxEvent.objects.unrouted().values_list("subject", flat=True)) == ["other"]


def test_a_relay_records_that_events_go_to_rabbitmq_and_keeps_the_other_facts(session: psycopg.Connection) -> None:
    outbox.claim(session)
    assert Installation.objects.get().events_go_to == Destination.RABBITMQ

    Installation.objects.update(events_go_to=Destination.LOG, retention_days=5)
    outbox.claim(session)

    [row] = Installation.objects.values_list("events_go_to", "retention_days")
    assert row == (Destination.RABBITMQ, 5)


def test_a_session_that_cannot_write_cannot_claim_either(session: psycopg.Connection) -> None:
    outbox.claim(session)
    session.execute("SET default_transaction_read_only = on")

    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        outbox.claim(session)
