"""The search for sets of warehouses that are enough together: what it finds, in what order, and when it gives up."""

from collections.abc import Sequence
from itertools import combinations
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouses.allocation import explanation
from warehouses.allocation.decision import allocate
from warehouses.allocation.plans import MAX_STEPS, POOL, Search, Units, covers, less
from warehouses.allocation.policies import Policy
from warehouses.allocation.preferences import Option, Place, Plan
from warehouses.allocation.terms import Candidate, Delivery, Line

SHIRT = UUID(int=1)


def option(number: int, *units: int, distance_km: float | None = None, is_used: bool = False) -> Option:
    """The warehouse of that number, as many kilometres away unless said otherwise."""
    place = Place(f"wh-{number:04}", "north", 1, float(number) if distance_km is None else distance_km)
    return Option(place, is_used, units, 0.0)


def search(*, is_by_line: bool = False, most: int | None = None, is_fewest_first: bool = True) -> Search:
    return Search(is_by_line=is_by_line, most=most, is_fewest_first=is_fewest_first)


def numbers(plans: Sequence[Plan]) -> list[list[int]]:
    """The plans as the numbers of their warehouses, each as it is and all in order."""
    return sorted([int(option.place.warehouse_id.removeprefix("wh-")) for option in plan] for plan in plans)


def found(wanted: Units, options: Sequence[Option], by: Search) -> list[list[int]]:
    return numbers(by.plans(wanted, options, [option for option in options if option.is_used]))


# --- single warehouses and used ones -------------------------------------------------------------------------------


def test_where_one_is_enough_and_the_number_comes_first_no_set_is_looked_for() -> None:
    by = search()
    assert found((5,), [option(1, 5), option(2, 4), option(3, 9)], by) == [[1], [3]]
    assert (by.steps, by.is_given_up) == (0, False)


def test_where_the_number_does_not_come_first_sets_from_which_none_can_be_left_out_are_found_too() -> None:
    options = [option(1, 5), option(2, 4), option(3, 3), option(4, 1), option(5, 1)]
    by = search(is_fewest_first=False)
    # 2 needs one of the others, no matter which; without it the other three have just enough.
    assert found((5,), options, by) == [[1], [2, 3], [2, 4], [2, 5], [3, 4, 5]]


def test_used_warehouses_that_are_enough_need_no_other() -> None:
    assert found((5,), [option(1, 2, is_used=True), option(2, 3, is_used=True), option(3, 9)], search()) == [[]]


def test_what_used_warehouses_have_is_taken_off_first() -> None:
    options = [option(1, 4, is_used=True), option(2, 1), option(3, 1), option(4, 0)]
    assert found((5,), options, search()) == [[2], [3]]
    assert found((6,), options, search()) == [[2, 3]]
    assert found((6,), options, search(most=1)) == []


def test_no_more_are_allowed_than_said() -> None:
    options = [option(number, 1) for number in range(1, 5)]
    assert found((3,), options, search(most=2)) == []
    assert found((3,), options, search(most=3)) == [[1, 2, 3], [1, 2, 4], [1, 3, 4], [2, 3, 4]]
    assert found((1,), options, search(most=0)) == []


def test_a_set_for_two_lines_has_enough_of_each() -> None:
    options = [option(1, 3, 0), option(2, 0, 3), option(3, 2, 2), option(4, 1, 1)]
    assert found((3, 3), options, search()) == [[1, 2], [3, 4]]


def test_by_line_a_warehouse_counts_only_with_what_it_has_of_a_line_whole() -> None:
    options = [option(1, 3, 0), option(2, 0, 3), option(3, 2, 2), option(4, 1, 1)]
    assert found((3, 3), options, search(is_by_line=True)) == [[1, 2]]
    used = [option(1, 2, 3, is_used=True), option(2, 3, 0), option(3, 1, 9)]
    assert found((3, 3), used, search(is_by_line=True)) == [[2]]
    assert found((3, 3), used, search()) == [[2], [3]]


units = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=6)


@settings(deadline=None)
@given(units, st.tuples(st.integers(1, 9), st.integers(1, 9)), st.booleans(), st.sampled_from([None, 1, 2, 3]))
def test_the_search_finds_all_sets_that_brute_force_finds(
    stocks: list[tuple[int, int]], wanted: tuple[int, int], is_by_line: bool, most: int | None
) -> None:
    options = [option(number, *stock) for number, stock in enumerate(stocks)]
    enough = [
        set(members)
        for size in range(1, min(most or 6, 6) + 1)
        for members in combinations(range(len(options)), size)
        if all(
            sum(stocks[i][line] for i in members if not is_by_line or stocks[i][line] >= wanted[line]) >= wanted[line]
            for line in range(2)
        )
    ]
    irreducible = sorted(sorted(members) for members in enough if not any(fewer < members for fewer in enough))
    smallest = min(map(len, irreducible), default=0)
    fewest_first = search(is_by_line=is_by_line, most=most)
    assert found(wanted, options, fewest_first) == [plan for plan in irreducible if len(plan) == smallest]
    by = search(is_by_line=is_by_line, most=most, is_fewest_first=False)
    assert found(wanted, options, by) == [plan for plan in irreducible if len(plan) <= max(3, smallest)]
    assert not fewest_first.is_given_up
    assert not by.is_given_up


# --- the pool ------------------------------------------------------------------------------------------------------


def test_a_pair_that_stands_among_the_far_ones_alone_is_found() -> None:
    near = [option(number, 1) for number in range(1, 40)]
    far = [option(50, 60), option(51, 60)]
    by = search(most=2)
    assert found((100,), [*near, *far], by) == [[50, 51]]
    assert not by.is_given_up


def test_where_the_nearest_can_serve_the_far_ones_are_not_looked_at() -> None:
    near = [option(number, 5) for number in range(1, POOL + 1)]
    far = [option(number, 7) for number in range(50, 60)]
    assert len(found((10,), [*far, *near], search())) == POOL * (POOL - 1) // 2
    assert max(map(max, found((10,), [*far, *near], search()))) == POOL


def test_a_single_warehouse_is_found_however_far_it_is() -> None:
    options = [option(number, 1) for number in range(1, 1_000)]
    assert found((5,), [*options, option(5_000, 5)], search()) == [[5_000]]


def test_by_line_a_line_that_is_whole_far_away_alone_is_found() -> None:
    near = [option(number, 5, 1) for number in range(1, 40)]
    plans = found((5, 5), [*near, option(90, 0, 5)], search(is_by_line=True))
    assert plans == [[number, 90] for number in range(1, 40)]


# --- the limit -----------------------------------------------------------------------------------------------------


def hard(lines: int, warehouses: int) -> tuple[Units, list[Option]]:
    """Each warehouse has three of the lines; the fewest that have all of them are far too many sets to look at."""
    options = [
        option(
            i,
            *[
                2 if line in {(7 * i) % lines, (7 * i + i // 3 + 1) % lines, (11 * i + 5) % lines} else 0
                for line in range(lines)
            ],
        )
        for i in range(warehouses)
    ]
    return tuple([2] * lines), options


def test_the_search_is_given_up_after_so_many_steps() -> None:
    wanted, options = hard(30, 60)
    by = search()
    assert all(any(option.units[line] >= 2 for option in options) for line in range(30))
    found(wanted, options, by)
    assert by.is_given_up
    assert by.steps == MAX_STEPS


@pytest.mark.parametrize("split", ["fewest_parcels", "by_line"])
def test_an_order_that_can_be_served_is_served_though_the_search_was_given_up(split: str) -> None:
    wanted, options = hard(30, 60)
    products = [UUID(int=number) for number in range(1, 31)]
    stock = {
        product: [Candidate(option.place, option.units[line], False, False) for option in options]
        for line, product in enumerate(products)
    }
    lines = [Line(product, want, None) for product, want in zip(products, wanted, strict=True)]
    delivery = Delivery(policy=Policy(split="by_line") if split == "by_line" else Policy())
    answer = allocate(lines, stock, delivery=delivery)
    assert [(part.product_id, part.quantity) for part in answer.parts] == [(product, 2) for product in products]
    full = explanation.explain(answer.record)
    assert full["steps"] == MAX_STEPS
    assert [note["code"] for note in full["notes"]] == ["search_given_up"]


def test_a_line_of_which_each_warehouse_has_one_unit_takes_as_many_as_must_be_without_a_search_for_all_sets() -> None:
    stock = {SHIRT: [Candidate(option(number).place, 1, False, False) for number in range(300)]}
    answer = allocate([Line(SHIRT, 250, None)], stock)
    assert len(answer.parts) == 250
    assert answer.record["steps"] == MAX_STEPS
    assert answer.record["notes"] == ["no_postal_code", "search_given_up"]


@pytest.mark.parametrize(("far_units", "parcels", "notes"), [(15, 3, ["far_not_compared"]), (30, 1, [])])
def test_several_that_serve_where_farther_ones_were_not_compared_are_noted(
    far_units: int, parcels: int, notes: list[str]
) -> None:
    near = [Place(f"wh-{number:02}", "", 1, float(number)) for number in range(POOL)]
    far = [Place("wh-far-1", "", 1, 900.0), Place("wh-far-2", "", 1, 901.0)]
    stock = {SHIRT: [Candidate(place, far_units if place in far else 10, False, False) for place in (*near, *far)]}
    full = explanation.explain(allocate([Line(SHIRT, 30, None)], stock, delivery=Delivery(area="BR 01")).record)
    assert len(full["chosen"][0]["parts"]) == parcels
    assert [note["code"] for note in full["notes"]] == notes


def test_at_most_answers_by_the_best_it_has_found_when_the_search_was_given_up() -> None:
    # Far more sets of three than steps: those that have been found by then are chosen from.
    stock = {SHIRT: [Candidate(option(number).place, 1 if number < 400 else 2, False, False) for number in range(450)]}
    at_most = Delivery(policy=Policy(split="at_most", most_parcels=3))
    answer = allocate([Line(SHIRT, 6, None)], stock, delivery=at_most)
    assert sum(part.quantity for part in answer.parts) == 6
    assert len(answer.parts) == 3
    assert answer.record["steps"] == MAX_STEPS
    assert answer.record["notes"] == ["search_given_up"]


def test_at_most_may_refuse_what_a_longer_search_would_have_served() -> None:
    """The price of the limit (docs/concepts/allocation.md): three far ones can serve, behind many that look better."""
    products = [UUID(int=number) for number in range(1, 4)]
    lines = [Line(product, 10, None) for product in products]
    far = [option(900, 4, 4, 4), option(901, 3, 3, 3), option(902, 3, 3, 3)]

    def served(others: int) -> bool:
        options = [
            *[option(number, *[9 if i == number % 3 else 0 for i in range(3)]) for number in range(others)],
            *far,
        ]
        stock = {
            product: [Candidate(one.place, one.units[i], is_blocked=False, is_closed=False) for one in options]
            for i, product in enumerate(products)
        }
        policy = Policy(split="at_most", most_parcels=3)
        return bool(allocate(lines, stock, delivery=Delivery(policy=policy)).parts)

    assert served(60)
    assert not served(300)


# --- arithmetic ----------------------------------------------------------------------------------------------------


def test_what_is_missing_never_falls_below_nothing() -> None:
    assert less((5, 5, 5), (2, 5, 9)) == (3, 0, 0)
    assert covers((5, 5), (5, 4))
    assert not covers((5, 3), (5, 4))
