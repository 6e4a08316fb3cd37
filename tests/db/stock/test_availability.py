"""What can be sold now, as it is read from the database; tests/integration/counters has the reads from the counters."""

from uuid import uuid4

import pytest
from pytest_django import DjangoAssertNumQueries

from inventory_project.foundation.database import database_now
from inventory_project.foundation.errors import Invalid, NotFound
from stock import availability, blocking
from stock.availability import State, WarehouseAvailability
from tests import factories
from tests.factories import ACTOR, PR, RJ, SP

pytestmark = pytest.mark.usefixtures("books")


def test_a_products_numbers_are_summed_over_its_warehouses_and_shown_by_warehouse() -> None:
    product = factories.product({SP: 5, RJ: 7})
    factories.hold(product.pk, 2, SP)
    found = availability.of_product(product.pk)
    assert (found.product_id, found.available, found.incoming, found.source) == (product.pk, 10, 0, "database")
    assert found.warehouses == [
        WarehouseAvailability(warehouse_id=RJ, available=7, reserved=0, incoming=0),
        WarehouseAvailability(warehouse_id=SP, available=3, reserved=2, incoming=0),
    ]
    assert found.is_sufficient is None


def test_one_warehouse_alone_can_be_asked_for() -> None:
    product = factories.product({SP: 5, RJ: 7})
    found = availability.of_product(product.pk, warehouse_id=SP)
    assert found.available == 5
    assert [place.warehouse_id for place in found.warehouses] == [SP]


def test_a_warehouse_where_it_is_not_stocked_has_none_of_it() -> None:
    product = factories.product({SP: 5})
    factories.warehouse(PR)
    found = availability.of_product(product.pk, warehouse_id=PR)
    assert (found.available, found.state, found.warehouses) == (0, "out_of_stock", [])


@pytest.mark.parametrize(("quantity", "is_sufficient"), [(1, True), (12, True), (13, False)])
def test_a_quantity_is_sufficient_over_all_warehouses_together(quantity: int, is_sufficient: bool) -> None:
    product = factories.product({SP: 5, RJ: 7})
    assert availability.of_product(product.pk, quantity=quantity).is_sufficient is is_sufficient


@pytest.mark.parametrize(
    ("stock", "held", "threshold", "state"),
    [
        ({}, 0, 10, "out_of_stock"),
        ({SP: 5, RJ: 5}, 0, 10, "in_stock"),
        ({SP: 5, RJ: 5}, 1, 10, "low_stock"),
        ({SP: 5, RJ: 5}, 10, 10, "reserved"),
    ],
)
def test_the_state_looks_at_the_products_total(stock: dict[str, int], held: int, threshold: int, state: State) -> None:
    product = factories.product(stock, low_stock_threshold=threshold)
    if held:
        factories.hold(product.pk, held)
    assert availability.of_product(product.pk).state == state


def test_a_blocked_product_shows_nothing_available_though_it_is_there() -> None:
    product = factories.product({SP: 5})
    factories.hold(product.pk, 2)
    blocking.block_product(product.pk, reason="recall", actor=ACTOR)
    found = availability.of_product(product.pk, quantity=1)
    assert (found.available, found.state, found.is_sufficient) == (0, "blocked", False)
    assert found.warehouses == [WarehouseAvailability(warehouse_id=SP, available=0, reserved=2, incoming=0)]


def test_a_closed_warehouse_counts_for_nothing_and_the_others_count() -> None:
    product = factories.product({SP: 5, RJ: 20})
    blocking.close_warehouse(RJ, actor=ACTOR)
    found = availability.of_product(product.pk)
    assert (found.available, found.state) == (5, "low_stock")
    assert [(place.warehouse_id, place.available) for place in found.warehouses] == [(RJ, 0), (SP, 5)]


def test_an_unknown_product_is_not_found_and_an_unknown_warehouse_is_named() -> None:
    product = factories.product({SP: 5})
    with pytest.raises(NotFound):
        availability.of_product(uuid4())
    with pytest.raises(Invalid) as refusal:
        availability.of_product(product.pk, warehouse_id="wh-none")
    assert refusal.value.extra == {"unknown": {"product_ids": [], "warehouse_ids": ["wh-none"]}}


def test_many_products_come_in_the_order_asked_and_as_often() -> None:
    products = [factories.product({SP: units}) for units in (3, 1, 2)]
    asked = [products[1].pk, products[0].pk, products[1].pk, products[2].pk]
    found = availability.of_products(asked)
    assert [(one.product_id, one.available) for one in found] == [
        (products[1].pk, 1),
        (products[0].pk, 3),
        (products[1].pk, 1),
        (products[2].pk, 2),
    ]


def test_all_unknown_products_are_named() -> None:
    product = factories.product({SP: 5})
    unknown = [uuid4(), uuid4()]
    with pytest.raises(Invalid) as refusal:
        availability.of_products([unknown[0], product.pk, unknown[1]])
    assert refusal.value.code == "unknown_ids"
    assert refusal.value.extra == {"unknown": {"product_ids": sorted(map(str, unknown)), "warehouse_ids": []}}


def test_a_read_takes_two_statements_for_one_product_as_for_many(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    products = [factories.product({SP: 1, RJ: 1}) for _ in range(20)]
    with django_assert_num_queries(2):  # clock, rows
        availability.of_product(products[0].pk)
    with django_assert_num_queries(2):
        availability.of_products([product.pk for product in products])


def test_what_is_read_is_as_of_the_moment_or_newer() -> None:
    product = factories.product({SP: 1})
    began = database_now()
    assert began <= availability.of_product(product.pk).as_of <= database_now()
