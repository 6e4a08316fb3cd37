"""Where a late payment takes its goods: where they were held, else anywhere."""

from dataclasses import replace
from uuid import UUID

import pytest

from reservations import reviving
from warehouses.allocation.policies import Policy
from warehouses.allocation.preferences import Place
from warehouses.allocation.terms import Candidate, Delivery, Line, Part

A, B = UUID(int=1), UUID(int=2)
SP, RJ, PR = "wh-sp", "wh-rj", "wh-pr"
DELIVERY = Delivery(policy=Policy(preferences=("priority",), split="at_most", most_parcels=1))
FOR_PAID = replace(DELIVERY, policy=replace(DELIVERY.policy, split="fewest_parcels", most_parcels=None))


def stocked(warehouse_id: str, units: int, *, is_blocked: bool = False) -> Candidate:
    """A level; of the warehouses RJ has the first priority, then SP, then PR."""
    return Candidate(Place(warehouse_id, "", [RJ, SP, PR].index(warehouse_id)), units, is_blocked, is_closed=False)


def test_goods_are_taken_where_they_were_held_though_another_warehouse_is_preferred() -> None:
    stock = {A: [stocked(SP, 4), stocked(RJ, 9)]}

    decision, delivery = reviving.allocate_again([Line(A, 4, SP)], stock, DELIVERY)

    assert decision.parts == (Part(A, SP, 4),)
    assert delivery is DELIVERY


def test_what_was_held_in_more_parcels_than_the_policy_allows_is_taken_there_again() -> None:
    stock = {A: [stocked(SP, 3), stocked(RJ, 9), stocked(PR, 1)]}

    decision, delivery = reviving.allocate_again([Line(A, 3, SP), Line(A, 1, PR)], stock, DELIVERY)

    assert decision.parts == (Part(A, PR, 1), Part(A, SP, 3))
    assert delivery is DELIVERY


def test_where_one_line_is_gone_all_lines_are_taken_anywhere_by_the_policy_for_paid_orders() -> None:
    stock = {A: [stocked(SP, 3), stocked(RJ, 9)], B: [stocked(SP, 5), stocked(RJ, 5)]}

    decision, delivery = reviving.allocate_again([Line(A, 4, SP), Line(B, 2, SP)], stock, DELIVERY)

    assert decision.parts == (Part(A, RJ, 4), Part(B, RJ, 2))
    assert delivery == FOR_PAID


def test_anywhere_is_in_as_many_parcels_as_it_takes() -> None:
    stock = {A: [stocked(SP, 3), stocked(RJ, 2)]}

    decision, _ = reviving.allocate_again([Line(A, 2, SP), Line(A, 2, PR)], stock, DELIVERY)

    assert decision.parts == (Part(A, RJ, 2), Part(A, SP, 2))


def test_goods_that_are_gone_everywhere_are_one_shortage_of_the_whole_product() -> None:
    stock = {A: [stocked(SP, 1), stocked(RJ, 2)]}

    decision, delivery = reviving.allocate_again([Line(A, 2, SP), Line(A, 2, RJ)], stock, DELIVERY)

    assert decision.parts == ()
    assert decision.shortages == ((A, None, 4, 3),)
    assert decision.lacking == "stock"
    assert delivery == FOR_PAID


@pytest.mark.parametrize("left", [0, 9])
def test_a_blocked_product_is_not_looked_for_elsewhere(left: int) -> None:
    stock = {A: [stocked(SP, 4, is_blocked=True)], B: [stocked(SP, left), stocked(RJ, 9)]}

    decision, delivery = reviving.allocate_again([Line(A, 4, SP), Line(B, 1, SP)], stock, DELIVERY)

    assert decision.parts == ()
    assert decision.blocked_product_ids == (A,)
    assert delivery is DELIVERY
