"""How the orders were served, in exact figures: of one contender, and compared with another."""

from collections import Counter
from uuid import UUID

import pytest

from reservations.analysis.simulation.figures import Figures
from tests.unit.reservations.analysis.simulation.scene import KM, PRIORITY, RJ, SP, TO_RJ, contender, order, run
from warehouses.allocation.policies import Policy


def test_the_figures_of_a_hundred_orders_are_exact() -> None:
    tried = contender({SP: 94, RJ: 100})
    orders = [order(id_=UUID(int=100 + i)) for i in range(100)]  # to São Paulo, where the last six find nothing
    run([*orders, order(to="")], tried)
    total = tried.total
    assert (total.orders, total.served, total.parcels, total.unplaced) == (101, 101, {SP: 94, RJ: 7}, 1)
    assert total.distances == {0.0: 94, KM: 6}
    assert total.mean_km == pytest.approx(6 * KM / 100)
    assert (total.p95_km, total.parcels_per_order) == (KM, 1.0)
    assert tried.stock.shares_taken() == {RJ: pytest.approx(0.07), SP: 1.0}
    assert {region: figures.orders for region, figures in tried.by_region.items()} == {"south": 100, "": 1}


def test_95_of_100_are_within_the_distance_of_the_95th() -> None:
    for far, expected in ((4, 10.0), (5, 10.0), (6, 900.0), (100, 900.0)):
        figures = Figures(distances=Counter({900.0: far, 10.0: 100 - far}))
        assert figures.p95_km == expected, far
    assert Figures(distances=Counter({7.5: 1})).p95_km == 7.5


def test_without_an_order_served_there_is_no_mean() -> None:
    figures = Figures(orders=1, refused=Counter({"stock": 1}))
    assert (figures.parcels_per_order, figures.mean_km, figures.p95_km) == (None, None, None)


def test_the_differences_are_counted_against_one_contender() -> None:
    stock = {SP: 5, RJ: 1}
    near, first, whole = contender(stock), contender(stock, PRIORITY), contender(stock, Policy())
    # Both served, from others; both alike; first has 2 left where near has 3; only whole may split a line.
    run([order(to=TO_RJ), order(2), order(3), order(1, to=TO_RJ)], near, first, whole)
    assert [one.total.served for one in (near, first, whole)] == [3, 3, 3]
    assert near.differences.total == 0
    assert (first.differences.moved, first.differences.gained, first.differences.lost) == (1, 1, 1)
    assert (whole.differences.moved, whole.differences.gained, whole.differences.lost) == (0, 0, 0)
