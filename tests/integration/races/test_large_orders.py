"""64 orders of a hundred lines over twenty warehouses in one batch: nobody waits as long as the choice takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from threading import Event, Thread
from uuid import UUID, uuid4

import pytest
from django.db import connection

from inventory_project.foundation import database
from reservations import lifecycle, working_set
from reservations.requests import Item, Outcome, Reserve
from stock import documents
from tests import factories
from tests.factories import ACTOR
from tests.integration.races import guards

PLACES = [f"wh-{number:03}" for number in range(20)]
LINES, ORDERS = 100, 64
MAX_LOCKED_SECONDS = 1.0  # issue 13
# The lock of rows of a table is also a lock of the table, of a mode of its own.
HOLDERS = """
SELECT virtualtransaction FROM pg_locks JOIN pg_class ON pg_class.oid = pg_locks.relation
WHERE relname = 'stock_level' AND mode = 'RowShareLock' AND pg_locks.granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Watch:
    """How long each transaction has held locks on stock levels, as far as can be seen from outside."""

    def __init__(self) -> None:
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}

    @property
    def longest(self) -> float:
        """Seconds."""
        return max((self.last[key] - self.first[key] for key in self.first), default=0.0)

    def look(self, until: Event) -> None:
        try:
            with connection.cursor() as cursor:
                while not until.wait(0.02):
                    cursor.execute(HOLDERS)
                    now = time.monotonic()
                    for (key,) in cursor.fetchall():
                        self.first.setdefault(key, now)
                        self.last[key] = now
        finally:
            connection.close()


@contextmanager
def watching() -> Iterator[Watch]:
    watch, end = Watch(), Event()
    thread = Thread(target=watch.look, args=(end,))
    thread.start()
    try:
        yield watch
    finally:
        end.set()
        thread.join()


def stocked() -> list[UUID]:
    """So many products, each in a part of the warehouses, so that only sets of five or six can serve an order."""
    random = Random(13)  # noqa: S311  # no secret
    product_ids = [factories.product().pk for _ in range(LINES)]
    places = {id_: random.sample(PLACES, random.randint(5, 8)) for id_ in product_ids}
    for warehouse_id in PLACES:
        factories.warehouse(warehouse_id)
        documents.book(
            documents.DocumentRequest(
                kind=documents.Kind.RECEIPT,
                reference=str(uuid4()),
                warehouse_id=warehouse_id,
                items=tuple((id_, 1_000) for id_ in product_ids if warehouse_id in places[id_]),
                actor=ACTOR,
            )
        )
    return product_ids


def orders(product_ids: list[UUID], count: int) -> list[Reserve]:
    items = tuple(Item(id_, 1) for id_ in product_ids)
    return [Reserve(order_id=uuid4(), items=items, actor=ACTOR) for _ in range(count)]


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize("is_chosen_first", [True, False])
def test_no_lock_is_held_for_longer_than_a_second(is_chosen_first: bool) -> None:
    """`is_chosen_first` False: the first batch of a process, which does not know yet how many warehouses there are."""
    requests = orders(stocked(), ORDERS)
    with guards.choosing_first() if is_chosen_first else pytest.MonkeyPatch.context(), watching() as watch:
        answers = lifecycle.reserve_many(requests)
    assert all(isinstance(answer, Outcome) and not answer.is_replay for answer in answers)
    assert len(watch.first) > 1
    assert watch.longest < MAX_LOCKED_SECONDS
    assert factories.broken_invariants() == []


@pytest.mark.usefixtures("transactional_db")
def test_control_without_a_limit_it_is_held_while_the_whole_batch_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working_set, "MAX_DECIDING_SECONDS", 60.0)
    monkeypatch.setattr(working_set, "is_wide", lambda _product_ids: False)
    requests = orders(stocked(), 32)
    with connection.cursor() as cursor:  # a slow machine decides for longer than PostgreSQL's limit of five seconds
        cursor.execute("SET idle_in_transaction_session_timeout = 0")
    with watching() as watch:
        lifecycle.reserve_many(requests)
    database.drop_session()
    assert watch.longest > MAX_LOCKED_SECONDS
