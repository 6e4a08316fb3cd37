"""Which warehouses serve an order: by the built-in policy, by others, and where a line names one."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from warehouses.allocation import explanation
from warehouses.allocation.decision import allocate
from warehouses.allocation.policies import Policy
from warehouses.allocation.preferences import Place
from warehouses.allocation.terms import NOWHERE, Allocation, Candidate, Delivery, Line, Part, Shortage

SP = Place("wh-sp-001", "southeast", 1)
RJ = Place("wh-rj-001", "southeast", 2)
PR = Place("wh-pr-001", "south", 1)

SHIRT = UUID(int=1)
SHOE = UUID(int=2)
HAT = UUID(int=3)

AT_MOST_TWO = Policy(split="at_most", most_parcels=2)


def level(
    place: Place, available: int, *, replenished: int = 0, is_blocked: bool = False, is_closed: bool = False
) -> Candidate:
    return Candidate(place, available, is_blocked, is_closed, replenished=replenished)


def free(product_id: UUID, quantity: int) -> Line:
    return Line(product_id, quantity, None)


def near(place: Place, distance_km: float | None) -> Place:
    return place._replace(distance_km=distance_km)


def allocated(
    lines: Sequence[Line],
    stock: Mapping[UUID, Sequence[Candidate]],
    *,
    policy: Policy | None = None,
    allow_split: bool = True,
) -> Allocation:
    """The answer, for a delivery of which only the policy is known."""
    delivery = NOWHERE if policy is None else Delivery(policy=policy)
    answer = allocate(lines, stock, delivery=delivery, allow_split=allow_split)
    assert bool(answer.parts) == bool(answer.record)
    return answer


def refused(answer: Allocation) -> tuple[Shortage, ...]:
    """The shortages of an order that gets nothing, and of which nothing is kept."""
    assert answer.parts == ()
    assert answer.record == {}
    return answer.shortages


def told(answer: Allocation) -> dict[str, Any]:
    return explanation.explain(answer.record)


def strategy(answer: Allocation) -> tuple[str, str | None]:
    """How the order was served, and what left that one way."""
    full = told(answer)
    return full["strategy"], full["tie_break"]


def rejected(answer: Allocation) -> list[tuple[str, str, str]]:
    return [(r["warehouse_id"], r["product_id"], r["reason"]) for r in told(answer)["rejected"]]


def warehouses(answer: Allocation) -> list[str]:
    return sorted({part.warehouse_id for part in answer.parts})


# --- preferences ---------------------------------------------------------------------------------------------------


def test_the_lower_region_priority_wins_though_another_warehouse_has_more() -> None:
    answer = allocated([free(SHIRT, 2)], {SHIRT: [level(RJ, 90), level(SP, 5)]})
    assert answer.parts == (Part(SHIRT, "wh-sp-001", 2),)
    assert answer.shortages == ()
    assert answer.blocked_product_ids == ()
    assert answer.not_serving == ()
    assert strategy(answer) == ("one_warehouse", "priority")


def test_priorities_are_compared_across_regions_and_then_the_least_share_taken_wins() -> None:
    stock = {SHIRT: [level(PR, 8, replenished=10), level(SP, 90, replenished=100), level(RJ, 50, replenished=50)]}
    answer = allocated([free(SHIRT, 2)], stock)
    assert answer.parts == (Part(SHIRT, "wh-sp-001", 2),)
    assert strategy(answer) == ("one_warehouse", "balance")


def test_the_id_decides_between_equals() -> None:
    answer = allocated([free(SHIRT, 2)], {SHIRT: [level(SP, 9), level(PR, 9)]})
    assert answer.parts == (Part(SHIRT, "wh-pr-001", 2),)
    assert strategy(answer) == ("one_warehouse", "id")


def test_a_warehouse_that_has_not_enough_is_passed_over_though_it_is_preferred() -> None:
    answer = allocated([free(SHIRT, 10)], {SHIRT: [level(SP, 9), level(RJ, 10)]})
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 10),)
    assert strategy(answer) == ("one_warehouse", "only_candidate")
    assert rejected(answer) == [("wh-sp-001", str(SHIRT), "insufficient")]


def test_the_last_unit_can_be_had() -> None:
    assert allocated([free(SHIRT, 1)], {SHIRT: [level(SP, 1)]}).parts == (Part(SHIRT, "wh-sp-001", 1),)


def test_the_nearest_wins_against_a_better_priority() -> None:
    answer = allocated([free(SHIRT, 2)], {SHIRT: [level(near(SP, 360.0), 50), level(near(RJ, 3.0), 2)]})
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 2),)
    assert strategy(answer) == ("one_warehouse", "nearest")


def test_within_the_tolerance_the_priority_decides_and_a_hair_beyond_it_the_distance() -> None:
    def served_by(distance_km: float) -> tuple[list[str], str | None]:
        stock = {SHIRT: [level(near(SP, distance_km), 5), level(near(RJ, 10.0), 5)]}
        answer = allocated([free(SHIRT, 1)], stock, policy=Policy(tolerance_km=50.0))
        return warehouses(answer), strategy(answer)[1]

    assert served_by(60.0) == (["wh-sp-001"], "priority")
    assert served_by(60.1) == (["wh-rj-001"], "nearest")


def test_a_warehouse_whose_place_is_not_known_comes_after_the_farthest() -> None:
    stock = {SHIRT: [level(near(SP, None), 5), level(near(RJ, 9_000.0), 5)]}
    assert warehouses(allocated([free(SHIRT, 1)], stock)) == ["wh-rj-001"]
    alone = allocated([free(SHIRT, 6)], {SHIRT: [level(near(SP, None), 6), level(near(RJ, 9_000.0), 5)]})
    assert warehouses(alone) == ["wh-sp-001"]


def test_what_is_held_counts_as_taken_and_a_level_never_replenished_as_whole() -> None:
    held = Candidate(SP, 8, False, False, reserved=2)
    answer = allocated([free(SHIRT, 1)], {SHIRT: [held, level(PR, 3)]})
    assert warehouses(answer) == ["wh-pr-001"]
    assert strategy(answer)[1] == "balance"
    assert [one["share_taken"] for one in told(answer)["candidates"]] == [{str(SHIRT): 0.0}, {str(SHIRT): 0.2}]


def test_the_order_of_the_preferences_decides() -> None:
    # Sao Paulo has the priority, Rio is near, Curitiba is full.
    stock = {
        SHIRT: [
            level(near(SP, 400.0), 50, replenished=100),
            level(near(RJ, 1.0), 60, replenished=100),
            level(near(PR._replace(priority=3), 700.0), 100, replenished=100),
        ]
    }
    served = {
        first: warehouses(allocated([free(SHIRT, 1)], stock, policy=Policy(preferences=(first,), split="never")))
        for first in ("priority", "nearest", "balance")
    }
    assert served == {"priority": ["wh-sp-001"], "nearest": ["wh-rj-001"], "balance": ["wh-pr-001"]}


# --- hard constraints ----------------------------------------------------------------------------------------------


def test_a_closed_warehouse_serves_nobody() -> None:
    answer = allocated([free(SHIRT, 2)], {SHIRT: [level(SP, 50, is_closed=True), level(RJ, 3)]})
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 2),)
    assert rejected(answer) == [("wh-sp-001", str(SHIRT), "closed")]


def test_stock_in_a_closed_warehouse_does_not_count_in_a_shortage() -> None:
    answer = allocated([free(SHIRT, 5)], {SHIRT: [level(SP, 50, is_closed=True), level(RJ, 3)]})
    assert refused(answer) == (Shortage(SHIRT, None, 5, 3),)
    assert answer.not_serving == ()


def test_a_warehouse_that_does_not_serve_the_region_is_left_out() -> None:
    elsewhere = near(SP, 1.0)._replace(is_serving=False)
    answer = allocated([free(SHIRT, 2)], {SHIRT: [level(elsewhere, 50), level(near(RJ, 900.0), 3)]})
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 2),)
    assert rejected(answer) == [("wh-sp-001", str(SHIRT), "not_served")]


def test_a_refusal_names_the_warehouses_that_do_not_serve_the_region() -> None:
    elsewhere = SP._replace(is_serving=False)
    stock = {SHIRT: [level(elsewhere, 50), level(RJ, 3), level(PR, 50, is_closed=True)], SHOE: [level(elsewhere, 50)]}
    answer = allocated([free(SHIRT, 5), free(SHOE, 1)], stock)
    assert refused(answer) == (Shortage(SHIRT, None, 5, 3), Shortage(SHOE, None, 1, 0))
    assert answer.not_serving == ("wh-sp-001",)


def test_also_a_line_that_names_it_gets_nothing_from_a_warehouse_that_does_not_serve_the_region() -> None:
    answer = allocated([Line(SHIRT, 2, "wh-sp-001")], {SHIRT: [level(SP._replace(is_serving=False), 50), level(RJ, 9)]})
    assert refused(answer) == (Shortage(SHIRT, "wh-sp-001", 2, 0),)
    assert answer.not_serving == ("wh-sp-001",)


def test_a_blocked_product_refuses_the_whole_order_and_is_named() -> None:
    answer = allocated(
        [free(SHIRT, 1), free(SHOE, 1)],
        {SHIRT: [level(SP, 50, is_blocked=True), level(RJ, 50, is_blocked=True)], SHOE: [level(SP, 50)]},
    )
    assert refused(answer) == ()
    assert answer.blocked_product_ids == (SHIRT,)


def test_one_blocked_level_speaks_for_the_product() -> None:
    answer = allocated([free(SHIRT, 1)], {SHIRT: [level(SP, 50), level(RJ, 50, is_blocked=True)]})
    assert refused(answer) == ()
    assert answer.blocked_product_ids == (SHIRT,)


def test_blocked_products_and_short_lines_are_told_together() -> None:
    answer = allocated(
        [free(SHIRT, 1), free(SHOE, 9), Line(HAT, 4, "wh-rj-001")],
        {SHIRT: [level(SP, 50, is_blocked=True)], SHOE: [level(SP, 2), level(RJ, 3)], HAT: [level(RJ, 1)]},
    )
    assert refused(answer) == (Shortage(HAT, "wh-rj-001", 4, 1), Shortage(SHOE, None, 9, 5))
    assert answer.blocked_product_ids == (SHIRT,)


def test_a_product_that_is_stocked_nowhere_is_short_with_nothing_available() -> None:
    for policy in (Policy(), Policy(split="never"), Policy(split="by_line"), AT_MOST_TWO):
        for allow_split in (True, False):
            answer = allocated([free(SHIRT, 1)], {}, policy=policy, allow_split=allow_split)
            assert refused(answer) == (Shortage(SHIRT, None, 1, 0),)
    named = allocated([Line(SHIRT, 1, "wh-sp-001")], {SHIRT: []})
    assert refused(named) == (Shortage(SHIRT, "wh-sp-001", 1, 0),)


# --- lines that name a warehouse -----------------------------------------------------------------------------------


def test_a_named_warehouse_is_obeyed_against_all_preferences() -> None:
    answer = allocated([Line(SHIRT, 2, "wh-rj-001")], {SHIRT: [level(near(SP, 1.0), 50), level(near(RJ, 999.0), 2)]})
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 2),)
    assert strategy(answer) == ("named", None)


def test_a_named_warehouse_is_never_replaced() -> None:
    answer = allocated([Line(SHIRT, 3, "wh-rj-001")], {SHIRT: [level(SP, 50), level(RJ, 2)]})
    assert refused(answer) == (Shortage(SHIRT, "wh-rj-001", 3, 2),)


def test_a_named_warehouse_that_is_closed_has_nothing_available() -> None:
    answer = allocated([Line(SHIRT, 3, "wh-rj-001")], {SHIRT: [level(RJ, 20, is_closed=True)]})
    assert refused(answer) == (Shortage(SHIRT, "wh-rj-001", 3, 0),)


def test_what_a_named_line_takes_is_gone_for_the_free_ones() -> None:
    stock: dict[UUID, Sequence[Candidate]] = {SHIRT: [level(SP, 5), level(RJ, 4)]}
    answer = allocated([free(SHIRT, 4), Line(SHIRT, 2, "wh-sp-001")], stock)
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 4), Part(SHIRT, "wh-sp-001", 2))

    short = allocated([free(SHIRT, 8), Line(SHIRT, 2, "wh-sp-001")], stock)
    assert refused(short) == (Shortage(SHIRT, None, 8, 7),)


def test_a_named_and_a_free_line_that_meet_at_one_warehouse_make_one_part() -> None:
    answer = allocated([Line(SHIRT, 2, "wh-sp-001"), free(SHIRT, 3)], {SHIRT: [level(SP, 5), level(RJ, 2)]})
    assert answer.parts == (Part(SHIRT, "wh-sp-001", 5),)


def test_free_lines_join_the_warehouse_that_a_line_names_so_that_one_serves_the_whole_order() -> None:
    answer = allocated(
        [Line(SHOE, 1, "wh-rj-001"), free(SHIRT, 3)],
        {SHIRT: [level(near(SP, 1.0), 50), level(near(RJ, 999.0), 3)], SHOE: [level(near(RJ, 999.0), 1)]},
    )
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 3), Part(SHOE, "wh-rj-001", 1))
    assert strategy(answer) == ("one_warehouse", "fewest_parcels")


def test_the_parcels_that_leave_for_named_lines_count_among_those_that_are_allowed() -> None:
    lines = [Line(SHOE, 1, "wh-rj-001"), free(SHIRT, 3)]
    stock = {SHIRT: [level(SP, 50), level(RJ, 2)], SHOE: [level(RJ, 1)]}
    two = allocated(lines, stock, policy=AT_MOST_TWO)
    assert two.parts == (Part(SHIRT, "wh-sp-001", 3), Part(SHOE, "wh-rj-001", 1))
    for allow_split in (True, False):
        one = allocated(lines, stock, policy=Policy(split="at_most", most_parcels=1), allow_split=allow_split)
        assert refused(one) == (Shortage(SHIRT, None, 3, 2),)


def test_lines_that_name_more_warehouses_than_are_allowed_are_obeyed_all_the_same() -> None:
    lines = [Line(SHOE, 1, "wh-rj-001"), Line(SHOE, 1, "wh-sp-001"), Line(SHOE, 1, "wh-pr-001")]
    stock = {SHOE: [level(RJ, 1), level(SP, 1), level(PR, 1)]}
    assert warehouses(allocated(lines, stock, policy=AT_MOST_TWO)) == ["wh-pr-001", "wh-rj-001", "wh-sp-001"]


# --- steps ---------------------------------------------------------------------------------------------------------


def test_one_warehouse_for_all_free_lines_comes_before_a_better_one_for_each() -> None:
    answer = allocated(
        [free(SHIRT, 2), free(SHOE, 2)],
        {SHIRT: [level(SP, 50), level(RJ, 2)], SHOE: [level(PR, 50), level(RJ, 2)]},
    )
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 2), Part(SHOE, "wh-rj-001", 2))
    assert strategy(answer) == ("one_warehouse", "only_candidate")
    assert rejected(answer) == [
        ("wh-pr-001", str(SHIRT), "insufficient"),
        ("wh-sp-001", str(SHOE), "insufficient"),
    ]


def test_where_it_is_the_nearest_that_counts_two_near_ones_come_before_one_far_away() -> None:
    stock = {
        SHIRT: [level(near(SP, 10.0), 50), level(near(RJ, 100.0), 2)],
        SHOE: [level(near(PR, 20.0), 50), level(near(RJ, 100.0), 2)],
    }
    lines = [free(SHIRT, 2), free(SHOE, 2)]
    near_first = Policy(preferences=("nearest", "fewest_parcels"), tolerance_km=0.0, split="at_most", most_parcels=2)
    answer = allocated(lines, stock, policy=near_first)
    assert answer.parts == (Part(SHIRT, "wh-sp-001", 2), Part(SHOE, "wh-pr-001", 2))
    assert strategy(answer) == ("split_by_line", "nearest")
    assert warehouses(allocated(lines, stock)) == ["wh-rj-001"]


def test_the_ways_of_all_parcels_are_added_up() -> None:
    # 60 and 60 km are farther than 100, though each is nearer.
    stock = {
        SHIRT: [level(near(SP, 60.0), 50), level(near(RJ, 100.0), 2)],
        SHOE: [level(near(PR, 60.0), 50), level(near(RJ, 100.0), 2)],
    }
    near_first = Policy(preferences=("nearest",), tolerance_km=0.0, split="by_line")
    answer = allocated([free(SHIRT, 2), free(SHOE, 2)], stock, policy=near_first)
    assert warehouses(answer) == ["wh-rj-001"]
    assert strategy(answer) == ("one_warehouse", "nearest")


def test_the_shares_of_all_the_products_count_when_one_warehouse_serves_them_all() -> None:
    answer = allocated(
        [free(SHIRT, 1), free(SHOE, 1)],
        {
            SHIRT: [level(SP, 10, replenished=10), level(PR, 9, replenished=10)],
            SHOE: [level(SP, 1, replenished=10), level(PR, 3, replenished=10)],
        },
    )
    assert warehouses(answer) == ["wh-pr-001"]
    assert strategy(answer) == ("one_warehouse", "balance")


def test_an_order_no_warehouse_can_serve_alone_is_split_by_line_and_each_line_stays_whole() -> None:
    answer = allocated(
        [free(SHIRT, 4), free(SHOE, 4)],
        {SHIRT: [level(SP, 3), level(RJ, 4)], SHOE: [level(SP, 4), level(RJ, 3)]},
    )
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 4), Part(SHOE, "wh-sp-001", 4))
    assert strategy(answer) == ("split_by_line", "only_candidate")


def test_a_line_no_warehouse_can_serve_alone_comes_from_several() -> None:
    answer = allocated([free(SHIRT, 11)], {SHIRT: [level(SP, 6), level(RJ, 4), level(PR, 5)]})
    assert answer.parts == (Part(SHIRT, "wh-pr-001", 5), Part(SHIRT, "wh-sp-001", 6))
    assert strategy(answer) == ("split_line", "only_candidate")


def test_a_split_line_empties_the_preferred_warehouse_first() -> None:
    answer = allocated([free(SHIRT, 8)], {SHIRT: [level(RJ, 7), level(SP, 6)]})
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 2), Part(SHIRT, "wh-sp-001", 6))


def test_among_equally_few_parcels_the_preferred_warehouses_give_them() -> None:
    answer = allocated([free(SHIRT, 10)], {SHIRT: [level(RJ, 9), level(SP, 6), level(PR, 5)]})
    assert answer.parts == (Part(SHIRT, "wh-pr-001", 5), Part(SHIRT, "wh-sp-001", 5))
    assert strategy(answer) == ("split_line", "priority")


def test_fewer_parcels_come_before_better_places() -> None:
    # In the order of preference it would take all three: 6 and 5, and only then the 9 of Rio.
    answer = allocated([free(SHIRT, 15)], {SHIRT: [level(SP, 6), level(PR, 5), level(RJ, 9)]})
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 9), Part(SHIRT, "wh-sp-001", 6))


def test_fewest_parcels_is_asked_about_the_whole_order_not_about_one_line_after_the_other() -> None:
    # For the shirts alone Sao Paulo is best, and for the shoes Curitiba; with the hats that makes three parcels.
    stock = {
        SHIRT: [level(near(SP, 1.0), 9), level(near(RJ, 900.0), 9)],
        SHOE: [level(near(PR, 2.0), 9), level(near(RJ, 900.0), 9)],
        HAT: [level(near(SP, 1.0), 9)],
    }
    answer = allocated([free(SHIRT, 1), free(SHOE, 1), free(HAT, 1)], stock)
    assert warehouses(answer) == ["wh-pr-001", "wh-sp-001"]
    del stock[HAT]
    assert warehouses(allocated([free(SHIRT, 1), free(SHOE, 1)], stock)) == ["wh-rj-001"]


def test_a_line_that_must_be_split_leaves_the_others_whole() -> None:
    answer = allocated(
        [free(SHIRT, 9), free(SHOE, 2)],
        {SHIRT: [level(SP, 5), level(RJ, 5)], SHOE: [level(SP, 2), level(RJ, 1)]},
    )
    assert answer.parts == (
        Part(SHIRT, "wh-rj-001", 4),
        Part(SHIRT, "wh-sp-001", 5),
        Part(SHOE, "wh-sp-001", 2),
    )
    assert strategy(answer) == ("split_line", "only_candidate")


# --- the split rules -----------------------------------------------------------------------------------------------


def test_each_split_rule_serves_what_it_may() -> None:
    stock = {SHIRT: [level(SP, 9), level(RJ, 8)], SHOE: [level(SP, 4), level(RJ, 9)]}
    served = {
        (shirts, shoes): [
            bool(allocated([free(SHIRT, shirts), free(SHOE, shoes)], stock, policy=policy).parts)
            for policy in (Policy(split="never"), Policy(split="by_line"), AT_MOST_TWO, Policy())
        ]
        for shirts, shoes in ((8, 9), (9, 9), (17, 4), (18, 1))
    }
    assert served == {
        (8, 9): [True, True, True, True],
        (9, 9): [False, True, True, True],
        (17, 4): [False, False, True, True],
        (18, 1): [False, False, False, False],
    }


def test_at_most_refuses_what_needs_one_parcel_more_and_says_what_so_many_could_give() -> None:
    stock = {SHIRT: [level(SP, 6), level(RJ, 4), level(PR, 5)]}
    assert warehouses(allocated([free(SHIRT, 11)], stock, policy=AT_MOST_TWO)) == ["wh-pr-001", "wh-sp-001"]
    assert refused(allocated([free(SHIRT, 12)], stock, policy=AT_MOST_TWO)) == (Shortage(SHIRT, None, 12, 11),)
    three = Policy(split="at_most", most_parcels=3)
    assert len(allocated([free(SHIRT, 12)], stock, policy=three).parts) == 3


def test_by_line_refuses_a_line_that_would_have_to_be_split_and_says_the_most_that_one_has() -> None:
    stock = {SHIRT: [level(SP, 6), level(RJ, 4)], SHOE: [level(RJ, 1)]}
    answer = allocated([free(SHIRT, 7), free(SHOE, 1)], stock, policy=Policy(split="by_line"))
    assert refused(answer) == (Shortage(SHIRT, None, 7, 6),)


def test_a_caller_may_forbid_a_split_and_never_allow_one() -> None:
    stock = {SHIRT: [level(SP, 6), level(RJ, 4)]}
    for policy, allow_split in ((Policy(), False), (Policy(split="never"), True), (Policy(split="by_line"), True)):
        answer = allocated([free(SHIRT, 7)], stock, policy=policy, allow_split=allow_split)
        assert refused(answer) == (Shortage(SHIRT, None, 7, 6),)


# --- refusals ------------------------------------------------------------------------------------------------------


def test_every_short_line_is_told_not_only_the_first() -> None:
    answer = allocated(
        [free(SHIRT, 9), free(SHOE, 1), free(HAT, 5), Line(SHOE, 7, "wh-rj-001")],
        {SHIRT: [level(SP, 4), level(RJ, 4)], SHOE: [level(SP, 1), level(RJ, 6)], HAT: []},
    )
    assert refused(answer) == (
        Shortage(SHOE, "wh-rj-001", 7, 6),
        Shortage(SHIRT, None, 9, 8),
        Shortage(HAT, None, 5, 0),
    )


def test_without_splitting_a_line_counts_the_best_single_warehouse() -> None:
    answer = allocated([free(SHIRT, 9)], {SHIRT: [level(SP, 5), level(RJ, 6)]}, allow_split=False)
    assert refused(answer) == (Shortage(SHIRT, None, 9, 6),)


def test_without_splitting_the_shortages_are_those_of_the_warehouse_that_comes_nearest() -> None:
    # Each line alone could be served; no warehouse serves both, and Rio lacks one unit, Sao Paulo five.
    stock: dict[UUID, Sequence[Candidate]] = {
        SHIRT: [level(SP, 9), level(RJ, 8)],
        SHOE: [level(SP, 4), level(RJ, 9)],
    }
    answer = allocated([free(SHIRT, 9), free(SHOE, 9)], stock, allow_split=False)
    assert refused(answer) == (Shortage(SHIRT, None, 9, 8),)

    split = allocated([free(SHIRT, 9), free(SHOE, 9)], stock)
    assert split.parts == (Part(SHIRT, "wh-sp-001", 9), Part(SHOE, "wh-rj-001", 9))


def test_without_splitting_named_lines_may_still_lie_elsewhere() -> None:
    answer = allocated(
        [Line(SHOE, 1, "wh-rj-001"), free(SHIRT, 3)],
        {SHIRT: [level(SP, 50)], SHOE: [level(RJ, 1)]},
        allow_split=False,
    )
    assert answer.parts == (Part(SHIRT, "wh-sp-001", 3), Part(SHOE, "wh-rj-001", 1))


def test_a_refusal_says_whether_stock_or_parcels_or_a_served_region_lack() -> None:
    here, there = near(SP, 1.0), Place("wh-rj-001", "southeast", 2, 360.0, is_serving=False)
    both = {SHIRT: [level(SP, 3), level(RJ, 3)]}
    assert allocate([free(SHIRT, 7)], both).lacking == "stock"
    assert allocate([free(SHIRT, 6)], both, allow_split=False).lacking == "parcels"
    assert allocate([free(SHIRT, 6)], both).lacking is None
    assert allocate([free(SHIRT, 6)], {SHIRT: [level(here, 3), level(there, 3)]}).lacking == "region"
    assert allocate([free(SHIRT, 7)], {SHIRT: [level(here, 3), level(there, 3)]}).lacking == "stock"
    assert allocate([Line(SHIRT, 3, RJ.warehouse_id)], {SHIRT: [level(here, 3), level(there, 3)]}).lacking == "region"
    # What a named line takes is gone for the free one.
    assert allocate([Line(SHIRT, 3, RJ.warehouse_id), free(SHIRT, 4)], both).lacking == "stock"


# --- the record ----------------------------------------------------------------------------------------------------


def test_the_record_keeps_what_the_decision_went_by() -> None:
    delivery = Delivery(precision="prefix", area="BR 01", name="São Paulo, SP", region="southeast")
    stock = {
        SHIRT: [
            level(near(RJ, 359.1), 3),
            level(near(SP, 1.2), 7, replenished=10),
            level(near(PR, 338.0), 9, is_closed=True),
        ]
    }
    assert allocate([free(SHIRT, 4)], stock, delivery=delivery).record == {
        "version": 2,
        "policy": ["", ["fewest_parcels", "nearest", "priority", "balance"], 50.0, "fewest_parcels", None, True],
        "allow_split": True,
        "delivery": ["BR 01", "São Paulo, SP", "prefix", "southeast"],
        "notes": [],
        "steps": 0,
        "products": [str(SHIRT)],
        "lines": [[0, 4, None]],
        "candidates": [["wh-rj-001", "southeast", 2, 359.1, None], ["wh-sp-001", "southeast", 1, 1.2, None]],
        "available": [[3, 7]],
        "whole": [[3, 10]],
        "left_out": 0,
        "ruled_out": [["wh-pr-001", 0, "closed"]],
        "chosen": [["one_warehouse", "only_candidate", [], [[0, "wh-sp-001", 4]]]],
    }


def test_the_record_is_bounded_however_many_warehouses_there_are() -> None:
    places = [Place(f"wh-{number:04}", "north", 1 + number) for number in range(1_000)]
    lines = [free(UUID(int=number), 5) for number in range(1, 101)]
    stock = {line.product_id: [level(place, 1 if place is not places[-1] else 5) for place in places] for line in lines}
    answer = allocated(lines, stock)
    assert warehouses(answer) == ["wh-0999"]
    full = told(answer)
    assert [candidate["warehouse_id"] for candidate in full["candidates"]] == [
        "wh-0000",
        "wh-0001",
        "wh-0002",
        "wh-0999",
    ]
    assert full["candidates_left_out"] == 996
    assert len(full["rejected"]) == 300


def test_the_reasons_are_bounded_too() -> None:
    places = [Place(f"wh-{number:04}", "north", 1) for number in range(1_000)]
    stock = {SHIRT: [level(place, 5, is_closed=True) for place in places] + [level(SP, 5)]}
    answer = allocated([free(SHIRT, 5)], stock)
    assert warehouses(answer) == ["wh-sp-001"]
    assert len(answer.record["ruled_out"]) == 300


def test_a_named_warehouse_that_served_its_line_is_not_called_insufficient() -> None:
    answer = allocated([Line(SHIRT, 3, "wh-sp-001")], {SHIRT: [level(SP, 5)]})
    assert rejected(answer) == []
