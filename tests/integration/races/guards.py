"""What keeps the races honest, each as a context in which it is missing: the controls lose without it.

A context changes its whole process; the constraints are the database's own, so the test drops them for everybody.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, models
from django.test import override_settings

from inventory_project.foundation import bulkhead, database
from reservations import choosing, holds, lifecycle, reserving, working_set
from reservations.requests import Outcome, Reserve
from stock import documents, ledger
from stock.models import Product, StockMovement
from warehouses.models import Warehouse

# The database refuses what two transactions post from the same numbers: a net below the locks.
ONE_NUMBER = (StockMovement, "stock_movement_has_a_number_of_its_own")


@contextmanager
def delay(point: str, seconds: float) -> Iterator[None]:
    """Everybody waits a moment at a dangerous point."""
    with override_settings(INVENTORY_CRASH_POINT=f"{point}=sleep:{seconds}"):
        yield


@contextmanager
def without_the_gate() -> Iterator[None]:
    """Every request reaches the database, also when the counters say that nothing is left."""
    with override_settings(REDIS_URL=""):
        yield


@contextmanager
def without_row_locks(*unlocked: type[models.Model]) -> Iterator[None]:
    """What locks these models' rows is a plain SELECT."""
    lock = database.for_no_key_update
    tables = {model._meta.db_table for model in unlocked}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "for_no_key_update", lambda table: "" if table in tables else lock(table))
        yield


@contextmanager
def without_constraints(*constraints: tuple[type[models.Model], str]) -> Iterator[None]:
    """The database lacks these constraints. Everything in it is thrown away in the end: it may break them."""
    found = [
        (model, constraint)
        for model, name in constraints
        for constraint in model._meta.constraints
        if constraint.name == name
    ]
    assert len(found) == len(constraints)
    with connection.schema_editor() as editor:
        for model, constraint in found:
            editor.remove_constraint(model, constraint)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE stock_product, stock_movement, reservation, stock_document, outbox_event CASCADE")
        with connection.schema_editor() as editor:
            for model, constraint in found:
                editor.add_constraint(model, constraint)


@contextmanager
def choosing_first() -> Iterator[None]:
    """Warehouses are chosen before the locks for every product, also one that this process has never sold."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(working_set, "is_wide", lambda _product_ids: True)
        yield


@contextmanager
def without_a_second_look_at_what_was_chosen() -> Iterator[None]:
    """What was chosen over the reading is taken, whatever the locked levels have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "is_still_there", lambda _locked, _chosen: True)
        yield


@contextmanager
def without_twin_look_up() -> Iterator[None]:
    """A batch of reservations does not look for live reservations of its orders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holds, "live_of_orders", lambda _order_ids: dict)
        yield


@contextmanager
def without_reference_look_up() -> Iterator[None]:
    """Booking a document does not look for an earlier one with its reference."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "_find", lambda _request: None)
        yield


@contextmanager
def with_receipts_that_share_the_masters() -> Iterator[None]:
    """A receipt holds the product and the warehouse FOR SHARE until it commits, as every receipt once did."""
    book = documents._book

    def book_under_shared_locks(requests: Sequence[documents.DocumentRequest]) -> Any:
        for request in requests:
            product_ids = [product_id for product_id, _ in request.items]
            database.execute("SELECT id FROM stock_product WHERE id = ANY(%s) FOR SHARE", [product_ids])
            database.execute("SELECT id FROM warehouse WHERE id = %s FOR SHARE", [request.warehouse_id])
        return book(requests)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "_book", book_under_shared_locks)
        yield


@contextmanager
def with_foreign_keys_of_lines() -> Iterator[None]:
    """Lines have a foreign key to products in the database, as they once had."""
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE reservation_item ADD CONSTRAINT line_of_a_product FOREIGN KEY (product_id) "
            "REFERENCES stock_product (id) DEFERRABLE INITIALLY DEFERRED"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE reservation_item DROP CONSTRAINT line_of_a_product")


@contextmanager
def without_held_masters() -> Iterator[None]:
    """Whoever makes a stock level reads the product and the warehouse without a lock."""

    def look(product_ids: Collection[UUID], warehouse_ids: Collection[str]) -> tuple[set[UUID], set[str]]:
        return (
            set(Product.objects.filter(pk__in=product_ids).values_list("id", flat=True)),
            set(Warehouse.objects.filter(pk__in=warehouse_ids).values_list("id", flat=True)),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "lock_products_and_warehouses", look)
        yield


@contextmanager
def without_release_of_overdue() -> Iterator[None]:
    """A reservation that lacks stock leaves overdue holds to the sweeper."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifecycle, "_release_for", lambda _refusals: False)
        yield


@contextmanager
def patience() -> Iterator[None]:
    """Batches wait for a lock until PostgreSQL has looked for a deadlock, which takes it a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulkhead, "MAX_WAIT_MS", 4_000)
        yield


@contextmanager
def with_locks_in_the_order_of_the_request() -> Iterator[None]:
    """Levels are locked one by one as the order names its products, and not in the one order of everybody."""
    locking, reserve = ledger.locking, reserving.reserve
    named: ContextVar[list[UUID]] = ContextVar("named")

    def reserve_as_named(requests: Sequence[Reserve]) -> list[Outcome | Any]:
        named.set([item.product_id for request in requests for item in request.items])
        return reserve(requests)

    def lock_as_named(product_ids: Collection[UUID]) -> Callable[[], ledger.LockedLevels]:
        levels = ledger.LockedLevels(is_whole=True)
        for product_id in sorted(product_ids, key=named.get().index):
            for level in locking([product_id])().by_key.values():
                levels.add(level)
            time.sleep(0.05)  # long enough for another thread to stand at the other end, also on a busy machine
        return lambda: levels

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reserving, "reserve", reserve_as_named)
        patch.setattr(ledger, "locking", lock_as_named)
        yield
