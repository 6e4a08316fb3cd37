"""Blocks and closings: what they stop, what they leave, and what is kept of them."""

from uuid import uuid4

import pytest

from inventory_project.foundation.errors import NotFound
from reservations import lifecycle
from reservations.requests import Confirm
from stock import blocking
from stock.models import Product, SalesBlock, StockLevel
from tests import factories
from tests.db.stock import records
from tests.factories import ACTOR, RJ, SP
from warehouses.models import Warehouse

pytestmark = pytest.mark.usefixtures("books")


def marks() -> dict[tuple[str, str], tuple[bool, bool, int]]:
    """Of each level, by product and warehouse: blocked, closed, version."""
    columns = ("product_id", "warehouse_id", "is_blocked", "is_closed", "version")
    return {(str(row[0]), row[1]): row[2:] for row in StockLevel.objects.values_list(*columns)}


def test_a_block_marks_every_level_of_the_product_and_keeps_who_when_and_why() -> None:
    product, other = factories.product({SP: 5, RJ: 5}), factories.product({SP: 5})
    block = blocking.block_product(product.pk, reason="recall", actor="ana")
    assert marks() == {
        (str(product.pk), SP): (True, False, 2),
        (str(product.pk), RJ): (True, False, 2),
        (str(other.pk), SP): (False, False, 1),
    }
    assert set(Product.objects.values_list("id", "is_blocked")) == {(product.pk, True), (other.pk, False)}
    kept = SalesBlock.objects.get()
    assert kept == block
    assert (kept.reason, kept.blocked_by, kept.lifted_by, kept.lifted_at) == ("recall", "ana", "", None)


def test_a_second_block_marks_levels_that_lost_the_mark() -> None:
    product = factories.product({SP: 5})
    blocking.block_product(product.pk, reason="recall", actor="ana")
    StockLevel.objects.update(is_blocked=False)  # as SQL by hand or a restored backup would
    blocking.block_product(product.pk, reason="recall", actor="ana")
    assert marks() == {(str(product.pk), SP): (True, False, 3)}


def test_a_product_that_was_marked_by_sql_gets_its_block_with_its_levels() -> None:
    product = factories.product({SP: 5})
    Product.objects.filter(pk=product.pk).update(is_blocked=True)
    block = blocking.block_product(product.pk, reason="recall", actor="ana")
    assert (block.reason, block.blocked_by, block.lifted_at) == ("recall", "ana", None)
    assert SalesBlock.objects.get() == block
    assert marks() == {(str(product.pk), SP): (True, False, 2)}


def test_a_product_that_was_marked_by_sql_can_be_unblocked() -> None:
    product = factories.product({SP: 5})
    Product.objects.filter(pk=product.pk).update(is_blocked=True)
    StockLevel.objects.update(is_blocked=True)
    block = blocking.unblock_product(product.pk, reason="checked", actor="bob")
    assert block is not None
    assert (block.reason, block.blocked_by, block.lifted_reason, block.lifted_by) == ("", "unknown", "checked", "bob")
    assert Product.objects.get(pk=product.pk).is_blocked is False
    assert marks() == {(str(product.pk), SP): (False, False, 2)}


def test_a_second_block_answers_with_the_open_one_and_changes_nothing() -> None:
    product = factories.product({SP: 5})
    block = blocking.block_product(product.pk, reason="recall", actor="ana")
    with records.no_trace():
        again = blocking.block_product(product.pk, reason="another reason", actor="bob")
    assert (again.pk, again.reason, again.blocked_by) == (block.pk, "recall", "ana")


def test_a_lifted_block_stays_as_history_and_a_later_one_is_a_row_of_its_own() -> None:
    product = factories.product({SP: 5})
    blocking.block_product(product.pk, reason="recall", actor="ana")
    lifted = blocking.unblock_product(product.pk, reason="checked", actor="bob")
    assert lifted is not None
    assert lifted.lifted_at is not None
    assert lifted.lifted_at > lifted.blocked_at
    blocking.block_product(product.pk, reason="recall again", actor="eve")
    history = SalesBlock.objects.order_by("id").values_list("reason", "blocked_by", "lifted_reason", "lifted_by")
    assert list(history) == [("recall", "ana", "checked", "bob"), ("recall again", "eve", "", "")]
    assert marks() == {(str(product.pk), SP): (True, False, 4)}


def test_lifting_where_nothing_is_blocked_changes_nothing() -> None:
    product = factories.product({SP: 5})
    with records.no_trace():
        assert blocking.unblock_product(product.pk, reason="checked", actor=ACTOR) is None


def test_an_unblocked_product_is_sold_again() -> None:
    product = factories.product({SP: 5})
    blocking.block_product(product.pk, reason="recall", actor=ACTOR)
    blocking.unblock_product(product.pk, reason="checked", actor=ACTOR)
    assert Product.objects.get(pk=product.pk).is_blocked is False
    factories.hold(product.pk, 5)
    assert factories.numbers(product.pk) == (0, 5, 0)


def test_closing_marks_every_level_of_the_warehouse_and_reopening_unmarks_it() -> None:
    first, second = factories.product({SP: 5, RJ: 5}), factories.product({SP: 5})
    blocking.close_warehouse(SP, actor=ACTOR)
    assert marks() == {
        (str(first.pk), SP): (False, True, 2),
        (str(first.pk), RJ): (False, False, 1),
        (str(second.pk), SP): (False, True, 2),
    }
    assert set(Warehouse.objects.values_list("id", "is_active")) == {(SP, False), (RJ, True)}
    blocking.reopen_warehouse(SP, actor=ACTOR)
    assert marks() == {
        (str(first.pk), SP): (False, False, 3),
        (str(first.pk), RJ): (False, False, 1),
        (str(second.pk), SP): (False, False, 3),
    }
    factories.hold(second.pk, 5, SP)


def test_closing_twice_marks_once() -> None:
    product = factories.product({SP: 5})
    blocking.close_warehouse(SP, actor=ACTOR)
    blocking.close_warehouse(SP, actor=ACTOR)
    assert marks() == {(str(product.pk), SP): (False, True, 2)}


def test_closing_goes_in_chunks_and_leaves_no_level_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "CLOSING_CHUNK", 2)
    products = [factories.product({SP: 1}) for _ in range(5)]
    blocking.close_warehouse(SP, actor=ACTOR)
    assert marks() == {(str(product.pk), SP): (False, True, 2) for product in products}


def test_what_is_held_can_be_confirmed_though_blocked_and_closed() -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 2)
    blocking.block_product(product.pk, reason="recall", actor=ACTOR)
    blocking.close_warehouse(SP, actor=ACTOR)
    confirmed = lifecycle.one(lifecycle.confirm_many, Confirm(reservation_id=held.id, actor=ACTOR))
    assert confirmed.hold.status == "CONFIRMED"
    assert factories.numbers(product.pk) == (3, 0, 0)


def test_what_does_not_exist_is_neither_blocked_nor_closed() -> None:
    with records.no_trace():
        for verb in (blocking.block_product, blocking.unblock_product):
            with pytest.raises(NotFound):
                verb(uuid4(), reason="recall", actor=ACTOR)
        for turn in (blocking.close_warehouse, blocking.reopen_warehouse):
            with pytest.raises(NotFound):
                turn("wh-none", actor=ACTOR)
