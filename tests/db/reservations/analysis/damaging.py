"""Damage done past the service, and what audits find of it."""

from typing import Any

from django.db import connection

from reservations.analysis import audit
from reservations.holds import Hold
from reservations.requests import Item
from tests import factories
from tests.db.reservations import verbs
from tests.factories import SP


def damage(sql: str, *parameters: Any) -> None:
    """One statement, which must hit exactly one row."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        assert cursor.rowcount == 1


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def found() -> dict[str, list[dict[str, Any]]]:
    """The broken invariants with the rows that an audit of everything names."""
    return {finding.invariant.name: finding.rows for finding in audit.run() if finding.count}


def sold_and_held() -> tuple[Hold, Hold]:
    """10 units at one warehouse: 3 of 4 confirmed and 1 of these back; 2 held."""
    product = factories.product({SP: 10})
    sold, held = factories.hold(product.pk, 4), factories.hold(product.pk, 2)
    verbs.confirm(sold, Item(product.pk, 3))
    verbs.give_back(sold, Item(product.pk, 1))
    assert found() == {}
    return sold, held


def place(held: Hold) -> dict[str, Any]:
    return {"product_id": held.lines[0].product_id, "warehouse_id": SP}
