"""The only writer of quantities, and what the database itself refuses."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import Error, IntegrityError, connection, transaction

from inventory_project.foundation.database import database_now
from stock import ledger
from stock.models import SalesBlock, StockDocument, StockDocumentLine, StockLevel, StockMovement
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, RJ, SP

pytestmark = pytest.mark.usefixtures("books")


def posting(product_id: Any, **deltas: Any) -> ledger.Posting:
    return ledger.Posting(
        **{"kind": ledger.Kind.ADJUSTMENT, "product_id": product_id, "warehouse_id": SP, "actor": ACTOR, **deltas}
    )


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize(
    "statement", ["UPDATE stock_movement SET available_delta = available_delta + 1", "DELETE FROM stock_movement"]
)
def test_a_movement_is_never_changed_and_never_deleted(statement: str) -> None:
    factories.product({SP: 5})
    with records.no_trace(), pytest.raises(Error, match="stock_movement is append-only") as refusal:
        execute(statement)
    assert getattr(refusal.value.__cause__, "sqlstate", None) == "23001"


def test_a_posting_below_zero_is_refused_and_says_what_was_asked_and_what_is_there() -> None:
    product = factories.product({SP: 5})
    with records.no_trace(), transaction.atomic():
        levels = ledger.lock([product.pk])
        with pytest.raises(ledger.InsufficientStock) as refusal:
            ledger.post(levels, posting(product.pk, available=-6))
        assert (levels.at(product.pk, SP).available, levels.at(product.pk, SP).replenished) == (5, 5)
        assert levels.postings == []
    assert refusal.value.extra == {
        "shortages": [{"product_id": str(product.pk), "warehouse_id": SP, "requested": 6, "available": 5}]
    }


@pytest.mark.parametrize("deltas", [{"reserved": -1}, {"incoming": -1}, {"available": 1, "reserved": -1}])
def test_neither_reserved_nor_incoming_goes_below_zero(deltas: dict[str, int]) -> None:
    product = factories.product({SP: 5})
    with records.no_trace(), transaction.atomic(), pytest.raises(ledger.InsufficientStock):
        ledger.post(ledger.lock([product.pk]), posting(product.pk, **deltas))


def test_postings_are_seen_by_later_ones_and_written_as_one_change_of_the_level() -> None:
    product = factories.product({SP: 5})
    version = StockLevel.objects.get(product=product).version
    with transaction.atomic():
        levels = ledger.lock([product.pk])
        ledger.post(levels, posting(product.pk, available=-5))
        with pytest.raises(ledger.InsufficientStock):
            ledger.post(levels, posting(product.pk, available=-1))
        ledger.post(levels, posting(product.pk, available=2))
        ledger.post(levels, posting(product.pk, available=3))
        ledger.write(levels, at=database_now())
    level = StockLevel.objects.get(product=product)
    assert (level.available, level.version) == (5, version + 1)
    assert [row[2] for row in records.movements(product.pk)] == [5, -5, 2, 3]


def history(product_id: UUID) -> list[tuple[Any, ...]]:
    """Of each movement at one warehouse, in the order of its numbers: number, what moved, and the numbers after it."""
    columns = ("number", "available_delta", "reserved_delta", "available_after", "reserved_after", "incoming_after")
    return list(
        StockMovement.objects.filter(product_id=product_id, warehouse_id=SP).order_by("number").values_list(*columns)
    )


def test_the_history_of_a_level_is_a_chain_of_numbered_movements_each_with_the_numbers_after_it() -> None:
    product = factories.product({SP: 10, RJ: 3})
    held = factories.hold(product.pk, 4, SP)
    verbs.confirm(held)
    verbs.give_back(held)
    factories.adjust(product.pk, SP, -1)
    assert history(product.pk) == [
        (1, 10, 0, 10, 0, 0),
        (2, -4, 4, 6, 4, 0),
        (3, 0, -4, 6, 0, 0),
        (4, 4, 0, 10, 0, 0),
        (5, -1, 0, 9, 0, 0),
    ]
    levels = StockLevel.objects.filter(product=product).order_by("warehouse_id")
    assert list(levels.values_list("last_movement", flat=True)) == [1, 5]


def test_several_movements_of_one_transaction_follow_each_other_in_one_step_of_the_version() -> None:
    product = factories.product({SP: 10})
    version = StockLevel.objects.get().version
    post_all(posting(product.pk, available=-5), posting(product.pk, available=2), posting(product.pk, available=3))
    assert [(row[0], row[3]) for row in history(product.pk)] == [(1, 10), (2, 5), (3, 7), (4, 10)]
    assert StockLevel.objects.values_list("version", "last_movement").get() == (version + 1, 4)


def test_a_posting_that_is_refused_takes_no_number() -> None:
    product = factories.product({SP: 10})
    with transaction.atomic():
        levels = ledger.lock([product.pk])
        with pytest.raises(ledger.InsufficientStock):
            ledger.post(levels, posting(product.pk, available=-11))
    factories.hold(product.pk)
    assert [row[0] for row in history(product.pk)] == [1, 2]


def test_the_database_refuses_a_second_movement_with_a_number_of_a_level() -> None:
    factories.product({SP: 5})
    twin = StockMovement.objects.get()
    twin.pk = uuid4()
    with records.no_trace(), pytest.raises(IntegrityError, match='"stock_movement_has_a_number_of_its_own"'):
        twin.save(force_insert=True)


def test_a_level_that_was_locked_but_not_posted_to_stays_as_it_is() -> None:
    product = factories.product({SP: 5, RJ: 5})
    at_rio = StockLevel.objects.filter(warehouse_id=RJ).values()
    before = at_rio.get()
    factories.hold(product.pk, 1, SP)
    assert at_rio.get() == before


@pytest.mark.parametrize(
    "call",
    [
        lambda: ledger.lock([uuid4()]),
        lambda: ledger.create([uuid4()], SP),
        lambda: ledger.lock_products_and_warehouses([uuid4()], [SP]),
        lambda: ledger.write(ledger.LockedLevels(is_whole=True), at=database_now()),
    ],
)
def test_the_ledger_refuses_to_work_outside_a_transaction(call: Callable[[], object]) -> None:
    with pytest.raises(transaction.TransactionManagementError, match="inside a transaction of its caller"):
        call()


def replenished(product_id: UUID, warehouse_id: str = SP) -> int:
    """What the level says that was on hand after its last replenishment, corrected since."""
    return StockLevel.objects.values_list("replenished", flat=True).get(
        product_id=product_id, warehouse_id=warehouse_id
    )


def post_all(*postings: ledger.Posting) -> None:
    """Post these in one transaction, as one journey does."""
    with transaction.atomic():
        levels = ledger.lock([one.product_id for one in postings])
        for one in postings:
            ledger.post(levels, one)
        ledger.write(levels, at=database_now())


def test_a_receipt_sets_what_is_replenished_to_the_units_on_hand() -> None:
    product = factories.product({SP: 10, RJ: 4})
    assert (replenished(product.pk), replenished(product.pk, RJ)) == (10, 4)
    verbs.confirm(factories.hold(product.pk, 3, SP))
    factories.hold(product.pk, 2, SP)
    factories.receive(product.pk, SP, 20)
    assert factories.numbers(product.pk) == (25, 2, 0)
    assert (replenished(product.pk), replenished(product.pk, RJ)) == (27, 4)


def test_neither_a_hold_nor_its_end_nor_a_return_changes_what_is_replenished() -> None:
    product = factories.product({SP: 10})
    seen = [replenished(product.pk)]
    sold, cancelled, expired = (factories.hold(product.pk, 2) for _ in range(3))
    seen.append(replenished(product.pk))
    verbs.confirm(sold)
    verbs.cancel(cancelled)
    verbs.expire(expired)
    seen.append(replenished(product.pk))
    verbs.give_back(sold)
    seen.append(replenished(product.pk))
    kinds = {row[0] for row in records.movements(product.pk)}
    assert kinds == {"RECEIPT", "RESERVE", "CONFIRM", "RELEASE", "RETURN"}
    assert (seen, factories.numbers(product.pk)) == ([10, 10, 10, 10], (10, 0, 0))


@pytest.mark.parametrize(("delta", "left"), [(-5, 5), (-10, 0), (3, 13)])
def test_an_adjustment_moves_what_is_replenished_as_far_as_the_stock(delta: int, left: int) -> None:
    product = factories.product({SP: 10})
    factories.adjust(product.pk, SP, delta)
    assert (factories.numbers(product.pk), replenished(product.pk)) == ((left, 0, 0), left)


def test_an_adjustment_keeps_what_was_sold_before_it_in_mind() -> None:
    product = factories.product({SP: 10})
    verbs.confirm(factories.hold(product.pk, 4))
    factories.adjust(product.pk, SP, -5)
    assert (factories.numbers(product.pk), replenished(product.pk)) == ((1, 0, 0), 5)


def test_an_adjustment_never_brings_what_is_replenished_below_zero() -> None:
    product = factories.product({SP: 10})
    sold = factories.hold(product.pk, 10)
    verbs.confirm(sold)
    factories.receive(product.pk, SP, 2)
    verbs.give_back(sold)  # of what was there before that receipt
    assert (factories.numbers(product.pk), replenished(product.pk)) == ((12, 0, 0), 2)
    factories.adjust(product.pk, SP, -5)
    assert (factories.numbers(product.pk), replenished(product.pk)) == ((7, 0, 0), 0)


def test_a_receipt_of_nothing_that_can_be_sold_replenishes_nothing() -> None:
    product = factories.product({SP: 10})
    factories.hold(product.pk, 4)
    post_all(posting(product.pk, kind=ledger.Kind.RECEIPT, incoming=3))
    assert (factories.numbers(product.pk), replenished(product.pk)) == ((6, 4, 3), 10)


def test_of_several_postings_each_goes_on_from_what_the_one_before_replenished() -> None:
    product = factories.product({SP: 10})
    verbs.confirm(factories.hold(product.pk, 4))
    post_all(posting(product.pk, kind=ledger.Kind.RECEIPT, available=5), posting(product.pk, available=-5))
    for kind, units in (("RECEIPT", 5), ("ADJUSTMENT", -5)):
        document = StockDocument.objects.create(kind=kind, warehouse_id=SP, actor=ACTOR, created_at=database_now())
        StockDocumentLine.objects.create(document=document, product=product, quantity=units)
    assert (factories.numbers(product.pk), replenished(product.pk)) == ((6, 0, 0), 6)


def test_levels_are_locked_in_the_order_of_product_then_warehouse() -> None:
    first, second = sorted([factories.product({SP: 1, RJ: 1}), factories.product({RJ: 1, SP: 1})], key=lambda p: p.pk)
    with transaction.atomic():
        levels = ledger.lock([second.pk, first.pk])
    assert list(levels.by_key) == [(first.pk, RJ), (first.pk, SP), (second.pk, RJ), (second.pk, SP)]


@pytest.mark.parametrize(
    ("column", "constraint"),
    [
        ("available", "stock_level_never_promises_what_it_lacks"),
        ("reserved", "stock_level_never_releases_what_is_not_held"),
        ("incoming", "stock_level_never_receives_what_is_not_coming"),
        ("replenished", "stock_level_is_never_replenished_to_less_than_nothing"),
    ],
)
def test_the_database_refuses_a_number_below_zero(column: str, constraint: str) -> None:
    product = factories.product({SP: 5})
    with records.no_trace(), pytest.raises(IntegrityError, match=f'"{constraint}"'):
        StockLevel.objects.filter(product=product).update(**{column: -1})


def test_the_database_refuses_a_second_row_for_a_place() -> None:
    product = factories.product({SP: 5})
    with records.no_trace(), pytest.raises(IntegrityError, match='"stock_level_is_one_row_for_each_place"'):
        StockLevel.objects.create(product=product, warehouse_id=SP, updated_at=database_now())


def test_the_database_refuses_a_second_movement_of_a_line_of_one_kind() -> None:
    product = factories.product({SP: 5})
    line = factories.hold(product.pk, 2).lines[0]
    twin = StockMovement.objects.get(line_id=line.id)
    twin.pk, twin.number = uuid4(), None
    with records.no_trace(), pytest.raises(IntegrityError, match='"stock_movement_of_a_line_happens_once"'):
        twin.save(force_insert=True)


def test_the_database_refuses_a_second_document_of_a_reference_and_a_second_line_of_a_product() -> None:
    product = factories.product({SP: 5})
    document = StockDocument.objects.get()
    with records.no_trace():
        with pytest.raises(IntegrityError, match='"stock_document_names_a_product_once"'):
            StockDocumentLine.objects.create(document=document, product=product, quantity=1)
        document.pk = None
        with pytest.raises(IntegrityError, match='"stock_document_has_a_reference_of_its_own"'):
            document.save(force_insert=True)


def test_the_database_refuses_a_second_open_block() -> None:
    product = factories.product()
    block = SalesBlock(product=product, reason="recall", blocked_by=ACTOR, blocked_at=database_now())
    block.save()
    block.pk = None
    with records.no_trace(), pytest.raises(IntegrityError, match='"sales_block_is_open_once_for_a_product"'):
        block.save(force_insert=True)
