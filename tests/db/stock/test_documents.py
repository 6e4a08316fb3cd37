"""Receipts and adjustments: booked once, wholly or not at all."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries, Settings

from inventory_project.foundation.errors import Invalid
from stock import blocking, documents, ledger
from stock.documents import DocumentRequest, Kind
from stock.models import Product, StockDocument, StockLevel
from tests import factories
from tests.db.stock import records
from tests.factories import ACTOR, RJ, SP

pytestmark = pytest.mark.usefixtures("books")


def document(kind: Kind, *items: tuple[UUID, int], **changes: Any) -> DocumentRequest:
    return DocumentRequest(
        **{"kind": kind, "reference": "doc-1", "warehouse_id": SP, "items": items, "actor": ACTOR, **changes}
    )


def empty_level_for(product: Product) -> None:
    """The level that a document creates, if it needs one, before it is decided."""
    with transaction.atomic():
        ledger.create([product.pk], SP)


def test_a_receipt_adds_to_what_is_available_and_is_kept_with_its_movements() -> None:
    factories.warehouse()
    first, second = factories.product(), factories.product()
    booked = documents.book(document(Kind.RECEIPT, (first.pk, 3), (second.pk, 4), reason="delivery"))
    assert booked.is_replay is False
    assert (booked.kind, booked.reference, booked.warehouse_id, booked.reason) == (
        Kind.RECEIPT,
        "doc-1",
        SP,
        "delivery",
    )
    assert booked.items == ((first.pk, 3), (second.pk, 4))
    assert factories.numbers(first.pk) == (3, 0, 0)
    assert factories.numbers(second.pk) == (4, 0, 0)
    assert records.movements(first.pk) == [("RECEIPT", SP, 3, 0, "doc-1")]
    kept = StockDocument.objects.get()
    assert (kept.kind, kept.reference, kept.reason, kept.actor, kept.created_at) == (
        "RECEIPT",
        "doc-1",
        "delivery",
        ACTOR,
        booked.created_at,
    )


def test_a_level_comes_into_being_with_its_first_movement_at_version_1() -> None:
    factories.warehouse()
    product = factories.product(low_stock_threshold=5)
    assert not StockLevel.objects.exists()
    documents.book(document(Kind.RECEIPT, (product.pk, 4)))
    level = StockLevel.objects.get()
    assert (level.available, level.version, level.is_low, level.low_stock_threshold) == (4, 1, True, 5)
    assert (level.is_blocked, level.is_closed) == (False, False)


def test_a_level_of_a_blocked_product_in_a_closed_warehouse_comes_into_being_blocked_and_closed() -> None:
    factories.warehouse()
    factories.warehouse(RJ)
    product, other = factories.product(), factories.product()
    blocking.block_product(product.pk, reason="recall", actor=ACTOR)
    blocking.close_warehouse(RJ, actor=ACTOR)
    documents.book(document(Kind.RECEIPT, (product.pk, 1), (other.pk, 1), warehouse_id=SP))
    documents.book(document(Kind.RECEIPT, (product.pk, 1), (other.pk, 1), warehouse_id=RJ, reference="doc-2"))
    assert set(StockLevel.objects.values_list("product_id", "warehouse_id", "is_blocked", "is_closed")) == {
        (product.pk, SP, True, False),
        (product.pk, RJ, True, True),
        (other.pk, SP, False, False),
        (other.pk, RJ, False, True),
    }


@pytest.mark.parametrize("kind", list(Kind))
def test_the_same_document_again_changes_nothing(kind: Kind) -> None:
    first, second = factories.product({SP: 5}), factories.product({SP: 5})
    request = document(kind, (first.pk, 3), (second.pk, 4), reason="count")
    booked = documents.book(request)
    with records.no_trace():
        again = documents.book(document(kind, (second.pk, 4), (first.pk, 3), reason="count", actor="somebody else"))
    assert again.is_replay is True
    assert again.created_at == booked.created_at
    assert factories.numbers(first.pk) == (8, 0, 0)


@pytest.mark.parametrize("change", ["quantity", "product", "fewer", "more", "warehouse", "reason"])
def test_a_reference_used_again_for_something_else_is_refused_without_a_trace(change: str) -> None:
    factories.warehouse(RJ)
    first, second, third = (factories.product({SP: 5}) for _ in range(3))
    documents.book(document(Kind.RECEIPT, (first.pk, 3), (second.pk, 4)))
    items: dict[str, tuple[tuple[UUID, int], ...]] = {
        "quantity": ((first.pk, 3), (second.pk, 5)),
        "product": ((first.pk, 3), (third.pk, 4)),
        "fewer": ((first.pk, 3),),
        "more": ((first.pk, 3), (second.pk, 4), (third.pk, 1)),
    }
    changes: dict[str, dict[str, str]] = {"warehouse": {"warehouse_id": RJ}, "reason": {"reason": "another"}}
    request = document(Kind.RECEIPT, *items.get(change, ((first.pk, 3), (second.pk, 4))), **changes.get(change, {}))
    with records.no_trace(), pytest.raises(documents.ReferenceConflict) as refusal:
        documents.book(request)
    assert refusal.value.code == "reference_conflict"


def test_a_receipt_and_an_adjustment_may_have_one_reference() -> None:
    product = factories.product({SP: 5})
    documents.book(document(Kind.RECEIPT, (product.pk, 3)))
    assert documents.book(document(Kind.ADJUSTMENT, (product.pk, -1))).is_replay is False
    assert factories.numbers(product.pk) == (7, 0, 0)


def test_an_adjustment_adds_and_takes() -> None:
    more, fewer = factories.product({SP: 5}), factories.product({SP: 5})
    documents.book(document(Kind.ADJUSTMENT, (more.pk, 2), (fewer.pk, -5), reason="count"))
    assert factories.numbers(more.pk) == (7, 0, 0)
    assert factories.numbers(fewer.pk) == (0, 0, 0)
    assert records.movements(fewer.pk)[-1] == ("ADJUSTMENT", SP, -5, 0, "doc-1")


def test_an_adjustment_that_takes_more_than_is_free_names_every_short_line_and_leaves_no_trace() -> None:
    held, short, ample, unstocked = (
        factories.product({SP: 5}),
        factories.product({SP: 1}),
        factories.product({SP: 9}),
        factories.product({RJ: 50}),
    )
    empty_level_for(unstocked)
    factories.hold(held.pk, 3)
    request = document(Kind.ADJUSTMENT, (ample.pk, -1), (unstocked.pk, -4), (short.pk, -2), (held.pk, -3))
    with records.no_trace(), pytest.raises(ledger.InsufficientStock) as refusal:
        documents.book(request)
    assert refusal.value.code == "insufficient_stock"
    expected = [(held.pk, 3, 2), (short.pk, 2, 1), (unstocked.pk, 4, 0)]
    assert refusal.value.extra == {
        "shortages": [
            {"product_id": str(product_id), "warehouse_id": SP, "requested": requested, "available": available}
            for product_id, requested, available in sorted(expected)
        ]
    }


def test_a_refused_document_leaves_at_most_an_empty_level() -> None:
    factories.warehouse()
    product = factories.product()
    with pytest.raises(ledger.InsufficientStock):
        documents.book(document(Kind.ADJUSTMENT, (product.pk, -1)))
    level = StockLevel.objects.get()
    assert (level.product_id, level.available, level.reserved, level.version) == (product.pk, 0, 0, 0)
    assert not StockDocument.objects.exists()


def test_only_a_document_that_needs_a_new_level_locks_the_product_and_the_warehouse() -> None:
    factories.warehouse()
    product = factories.product()
    locked = []
    for number in (1, 2):
        with CaptureQueriesContext(connection) as captured:
            documents.book(document(Kind.RECEIPT, (product.pk, 1), reference=f"doc-{number}"))
        sent = [query["sql"] for query in captured.captured_queries if " FOR " in query["sql"]]
        locked.append([sql.rpartition(" OF ")[2] for sql in sent])
    assert locked == [["stock_level", "stock_product", "warehouse", "stock_level"], ["stock_level"]]


@pytest.mark.parametrize("kind", list(Kind))
def test_unknown_products_and_an_unknown_warehouse_are_all_listed(kind: Kind) -> None:
    product = factories.product({SP: 5})
    unknown = [uuid4(), uuid4()]
    request = document(kind, (unknown[0], 1), (product.pk, 1), (unknown[1], 1), warehouse_id="wh-none")
    with records.no_trace(), pytest.raises(Invalid) as refusal:
        documents.book(request)
    assert refusal.value.code == "unknown_ids"
    assert refusal.value.extra == {"unknown": {"product_ids": sorted(map(str, unknown)), "warehouse_ids": ["wh-none"]}}


def test_a_document_that_makes_no_sense_is_refused(settings: Settings) -> None:
    settings.DOCUMENT_MAX_LINES, settings.DOCUMENT_MAX_QUANTITY = 2, 100
    first, second, third = (factories.product({SP: 5}) for _ in range(3))
    senseless = [
        document(Kind.RECEIPT),
        document(Kind.RECEIPT, (first.pk, 1), (second.pk, 1), (third.pk, 1)),
        document(Kind.RECEIPT, (first.pk, 1), (first.pk, 1)),
        document(Kind.RECEIPT, (first.pk, 0)),
        document(Kind.RECEIPT, (first.pk, -1)),
        document(Kind.RECEIPT, (first.pk, 101)),
        document(Kind.ADJUSTMENT, (first.pk, 0)),
        document(Kind.ADJUSTMENT, (first.pk, 101)),
        document(Kind.ADJUSTMENT, (first.pk, -101)),
    ]
    with records.no_trace():
        for request in senseless:
            with pytest.raises(Invalid) as refusal:
                documents.book(request)
            assert refusal.value.code == "invalid"


@pytest.mark.parametrize("number", [1, 10, 100])
def test_a_document_takes_as_many_statements_for_one_line_as_for_many(
    number: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    factories.warehouse()
    products = [factories.product() for _ in range(number)]
    first = document(Kind.RECEIPT, *[(product.pk, 5) for product in products])
    second = document(Kind.ADJUSTMENT, *[(product.pk, -1) for product in products])
    with django_assert_num_queries(23):  # levels are created, in a transaction of their own
        documents.book(first)
    with django_assert_num_queries(9):
        documents.book(second)
    with django_assert_num_queries(6):  # a replay
        documents.book(second)
