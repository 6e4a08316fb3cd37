"""What the counters ought to say: PostgreSQL writes the same text as the counters do, and no level is left out."""

from uuid import UUID, uuid4

import pytest
from django.db.models import F
from pytest_django import DjangoAssertNumQueries

from stock import availability, blocking
from stock.counters import copies, drift
from stock.counters.drift import Chunk
from stock.models import Product, StockLevel
from tests import factories
from tests.factories import ACTOR, PR, RJ, SP

pytestmark = pytest.mark.usefixtures("transactional_db")

MAX_NUMBER = 10**15 - 1  # what the counters can hold


@pytest.fixture
def stocked() -> list[UUID]:
    """Products of every kind: thresholds, blocks, a closed warehouse, large numbers, one and three levels, none."""
    kinds: list[tuple[dict[str, int], int | None]] = [
        ({SP: 5, RJ: 7, PR: 50}, None),
        ({SP: 1, PR: 30}, 25),
        ({RJ: 9}, 0),
        ({PR: 12}, None),
        ({SP: 40, RJ: 40, PR: 40}, 25),
        ({SP: 2}, None),
        ({SP: 3, RJ: 3}, 0),
        ({RJ: 8, PR: 8}, None),
        ({SP: 6}, 3),
        ({SP: 1, RJ: 2, PR: 3}, 0),
        ({RJ: 4}, 25),
    ]
    products = [factories.product(stock, low_stock_threshold=threshold) for stock, threshold in kinds]
    factories.warehouse(PR)
    factories.product()
    factories.hold(products[0].pk)
    for product in products[:3]:
        blocking.block_product(product.pk, reason="recall", actor=ACTOR)
    blocking.close_warehouse(PR, actor=ACTOR)
    StockLevel.objects.filter(product_id=products[4].pk).update(incoming=MAX_NUMBER, version=F("version") + 1)
    return [product.pk for product in products]


def test_the_text_is_that_of_the_counters_themselves(stocked: list[UUID]) -> None:
    views = availability.views_of(stocked)
    expected = drift.expected(drift.of(stocked))
    assert expected == {product_id: copies.expected_fields(views[product_id]) for product_id in stocked}
    assert len({fields["_"].partition(":")[2] for fields in expected.values()}) > 4
    assert {product_id: copies.from_fields(product_id, fields) for product_id, fields in expected.items()} == views


def test_a_product_without_a_level_or_without_a_row_has_no_counters(stocked: list[UUID]) -> None:
    assert drift.expected(drift.of([factories.product().pk, uuid4()])) == {}


def seen(chunks: list[Chunk]) -> list[UUID]:
    """The products in the order in which the chunks come to them."""
    return [product_id for chunk in chunks for product_id in sorted(drift.expected(chunk))]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_the_chunks_of_everything_have_each_product_once(
    stocked: list[UUID], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    nil = Product.objects.create(pk=UUID(int=0), sku="NIL", name="The least id of all")
    factories.receive(nil.pk, SP, 1)
    monkeypatch.setattr(drift, "CHUNK_LEVELS", size)
    chunks = list(drift.everything())
    assert seen(chunks) == sorted([*stocked, nil.pk])
    assert len(chunks) <= StockLevel.objects.count() // size + 1


@pytest.mark.parametrize("size", [1, 2, 1_000])
def test_the_chunks_of_a_warehouse_have_all_levels_of_what_it_stocks(
    stocked: list[UUID], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "CHUNK_PRODUCTS", size)
    products = sorted(StockLevel.objects.filter(warehouse_id=RJ).values_list("product_id", flat=True))
    assert 0 < len(products) < len(stocked)
    chunks = list(drift.stocked_at(RJ))
    assert seen(chunks) == products
    whole = drift.expected(drift.of(products))
    assert {id_: fields for chunk in chunks for id_, fields in drift.expected(chunk).items()} == whole


def test_where_there_is_nothing_nothing_is_expected() -> None:
    assert [drift.expected(chunk) for chunk in drift.everything()] == [{}]
    assert list(drift.stocked_at(SP)) == []


def test_a_chunk_takes_two_statements_however_many_levels_it_has(
    stocked: list[UUID], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(2):  # where it ends, and what it holds
        assert [len(drift.expected(chunk)) for chunk in drift.everything()] == [len(stocked)]
