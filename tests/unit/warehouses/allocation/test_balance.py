"""Warehouses that are equally near take turns, by the share of their stock that was taken since it was replenished.

The loop keeps the numbers as the ledger does: what is reserved is no longer available, and a receipt starts anew.
"""

from dataclasses import dataclass
from uuid import UUID

import pytest

from warehouses.allocation.decision import allocate
from warehouses.allocation.preferences import Place
from warehouses.allocation.terms import Candidate, Delivery, Line

SHIRT = UUID(int=1)
NEAR_EQUALS = (("wh-a", 10.0), ("wh-b", 20.0), ("wh-c", 30.0))
ORDERS = 10_000
TO_SAO_PAULO = Delivery(area="BR 01")


@dataclass
class Level:
    place: Place
    available: int
    replenished: int
    reserved: int = 0
    served: int = 0

    def receive(self, units: int) -> None:
        self.available += units
        self.replenished = self.available + self.reserved


def levels(*stock: int) -> list[Level]:
    return [
        Level(Place(key, "north", 1, distance_km), units, units)
        for (key, distance_km), units in zip(NEAR_EQUALS, stock, strict=True)
    ]


def serve(shop: list[Level], orders: int) -> list[int]:
    """So many orders of one unit, one after the other; how many of them each warehouse served."""
    before = [level.served for level in shop]
    by_id = {level.place.warehouse_id: level for level in shop}
    for _ in range(orders):
        stock = [
            Candidate(level.place, level.available, False, False, level.reserved, level.replenished) for level in shop
        ]
        [part] = allocate([Line(SHIRT, 1, None)], {SHIRT: stock}, delivery=TO_SAO_PAULO).parts
        level = by_id[part.warehouse_id]
        level.available -= 1
        level.reserved += 1
        level.served += 1
    return [level.served - served for level, served in zip(shop, before, strict=True)]


def test_equal_stocks_serve_equally() -> None:
    assert serve(levels(100_000, 100_000, 100_000), ORDERS) == pytest.approx([ORDERS / 3] * 3, rel=0.05)


def test_different_stocks_serve_in_proportion() -> None:
    assert serve(levels(60_000, 30_000, 10_000), ORDERS) == pytest.approx([6_000, 3_000, 1_000], rel=0.05)


def test_what_was_replenished_serves_alone_until_as_much_of_it_was_taken_as_of_the_others() -> None:
    shop = levels(6_000, 6_000, 6_000)
    assert serve(shop, 3_000) == [1_000, 1_000, 1_000]
    shop[2].receive(4_000)  # 9,000 available and 1,000 held: a tenth is taken, and of the others a sixth
    assert serve(shop, 660) == [0, 0, 660]
    # From then on in proportion to what each had: 6,000, 6,000 and 10,000.
    assert serve(shop, 2_200) == pytest.approx([600, 600, 1_000], rel=0.05)


def test_what_was_sold_and_has_left_counts_as_taken_like_what_is_held() -> None:
    shop = levels(1_000, 1_000, 1_000)
    serve(shop, 300)
    for level in shop:
        level.reserved -= 50  # confirmed: the units have left
    assert serve(shop, 300) == [100, 100, 100]


def test_outside_the_tolerance_nobody_takes_turns() -> None:
    """The control of the others: with no tolerance the nearest serves alone."""
    shop = levels(1_000, 1_000, 1_000)
    shop[1].place, shop[2].place = shop[1].place._replace(distance_km=60.1), shop[2].place._replace(distance_km=500.0)
    assert serve(shop, 900) == [900, 0, 0]


def test_nor_do_those_whose_priority_is_lower() -> None:
    shop = levels(1_000, 1_000, 1_000)
    shop[0].place = shop[0].place._replace(priority=2)
    assert serve(shop, 900) == [0, 450, 450]
