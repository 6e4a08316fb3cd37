from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from warehouses.allocation import Allocation, Candidate, Line, Part, Place, Shortage, allocate

SP = Place("wh-sp-001", "southeast", 1)
RJ = Place("wh-rj-001", "southeast", 2)
PR = Place("wh-pr-001", "south", 1)

SHIRT = UUID(int=1)
SHOE = UUID(int=2)
HAT = UUID(int=3)


def level(place: Place, available: int, *, is_blocked: bool = False, is_closed: bool = False) -> Candidate:
    return Candidate(place, available, is_blocked, is_closed)


def free(product_id: UUID, quantity: int) -> Line:
    return Line(product_id, quantity, None)


def allocated(
    lines: Sequence[Line], stock: Mapping[UUID, Sequence[Candidate]], *, allow_split: bool = True
) -> Allocation:
    return allocate(lines, stock, allow_split=allow_split)


def rejected(answer: Allocation) -> list[tuple[str, str, str]]:
    return [(r["warehouse_id"], r["product_id"], r["reason"]) for r in answer.explanation["rejected"]]


# --- preferences ---------------------------------------------------------------------------------------------------


def test_the_lower_region_priority_wins_though_another_warehouse_has_more() -> None:
    answer = allocated([free(SHIRT, 2)], {SHIRT: [level(RJ, 90), level(SP, 5)]})
    assert answer.parts == (Part(SHIRT, "wh-sp-001", 2),)
    assert answer.shortages == ()
    assert answer.blocked_product_ids == ()
    assert answer.explanation["strategy"] == "one_warehouse"
    assert answer.explanation["tie_break"] == "priority"


def test_priorities_are_compared_across_regions_and_then_more_stock_wins() -> None:
    answer = allocated([free(SHIRT, 2)], {SHIRT: [level(PR, 8), level(SP, 9), level(RJ, 50)]})
    assert answer.parts == (Part(SHIRT, "wh-sp-001", 2),)
    assert answer.explanation["tie_break"] == "stock"


def test_the_id_decides_between_equals() -> None:
    answer = allocated([free(SHIRT, 2)], {SHIRT: [level(SP, 9), level(PR, 9)]})
    assert answer.parts == (Part(SHIRT, "wh-pr-001", 2),)
    assert answer.explanation["tie_break"] == "id"


def test_a_warehouse_that_has_not_enough_is_passed_over_though_it_is_preferred() -> None:
    answer = allocated([free(SHIRT, 10)], {SHIRT: [level(SP, 9), level(RJ, 10)]})
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 10),)
    assert answer.explanation["tie_break"] == "only_candidate"
    assert rejected(answer) == [("wh-sp-001", str(SHIRT), "insufficient")]


def test_the_last_unit_can_be_had() -> None:
    assert allocated([free(SHIRT, 1)], {SHIRT: [level(SP, 1)]}).parts == (Part(SHIRT, "wh-sp-001", 1),)


# --- hard constraints ----------------------------------------------------------------------------------------------


def test_a_closed_warehouse_serves_nobody() -> None:
    answer = allocated([free(SHIRT, 2)], {SHIRT: [level(SP, 50, is_closed=True), level(RJ, 3)]})
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 2),)
    assert rejected(answer) == [("wh-sp-001", str(SHIRT), "closed")]


def test_stock_in_a_closed_warehouse_does_not_count_in_a_shortage() -> None:
    answer = allocated([free(SHIRT, 5)], {SHIRT: [level(SP, 50, is_closed=True), level(RJ, 3)]})
    assert answer.parts == ()
    assert answer.shortages == (Shortage(SHIRT, None, 5, 3),)


def test_a_blocked_product_refuses_the_whole_order_and_is_named() -> None:
    answer = allocated(
        [free(SHIRT, 1), free(SHOE, 1)],
        {SHIRT: [level(SP, 50, is_blocked=True), level(RJ, 50, is_blocked=True)], SHOE: [level(SP, 50)]},
    )
    assert answer.parts == ()
    assert answer.shortages == ()
    assert answer.blocked_product_ids == (SHIRT,)
    assert answer.explanation["strategy"] == "refused"
    assert answer.explanation["chosen"] == []
    assert rejected(answer) == [("wh-rj-001", str(SHIRT), "blocked"), ("wh-sp-001", str(SHIRT), "blocked")]


def test_one_blocked_level_speaks_for_the_product() -> None:
    answer = allocated([free(SHIRT, 1)], {SHIRT: [level(SP, 50), level(RJ, 50, is_blocked=True)]})
    assert answer.parts == ()
    assert answer.blocked_product_ids == (SHIRT,)


def test_blocked_products_and_short_lines_are_told_together() -> None:
    answer = allocated(
        [free(SHIRT, 1), free(SHOE, 9), Line(HAT, 4, "wh-rj-001")],
        {SHIRT: [level(SP, 50, is_blocked=True)], SHOE: [level(SP, 2), level(RJ, 3)], HAT: [level(RJ, 1)]},
    )
    assert answer.parts == ()
    assert answer.blocked_product_ids == (SHIRT,)
    assert answer.shortages == (Shortage(HAT, "wh-rj-001", 4, 1), Shortage(SHOE, None, 9, 5))


def test_a_product_that_is_stocked_nowhere_is_short_with_nothing_available() -> None:
    for allow_split in (True, False):
        answer = allocated([free(SHIRT, 1)], {}, allow_split=allow_split)
        assert answer.parts == ()
        assert answer.shortages == (Shortage(SHIRT, None, 1, 0),)
    named = allocated([Line(SHIRT, 1, "wh-sp-001")], {SHIRT: []})
    assert named.shortages == (Shortage(SHIRT, "wh-sp-001", 1, 0),)


# --- lines that name a warehouse -----------------------------------------------------------------------------------


def test_a_named_warehouse_is_obeyed_against_all_preferences() -> None:
    answer = allocated([Line(SHIRT, 2, "wh-rj-001")], {SHIRT: [level(SP, 50), level(RJ, 2)]})
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 2),)
    assert answer.explanation["strategy"] == "named"
    assert answer.explanation["tie_break"] is None


def test_a_named_warehouse_is_never_replaced() -> None:
    answer = allocated([Line(SHIRT, 3, "wh-rj-001")], {SHIRT: [level(SP, 50), level(RJ, 2)]})
    assert answer.parts == ()
    assert answer.shortages == (Shortage(SHIRT, "wh-rj-001", 3, 2),)


def test_a_named_warehouse_that_is_closed_has_nothing_available() -> None:
    answer = allocated([Line(SHIRT, 3, "wh-rj-001")], {SHIRT: [level(RJ, 20, is_closed=True)]})
    assert answer.shortages == (Shortage(SHIRT, "wh-rj-001", 3, 0),)


def test_what_a_named_line_takes_is_gone_for_the_free_ones() -> None:
    stock: dict[UUID, Sequence[Candidate]] = {SHIRT: [level(SP, 5), level(RJ, 4)]}
    answer = allocated([free(SHIRT, 4), Line(SHIRT, 2, "wh-sp-001")], stock)
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 4), Part(SHIRT, "wh-sp-001", 2))

    short = allocated([free(SHIRT, 8), Line(SHIRT, 2, "wh-sp-001")], stock)
    assert short.parts == ()
    assert short.shortages == (Shortage(SHIRT, None, 8, 7),)


def test_a_named_and_a_free_line_that_meet_at_one_warehouse_make_one_part() -> None:
    answer = allocated([Line(SHIRT, 2, "wh-sp-001"), free(SHIRT, 3)], {SHIRT: [level(SP, 5), level(RJ, 2)]})
    assert answer.parts == (Part(SHIRT, "wh-sp-001", 5),)


def test_free_lines_join_the_warehouse_that_a_line_names_so_that_one_serves_the_whole_order() -> None:
    answer = allocated(
        [Line(SHOE, 1, "wh-rj-001"), free(SHIRT, 3)],
        {SHIRT: [level(SP, 50), level(RJ, 3)], SHOE: [level(RJ, 1)]},
    )
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 3), Part(SHOE, "wh-rj-001", 1))
    assert answer.explanation["strategy"] == "one_warehouse"
    assert answer.explanation["tie_break"] == "fewest_warehouses"


# --- steps ---------------------------------------------------------------------------------------------------------


def test_one_warehouse_for_all_free_lines_comes_before_a_better_one_for_each() -> None:
    answer = allocated(
        [free(SHIRT, 2), free(SHOE, 2)],
        {SHIRT: [level(SP, 50), level(RJ, 2)], SHOE: [level(PR, 50), level(RJ, 2)]},
    )
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 2), Part(SHOE, "wh-rj-001", 2))
    assert answer.explanation["strategy"] == "one_warehouse"
    assert rejected(answer) == [
        ("wh-pr-001", str(SHIRT), "insufficient"),
        ("wh-sp-001", str(SHOE), "insufficient"),
    ]


def test_stock_of_all_the_products_counts_when_one_warehouse_serves_them_all() -> None:
    answer = allocated(
        [free(SHIRT, 1), free(SHOE, 1)],
        {SHIRT: [level(SP, 10), level(PR, 9)], SHOE: [level(SP, 1), level(PR, 3)]},
    )
    assert {part.warehouse_id for part in answer.parts} == {"wh-pr-001"}
    assert answer.explanation["tie_break"] == "stock"


def test_an_order_no_warehouse_can_serve_alone_is_split_by_line_and_each_line_stays_whole() -> None:
    answer = allocated(
        [free(SHIRT, 4), free(SHOE, 4)],
        {SHIRT: [level(SP, 3), level(RJ, 4)], SHOE: [level(SP, 4), level(RJ, 3)]},
    )
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 4), Part(SHOE, "wh-sp-001", 4))
    assert answer.explanation["strategy"] == "split_by_line"


def test_a_line_no_warehouse_can_serve_alone_comes_from_several() -> None:
    answer = allocated([free(SHIRT, 11)], {SHIRT: [level(SP, 6), level(RJ, 4), level(PR, 5)]})
    assert answer.parts == (Part(SHIRT, "wh-pr-001", 5), Part(SHIRT, "wh-sp-001", 6))
    assert answer.explanation["strategy"] == "split_line"
    assert answer.explanation["tie_break"] == "priority"


def test_a_split_line_empties_the_preferred_warehouse_first() -> None:
    answer = allocated([free(SHIRT, 8)], {SHIRT: [level(RJ, 7), level(SP, 6)]})
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 2), Part(SHIRT, "wh-sp-001", 6))
    assert answer.explanation["tie_break"] == "only_candidate"


def test_fewer_parcels_come_before_better_places() -> None:
    # In the order of preference it would take all three: 6 and 5, and only then the 9 of Rio.
    answer = allocated([free(SHIRT, 15)], {SHIRT: [level(SP, 6), level(PR, 5), level(RJ, 9)]})
    assert answer.parts == (Part(SHIRT, "wh-rj-001", 9), Part(SHIRT, "wh-sp-001", 6))
    assert answer.explanation["tie_break"] == "fewest_warehouses"


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
    assert [decision["strategy"] for decision in answer.explanation["chosen"]] == ["split_line", "split_by_line"]
    assert answer.explanation["strategy"] == "split_line"


# --- refusals ------------------------------------------------------------------------------------------------------


def test_every_short_line_is_told_not_only_the_first() -> None:
    answer = allocated(
        [free(SHIRT, 9), free(SHOE, 1), free(HAT, 5), Line(SHOE, 7, "wh-rj-001")],
        {SHIRT: [level(SP, 4), level(RJ, 4)], SHOE: [level(SP, 1), level(RJ, 6)], HAT: []},
    )
    assert answer.parts == ()
    assert answer.shortages == (
        Shortage(SHOE, "wh-rj-001", 7, 6),
        Shortage(SHIRT, None, 9, 8),
        Shortage(HAT, None, 5, 0),
    )


def test_without_splitting_a_line_counts_the_best_single_warehouse() -> None:
    answer = allocated([free(SHIRT, 9)], {SHIRT: [level(SP, 5), level(RJ, 6)]}, allow_split=False)
    assert answer.parts == ()
    assert answer.shortages == (Shortage(SHIRT, None, 9, 6),)


def test_without_splitting_the_shortages_are_those_of_the_warehouse_that_comes_nearest() -> None:
    # Each line alone could be served; no warehouse serves both, and Rio lacks one unit, Sao Paulo five.
    stock: dict[UUID, Sequence[Candidate]] = {
        SHIRT: [level(SP, 9), level(RJ, 8)],
        SHOE: [level(SP, 4), level(RJ, 9)],
    }
    refused = allocated([free(SHIRT, 9), free(SHOE, 9)], stock, allow_split=False)
    assert refused.parts == ()
    assert refused.shortages == (Shortage(SHIRT, None, 9, 8),)

    split = allocated([free(SHIRT, 9), free(SHOE, 9)], stock)
    assert split.parts == (Part(SHIRT, "wh-sp-001", 9), Part(SHOE, "wh-rj-001", 9))


def test_without_splitting_named_lines_may_still_lie_elsewhere() -> None:
    answer = allocated(
        [Line(SHOE, 1, "wh-rj-001"), free(SHIRT, 3)],
        {SHIRT: [level(SP, 50)], SHOE: [level(RJ, 1)]},
        allow_split=False,
    )
    assert answer.parts == (Part(SHIRT, "wh-sp-001", 3), Part(SHOE, "wh-rj-001", 1))


# --- the explanation -----------------------------------------------------------------------------------------------


def test_the_explanation_says_everything_in_json() -> None:
    answer = allocated([free(SHIRT, 4)], {SHIRT: [level(RJ, 3), level(SP, 7), level(PR, 9, is_closed=True)]})
    expected: dict[str, Any] = {
        "version": 1,
        "strategy": "one_warehouse",
        "tie_break": "only_candidate",
        "candidates": [
            {"warehouse_id": "wh-sp-001", "region": "southeast", "priority": 1, "available": {str(SHIRT): 7}},
            {"warehouse_id": "wh-rj-001", "region": "southeast", "priority": 2, "available": {str(SHIRT): 3}},
        ],
        "candidates_left_out": 0,
        "rejected": [
            {"warehouse_id": "wh-pr-001", "product_id": str(SHIRT), "reason": "closed"},
            {
                "warehouse_id": "wh-rj-001",
                "product_id": str(SHIRT),
                "reason": "insufficient",
                "requested": 4,
                "available": 3,
            },
        ],
        "chosen": [
            {
                "strategy": "one_warehouse",
                "tie_break": "only_candidate",
                "parts": [{"product_id": str(SHIRT), "warehouse_id": "wh-sp-001", "quantity": 4}],
            }
        ],
    }
    assert answer.explanation == expected


def test_the_explanation_is_bounded_however_many_warehouses_there_are() -> None:
    places = [Place(f"wh-{number:04}", "north", 1 + number) for number in range(1_000)]
    lines = [free(UUID(int=number), 5) for number in range(1, 101)]
    stock = {line.product_id: [level(place, 1 if place is not places[-1] else 5) for place in places] for line in lines}
    answer = allocated(lines, stock)
    assert {part.warehouse_id for part in answer.parts} == {"wh-0999"}
    shown = [candidate["warehouse_id"] for candidate in answer.explanation["candidates"]]
    assert shown == ["wh-0000", "wh-0001", "wh-0002", "wh-0999"]
    assert answer.explanation["candidates_left_out"] == 996
    assert len(answer.explanation["rejected"]) == 300


def test_a_named_warehouse_that_served_its_line_is_not_called_insufficient() -> None:
    answer = allocated([Line(SHIRT, 3, "wh-sp-001")], {SHIRT: [level(SP, 5)]})
    assert answer.explanation["rejected"] == []
