"""Products as the shop's catalogue hands them in, and the low-stock marks that follow the threshold."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from stock import blocking, catalogue
from stock.catalogue import ProductRequest, SkuConflict
from stock.models import Product, StockLevel
from tests import factories
from tests.db.stock import records
from tests.factories import RJ, SP

pytestmark = pytest.mark.usefixtures("books")


def request(product_id: UUID, **changes: Any) -> ProductRequest:
    return ProductRequest(**{"product_id": product_id, "sku": "SKU-A", "name": "A", **changes})


def level_marks() -> list[tuple[str, bool, int | None, int]]:
    """Of each level, by warehouse: is_low, threshold, version."""
    columns = ("warehouse_id", "is_low", "low_stock_threshold", "version")
    return list(StockLevel.objects.order_by("warehouse_id").values_list(*columns))


def test_a_put_makes_a_product_then_changes_it() -> None:
    product_id = uuid4()
    made, is_new = catalogue.put(request(product_id))
    assert (made.pk, is_new) == (product_id, True)
    _, is_new = catalogue.put(request(product_id, sku="SKU-B", name="B", low_stock_threshold=0))
    assert is_new is False
    product = Product.objects.get()
    assert (product.pk, product.sku, product.name, product.low_stock_threshold) == (product_id, "SKU-B", "B", 0)
    assert product.created_at == made.created_at


def test_a_sku_belongs_to_one_product() -> None:
    first, second = uuid4(), uuid4()
    catalogue.put(request(first))
    catalogue.put(request(second, sku="SKU-B"))
    with records.no_trace():
        for product_id in (second, uuid4()):
            with pytest.raises(SkuConflict) as refusal:
                catalogue.put(request(product_id))
            assert refusal.value.code == "sku_conflict"


def test_a_put_does_not_lift_a_block() -> None:
    product = factories.product({SP: 5})
    blocking.block_product(product.pk, reason="recall", actor=factories.ACTOR)
    catalogue.put(request(product.pk))
    assert Product.objects.get().is_blocked is True


def test_another_threshold_marks_the_levels_anew_and_raises_their_version() -> None:
    product = factories.product({RJ: 5, SP: 20}, low_stock_threshold=6)
    assert level_marks() == [(RJ, True, 6, 1), (SP, False, 6, 1)]
    catalogue.put(request(product.pk, low_stock_threshold=21))
    assert level_marks() == [(RJ, True, 21, 2), (SP, True, 21, 2)]
    catalogue.put(request(product.pk, low_stock_threshold=5))
    assert level_marks() == [(RJ, False, 5, 3), (SP, False, 5, 3)]


def test_a_put_with_the_same_threshold_leaves_the_levels_alone() -> None:
    product = factories.product({SP: 5}, low_stock_threshold=6)
    catalogue.put(request(product.pk, name="New name", low_stock_threshold=6))
    assert level_marks() == [(SP, True, 6, 1)]


def test_without_a_threshold_of_its_own_a_product_has_the_services(settings: Settings) -> None:
    settings.LOW_STOCK_THRESHOLD = 10
    product = factories.product({RJ: 9, SP: 10}, low_stock_threshold=50)
    assert level_marks() == [(RJ, True, 50, 1), (SP, True, 50, 1)]
    catalogue.put(request(product.pk, low_stock_threshold=None))
    assert level_marks() == [(RJ, True, None, 2), (SP, False, None, 2)]


def test_a_sale_moves_the_mark_with_the_number() -> None:
    product = factories.product({SP: 7}, low_stock_threshold=6)
    factories.hold(product.pk, 1)
    assert level_marks() == [(SP, False, 6, 2)]
    factories.hold(product.pk, 1)
    assert level_marks() == [(SP, True, 6, 3)]


def test_marks_are_refreshed_after_the_services_threshold_has_changed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "MARK_CHUNK", 2)
    settings.LOW_STOCK_THRESHOLD = 10
    for units in (5, 9, 10, 11, 20):
        factories.product({SP: units})
    factories.product({SP: 5}, low_stock_threshold=3)
    settings.LOW_STOCK_THRESHOLD = 11
    assert catalogue.refresh_low_marks() == 1
    assert set(StockLevel.objects.filter(is_low=True).values_list("available", "version")) == {(5, 1), (9, 1), (10, 2)}
    settings.LOW_STOCK_THRESHOLD = 6
    assert catalogue.refresh_low_marks() == 2
    assert set(StockLevel.objects.filter(is_low=True).values_list("available", "version")) == {(5, 1)}
    with records.no_trace():
        assert catalogue.refresh_low_marks() == 0
