"""What migrations do to stock that is there already."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from inventory_project.foundation.database import database_now
from reservations.analysis import audit
from stock.models import StockLevel
from tests import factories
from tests.db.migrating import migrate, migrate_everything
from tests.db.reservations import verbs
from tests.factories import PR, RJ, SP

pytestmark = pytest.mark.usefixtures("books")

BEFORE, COLUMN, LATEST = (
    ("stock", "0003_room_for_updates"),
    ("stock", "0004_replenished"),
    ("stock", "0005_levels_know_what_they_were_replenished_to"),
)
UNNUMBERED, NUMBERED = (
    ("stock", "0006_no_foreign_keys_from_the_ledger"),
    ("stock", "0008_movement_numbers_are_unique"),
)


@pytest.fixture
def _up_to_date_afterwards(books: None) -> Iterator[None]:
    yield
    migrate_everything()


def execute(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def columns() -> set[str]:
    with connection.cursor() as cursor:
        return {column.name for column in connection.introspection.get_table_description(cursor, "stock_level")}


def levels(product_id: UUID) -> list[tuple[str, int, int, int, int]]:
    """By warehouse: available, reserved, replenished and version."""
    of_product = StockLevel.objects.filter(product_id=product_id).order_by("warehouse_id")
    return list(of_product.values_list("warehouse_id", "available", "reserved", "replenished", "version"))


@pytest.mark.usefixtures("_up_to_date_afterwards")
def test_levels_that_are_there_already_count_as_replenished_to_what_is_on_hand() -> None:
    product = factories.product({SP: 10, RJ: 5, PR: 2})
    factories.hold(product.pk, 3, SP)
    verbs.confirm(factories.hold(product.pk, 1, SP))
    verbs.confirm(factories.hold(product.pk, 2, PR))
    assert levels(product.pk) == [(PR, 0, 0, 2, 3), (RJ, 5, 0, 5, 1), (SP, 6, 3, 10, 4)]
    migrate(BEFORE)
    assert "replenished" not in columns()
    migrate(COLUMN)
    assert levels(product.pk) == [(PR, 0, 0, 0, 3), (RJ, 5, 0, 0, 1), (SP, 6, 3, 0, 4)]
    began = database_now()
    migrate(LATEST)
    assert levels(product.pk) == [(PR, 0, 0, 0, 3), (RJ, 5, 0, 5, 2), (SP, 6, 3, 9, 5)]
    stamped = StockLevel.objects.filter(updated_at__gte=began).values_list("warehouse_id", flat=True)
    assert sorted(stamped) == [RJ, SP]


@pytest.mark.usefixtures("_up_to_date_afterwards")
def test_run_again_it_catches_up_on_receipts_of_the_version_before_and_touches_nothing_else() -> None:
    product = factories.product({SP: 10, RJ: 5, PR: 2})
    verbs.confirm(factories.hold(product.pk, 4, SP))
    execute("UPDATE stock_level SET replenished = 0 WHERE warehouse_id = 'wh-rj-001'")
    migrate(COLUMN)
    migrate(LATEST)
    assert levels(product.pk) == [(PR, 2, 0, 2, 1), (RJ, 5, 0, 5, 2), (SP, 6, 0, 10, 3)]


@pytest.mark.usefixtures("_up_to_date_afterwards")
def test_numbers_begin_with_the_first_movement_after_the_update_and_the_audit_accepts_the_older_ones() -> None:
    product = factories.product({SP: 10})
    held = factories.hold(product.pk, 4, SP)
    migrate(UNNUMBERED)
    migrate(NUMBERED)
    assert execute("SELECT count(*), count(number) FROM stock_movement") == [(2, 0)]
    assert factories.broken_invariants() == []

    verbs.confirm(held)
    factories.hold(product.pk, 1, SP)
    numbered = "SELECT number, available_after, reserved_after FROM stock_movement WHERE number IS NOT NULL ORDER BY 1"
    assert execute(numbered) == [(1, 6, 0), (2, 5, 1)]
    assert audit.run_periodic() == 0


@pytest.mark.usefixtures("_up_to_date_afterwards")
def test_foreign_keys_of_sales_go_and_come_back() -> None:
    factories.hold(factories.product({SP: 10}).pk)
    migrate(LATEST)
    assert foreign_keys_to_masters() == {
        *("stock_level", "stock_sales_block", "stock_movement", "stock_document", "stock_document_line"),
        "reservation_item",
    }
    migrate_everything()
    assert foreign_keys_to_masters() == {"stock_level", "stock_sales_block"}


def foreign_keys_to_masters() -> set[str]:
    """The tables from which a foreign key leads to products or warehouses."""
    rows = execute(
        "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f' "
        "AND confrelid IN ('stock_product'::regclass, 'warehouse'::regclass)"
    )
    return {table for (table,) in rows if not table.startswith("warehouse")}


def test_a_process_of_the_version_before_goes_on_making_levels() -> None:
    product = factories.product()
    factories.warehouse(SP)
    execute(
        "INSERT INTO stock_level (product_id, warehouse_id, available, reserved, incoming, is_blocked, is_closed, "
        "is_low, version, updated_at) "
        "SELECT id, 'wh-sp-001', 0, 0, 0, false, false, true, 0, now() FROM stock_product"
    )
    assert levels(product.pk) == [(SP, 0, 0, 0, 0)]
