"""Rows that are written with the next statement or the COMMIT, and how many round trips a batch takes."""

import tempfile
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from inventory_project.foundation import bulkhead, database
from stock.models import Product
from tests.db.reservations.test_statements import BATCHES, Verb

COLUMNS = ("id", "sku", "name", "is_blocked", "created_at", "updated_at")
NOW = "2026-11-30T12:00:00Z"

QUICK = {"reserve_many", "confirm_many", "cancel_many", "expire_many"}  # the others look at more before they decide


def row(sku: str) -> tuple[Any, ...]:
    return uuid4(), sku, "A product", False, NOW, NOW


def write(*skus: str) -> None:
    with database.postponed():
        database.insert_rows(Product, COLUMNS, [row(sku) for sku in skus])


def skus() -> list[str]:
    return sorted(Product.objects.values_list("sku", flat=True))


def round_trips(work: Callable[[], object]) -> int:
    """How often this session asked PostgreSQL and waited for the answer: by what libpq sent."""
    connection.ensure_connection()
    with tempfile.TemporaryFile() as file:
        connection.connection.pgconn.trace(file.fileno())
        try:
            work()
        finally:
            connection.connection.pgconn.untrace()
        file.seek(0)
        sent = [line.split("\t") for line in file.read().decode().splitlines()]
    return sum(parts[1] == "F" and parts[3] in ("Sync", "Query", "Flush") for parts in sent)


@pytest.mark.django_db(transaction=True)
class TestPostponedRows:
    @pytest.fixture(autouse=True)
    def the_session_knows_the_statement(self) -> None:
        """A session that the pool has just opened would take a round trip more, to prepare it."""
        write("Z")
        Product.objects.all().delete()

    def test_they_are_written_with_the_commit(self) -> None:
        def work() -> None:
            with transaction.atomic():
                write("A")
                write("B")

        assert round_trips(work) == 1
        assert skus() == ["A", "B"]

    def test_control_rows_that_are_not_postponed_are_written_at_once(self) -> None:
        def work() -> None:
            with transaction.atomic():
                database.insert_rows(Product, COLUMNS, [row("A")])

        assert round_trips(work) == 3  # BEGIN, INSERT, COMMIT

    def test_the_next_statement_sees_them(self) -> None:
        with transaction.atomic():
            write("A")
            assert skus() == ["A"]
            write("B")
            assert database.execute("SELECT count(*) FROM stock_product").fetchall() == [(2,)]

    def test_a_commit_that_they_fail_changes_nothing(self) -> None:
        with pytest.raises(IntegrityError, match="sku"), transaction.atomic():
            write("A", "A")
        assert skus() == []
        with transaction.atomic():  # the session is as good as new
            write("A")
        assert skus() == ["A"]

    def test_the_next_statement_raises_their_error(self) -> None:
        with transaction.atomic():
            write("A", "A")
            with pytest.raises(IntegrityError, match="sku"):
                skus()
            transaction.set_rollback(True)
        assert skus() == []

    def test_a_savepoint_keeps_or_loses_its_own(self) -> None:
        with transaction.atomic():
            write("A")
            with transaction.atomic():
                write("B")
                transaction.set_rollback(True)
            with transaction.atomic():
                write("C")
        assert skus() == ["A", "C"]

    def test_a_rollback_forgets_them(self) -> None:
        with transaction.atomic():
            write("A")
            transaction.set_rollback(True)
        with transaction.atomic():
            write("B")
        assert skus() == ["B"]

    def test_a_session_that_is_dropped_forgets_them(self) -> None:
        with transaction.atomic():
            write("A")
            database.drop_session()
        assert skus() == []
        with transaction.atomic():
            write("B")
        assert skus() == ["B"]

    def test_a_savepoint_that_is_rolled_back_does_not_send_them(self) -> None:
        with transaction.atomic():
            write("A")
            with transaction.atomic():
                write("B", "B")
                transaction.set_rollback(True)
        assert skus() == ["A"]

    def test_in_a_broken_transaction_they_are_refused_at_once(self) -> None:
        with transaction.atomic():
            transaction.set_rollback(True)
            with pytest.raises(transaction.TransactionManagementError):
                write("A")
        assert skus() == []

    def test_outside_of_a_transaction_they_are_written_at_once(self) -> None:
        assert round_trips(lambda: write("A")) == 1
        assert skus() == ["A"]


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize(
    ("verb", "requests"),
    [
        (verb, requests)
        for verb, requests, _ in BATCHES
        if verb.__name__ in QUICK and "overdue" not in requests.__name__
    ],
)
def test_a_batch_takes_one_round_trip_to_lock_and_one_to_write(
    verb: Verb, requests: Callable[[int], Sequence[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulkhead, "obstacles", bulkhead.Obstacles())  # of what another test had locked
    wanted = requests(3)
    for _ in range(3):
        verb(requests(1))  # then the statements are prepared, and the network is known
    assert round_trips(lambda: verb(wanted)) == 2
