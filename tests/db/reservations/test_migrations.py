"""What migrations do to books that are there already."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from reservations.requests import Item, Reserve
from tests import factories
from tests.db.migrating import migrate, migrate_everything
from tests.db.reservations import verbs
from tests.factories import ACTOR, RJ, SP

pytestmark = pytest.mark.usefixtures("books")

BEFORE, COLUMN, LATEST = (
    ("reservations", "0002_room_for_updates"),
    ("reservations", "0003_released_units"),
    ("reservations", "0006_units_called_off_later"),
)


@pytest.fixture
def _up_to_date_afterwards(books: None) -> Iterator[None]:
    yield
    migrate_everything()


def columns() -> set[str]:
    with connection.cursor() as cursor:
        return {column.name for column in connection.introspection.get_table_description(cursor, "reservation_item")}


def execute(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.usefixtures("_up_to_date_afterwards")
def test_lines_that_are_settled_already_learn_what_was_released() -> None:
    product = factories.product({SP: 20, RJ: 3})
    active, cancelled, expired, sold, in_part = (factories.hold(product.pk, 2, SP) for _ in range(5))
    items = (Item(product.pk, 3, RJ), Item(product.pk, 8, SP))
    split = verbs.reserve(Reserve(order_id=uuid4(), items=items, actor=ACTOR)).hold
    verbs.cancel(cancelled)
    verbs.expire(expired)
    verbs.confirm(sold)
    verbs.confirm(in_part, Item(product.pk, 1))
    verbs.give_back(in_part)
    verbs.confirm(split, Item(product.pk, 2, RJ))
    holds = (active, cancelled, expired, sold, in_part, split)
    expected = [verbs.lines(held) for held in holds]
    assert expected == [
        [(SP, 2, 0, 0, 0)],
        [(SP, 2, 0, 2, 0)],
        [(SP, 2, 0, 2, 0)],
        [(SP, 2, 2, 0, 0)],
        [(SP, 2, 1, 1, 1)],
        [(RJ, 3, 2, 1, 0), (SP, 8, 0, 8, 0)],
    ]
    migrate(BEFORE)
    assert "released" not in columns()
    migrate(COLUMN)
    assert execute("SELECT DISTINCT released FROM reservation_item") == [(0,)]
    migrate(LATEST)
    assert [verbs.lines(held) for held in holds] == expected


@pytest.mark.usefixtures("_up_to_date_afterwards")
def test_there_is_no_way_back_while_a_hold_is_released_in_part() -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 3)
    verbs.call_off(held.order_id, Item(product.pk, 1))
    with pytest.raises(RuntimeError, match="released in part: confirm, cancel or expire them first"):
        migrate(BEFORE)
    assert "released" in columns()
    migrate(LATEST)
    verbs.cancel(held)
    migrate(BEFORE)
    migrate(LATEST)
    assert verbs.lines(held) == [(SP, 3, 0, 3, 0)]


def test_a_process_of_the_version_before_goes_on_reserving() -> None:
    held = factories.hold(factories.product({SP: 5, RJ: 5}).pk, 3, SP)
    execute(
        "INSERT INTO reservation_item (id, reservation_id, product_id, warehouse_id, quantity, confirmed, returned) "
        "SELECT gen_random_uuid(), reservation_id, product_id, 'wh-rj-001', 1, 0, 0 FROM reservation_item"
    )
    assert sorted(verbs.lines(held)) == [(RJ, 1, 0, 0, 0), (SP, 3, 0, 0, 0)]
    execute("DELETE FROM reservation_item WHERE warehouse_id = 'wh-rj-001'")
