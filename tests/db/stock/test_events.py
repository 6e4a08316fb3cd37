"""Stock events: fired when a level crosses a threshold over a whole transaction, not on each sale."""

from typing import Any

import pytest
from pytest_django import Settings

from reservations import lifecycle
from stock import blocking, catalogue, documents
from stock.catalogue import ProductRequest
from stock.documents import DocumentRequest, Kind
from stock.models import Product
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, RJ, SP, reserve_request

pytestmark = pytest.mark.usefixtures("books")

STOCK_EVENTS = ("inventory.low_stock", "inventory.out_of_stock", "inventory.back_in_stock")


def stock_events(*, after: int = 0) -> list[tuple[str, str, str | None, dict[str, Any]]]:
    return [event for event in records.events(after=after) if event[0] in STOCK_EVENTS]


def adjust(product: Product, delta: int, reference: str, warehouse_id: str = SP) -> None:
    documents.book(
        DocumentRequest(
            kind=Kind.ADJUSTMENT,
            reference=reference,
            warehouse_id=warehouse_id,
            items=((product.pk, delta),),
            actor=ACTOR,
        )
    )


def event(name: str, product: Product, available: int, version: int, threshold: int = 3) -> Any:
    return (
        f"inventory.{name}",
        f"{product.pk}/{SP}",
        None,
        {
            "product_id": str(product.pk),
            "warehouse_id": SP,
            "available": available,
            "threshold": threshold,
            "version": version,
        },
    )


def test_a_first_receipt_brings_a_level_in_stock() -> None:
    product = factories.product({SP: 5}, low_stock_threshold=3)
    assert stock_events() == [event("back_in_stock", product, 5, 1)]


def test_each_crossing_is_told_once_with_the_levels_number_threshold_and_version() -> None:
    product = factories.product({SP: 5}, low_stock_threshold=3)
    start = records.last_event()
    holds = [factories.hold(product.pk) for _ in range(5)]  # 4 3 2 1 0
    assert stock_events(after=start) == [
        event("low_stock", product, 2, 4),
        event("out_of_stock", product, 0, 6),
    ]
    start = records.last_event()
    for held in holds:  # 1 2 3 4 5
        verbs.cancel(held)
    assert stock_events(after=start) == [event("back_in_stock", product, 1, 7)]
    factories.hold(product.pk, 2)  # 3 is not below 3
    assert len(stock_events(after=start)) == 1
    factories.hold(product.pk, 1)
    assert stock_events(after=start)[1:] == [event("low_stock", product, 2, 13)]


def test_from_ample_to_nothing_is_out_of_stock_and_not_also_low() -> None:
    product = factories.product({SP: 5}, low_stock_threshold=3)
    start = records.last_event()
    factories.hold(product.pk, 5)
    assert stock_events(after=start) == [event("out_of_stock", product, 0, 2)]


def test_a_confirmed_sale_crosses_nothing() -> None:
    product = factories.product({SP: 5}, low_stock_threshold=3)
    held = factories.hold(product.pk, 5)
    start = records.last_event()
    verbs.confirm(held)
    assert records.event_types(after=start) == ["inventory.confirmed"]


def test_a_batch_tells_only_what_its_end_says() -> None:
    product = factories.product({SP: 5}, low_stock_threshold=3)
    start = records.last_event()
    lifecycle.reserve_many([reserve_request(product.pk) for _ in range(5)])
    assert records.event_types(after=start) == ["inventory.reserved"] * 5 + ["inventory.out_of_stock"]
    assert stock_events(after=start) == [event("out_of_stock", product, 0, 2)]


def test_what_a_transaction_takes_and_gives_back_is_netted() -> None:
    product = factories.product({SP: 5}, low_stock_threshold=3)
    held = factories.hold(product.pk, 5)
    verbs.expire(held)
    start = records.last_event()
    verbs.pay(held.order_id)  # reserves and confirms in one transaction
    assert stock_events(after=start) == [event("out_of_stock", product, 0, 4)]


def test_each_level_of_an_order_crosses_for_itself() -> None:
    product = factories.product({SP: 5, RJ: 5}, low_stock_threshold=3)
    start = records.last_event()
    factories.hold(product.pk, 8)
    told = {(name, subject, data["available"]) for name, subject, _, data in stock_events(after=start)}
    assert told == {
        ("inventory.low_stock", f"{product.pk}/{SP}", 2),
        ("inventory.out_of_stock", f"{product.pk}/{RJ}", 0),
    }


def test_adjustments_and_receipts_cross_as_sales_do() -> None:
    product = factories.product({SP: 5}, low_stock_threshold=3)
    start = records.last_event()
    adjust(product, -3, "a")
    adjust(product, -2, "b")
    factories.receive(product.pk, SP, 2)
    factories.receive(product.pk, SP, 3)
    assert stock_events(after=start) == [
        event("low_stock", product, 2, 2),
        event("out_of_stock", product, 0, 3),
        event("back_in_stock", product, 2, 4),
    ]


def test_without_a_threshold_of_its_own_a_level_crosses_the_services(settings: Settings) -> None:
    settings.LOW_STOCK_THRESHOLD = 4
    product = factories.product({SP: 5})
    start = records.last_event()
    factories.hold(product.pk, 2)
    assert stock_events(after=start) == [event("low_stock", product, 3, 2, threshold=4)]


def test_a_threshold_of_0_means_that_nothing_is_ever_low() -> None:
    product = factories.product({SP: 2}, low_stock_threshold=0)
    start = records.last_event()
    factories.hold(product.pk, 1)
    factories.hold(product.pk, 1)
    assert stock_events(after=start) == [event("out_of_stock", product, 0, 3, threshold=0)]


def test_what_cannot_be_bought_is_not_back_in_stock_until_it_can_be() -> None:
    product = factories.product({SP: 5}, low_stock_threshold=3)
    held = factories.hold(product.pk, 5)
    blocking.close_warehouse(SP, actor=ACTOR)
    start = records.last_event()

    verbs.cancel(held)
    factories.receive(product.pk, SP, 2)

    assert stock_events(after=start) == []
    blocking.reopen_warehouse(SP, actor=ACTOR)
    assert stock_events(after=start) == [event("back_in_stock", product, 7, 6)]


def test_a_block_ends_what_can_be_bought_and_its_end_brings_it_back() -> None:
    product, empty = factories.product({SP: 5}, low_stock_threshold=3), factories.product({SP: 1})
    factories.hold(empty.pk, 1)
    start = records.last_event()

    for each in (product, empty):
        blocking.block_product(each.pk, reason="recall", actor=ACTOR)
    adjust(product, -3, "a")
    blocking.block_product(product.pk, reason="again", actor=ACTOR)
    for each in (product, empty):
        blocking.unblock_product(each.pk, reason="over", actor=ACTOR)

    assert stock_events(after=start) == [
        event("out_of_stock", product, 0, 2),
        event("back_in_stock", product, 2, 4),
    ]


def test_a_blocked_product_at_a_warehouse_that_is_opened_again_stays_out_of_stock() -> None:
    product = factories.product({SP: 5}, low_stock_threshold=3)
    blocking.block_product(product.pk, reason="recall", actor=ACTOR)
    blocking.close_warehouse(SP, actor=ACTOR)
    start = records.last_event()

    blocking.reopen_warehouse(SP, actor=ACTOR)

    assert stock_events(after=start) == []


def test_a_new_threshold_is_no_event() -> None:
    product = factories.product({SP: 5}, low_stock_threshold=3)
    start = records.last_event()

    catalogue.put(ProductRequest(product_id=product.pk, sku=product.sku, name=product.name, low_stock_threshold=9))

    assert stock_events(after=start) == []
