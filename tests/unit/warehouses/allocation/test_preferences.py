"""Preferences are asked in their turn, each about what the ones before it left; the id comes last."""

import math
from itertools import permutations

import pytest

from warehouses.allocation import preferences
from warehouses.allocation.policies import PREFERENCES, Policy, Preference
from warehouses.allocation.preferences import SCORES, Choice, Option, Place, by_distance, choose, ranked


def option(
    key: str, *, distance_km: float | None = None, priority: int = 1, share_taken: float = 0.0, is_used: bool = False
) -> Option:
    return Option(Place(f"wh-{key}", "north", priority, distance_km), is_used, (5,), share_taken)


def policy(*names: Preference, tolerance_km: float = 0.0) -> Policy:
    return Policy(preferences=names, tolerance_km=tolerance_km, split="by_line")


def chosen(choice: Choice) -> list[str]:
    return [option.place.warehouse_id for option in choice.plan]


# --- scores --------------------------------------------------------------------------------------------------------


def test_every_preference_has_a_score() -> None:
    assert tuple(SCORES) == PREFERENCES


def test_each_preference_says_what_it_is_named_for() -> None:
    one = option("a", distance_km=12.5, priority=3, share_taken=0.25)
    assert {name: score(one) for name, score in SCORES.items()} == {
        "fewest_parcels": 1,
        "nearest": 12.5,
        "priority": 3,
        "balance": 0.25,
    }
    assert preferences.fewest_parcels(option("a", is_used=True)) == 0
    assert preferences.nearest(option("a", distance_km=0.0)) == 0.0
    assert preferences.nearest(option("a", distance_km=None)) == math.inf


def test_the_nearest_come_first_and_those_of_unknown_distance_last() -> None:
    places = [
        Place("wh-e", "north", 2),
        Place("wh-d", "north", 1),
        Place("wh-c", "north", 2, 7.0),
        Place("wh-b", "north", 1, 7.0),
        Place("wh-f", "north", 1, 7.0),
        Place("wh-a", "north", 9, 6.9),
    ]
    for shuffled in permutations(places):
        in_order = [place.warehouse_id for place in sorted(shuffled, key=by_distance)]
        assert in_order == ["wh-a", "wh-b", "wh-f", "wh-c", "wh-d", "wh-e"]


# --- one after the other -------------------------------------------------------------------------------------------


def test_an_only_plan_is_chosen_without_asking() -> None:
    choice = choose([(option("a"),)], policy("nearest", "priority"))
    assert (chosen(choice), choice.tie_break, choice.said, choice.lost) == (["wh-a"], "only_candidate", [], {})


def test_each_preference_is_asked_about_what_the_ones_before_it_left() -> None:
    plans = [
        (option("a", distance_km=500.0),),  # would win by everything but the distance
        (option("b", distance_km=30.0, priority=2),),
        (option("c", distance_km=10.0, share_taken=0.5),),
        (option("d", distance_km=40.0, share_taken=0.25),),
        (option("e", distance_km=60.1),),
    ]
    choice = choose(plans, policy("nearest", "priority", "balance", tolerance_km=50.0))
    assert chosen(choice) == ["wh-d"]
    assert choice.tie_break == "balance"
    assert choice.said == [["nearest", 10.0, 3], ["priority", 1, 2], ["balance", 0.25, 1]]
    assert choice.lost == {"wh-a": "nearest", "wh-e": "nearest", "wh-b": "priority", "wh-c": "balance"}


def test_what_is_decided_is_not_asked_further() -> None:
    choice = choose([(option("a", priority=2),), (option("b", priority=1),)], policy("priority", "nearest", "balance"))
    assert (chosen(choice), choice.said) == (["wh-b"], [["priority", 1, 1]])


def test_a_preference_that_leaves_all_decides_nothing() -> None:
    plans = [(option("a", priority=1, share_taken=0.5),), (option("b", priority=1),)]
    choice = choose(plans, policy("priority", "balance"))
    assert (chosen(choice), choice.tie_break) == (["wh-b"], "balance")
    assert choice.said == [["priority", 1, 2], ["balance", 0.0, 1]]


def test_the_id_comes_last_in_whatever_order_they_are_given() -> None:
    for plans in permutations([(option("b"),), (option("a"),), (option("c"),)]):
        choice = choose(plans, policy(*PREFERENCES))
        assert (chosen(choice), choice.tie_break) == (["wh-a"], "id")
        assert choice.lost == {"wh-b": "id", "wh-c": "id"}


def test_plans_that_are_equal_in_everything_are_told_apart_by_their_first_id_then_the_next() -> None:
    a, b, c, d = (option(key) for key in "abcd")
    assert chosen(choose([(c, d), (d, a), (b, a)], policy("priority"))) == ["wh-b", "wh-a"]


# --- the tolerance -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tolerance_km", "best"), [(0.0, "wh-far"), (9.9, "wh-far"), (10.0, "wh-better"), (20_000.0, "wh-better")]
)
def test_a_warehouse_is_equally_near_up_to_the_tolerance_and_not_beyond(tolerance_km: float, best: str) -> None:
    plans = [(option("far", distance_km=90.0, priority=2),), (option("better", distance_km=100.0, priority=1),)]
    assert chosen(choose(plans, policy("nearest", "priority", tolerance_km=tolerance_km))) == [best]


def test_the_tolerance_is_measured_from_the_nearest_and_not_from_one_to_the_next() -> None:
    plans = [
        (option(key, distance_km=way, priority=p),) for key, way, p in (("a", 0.0, 3), ("b", 40.0, 2), ("c", 80.0, 1))
    ]
    assert chosen(choose(plans, policy("nearest", "priority", tolerance_km=50.0))) == ["wh-b"]


def test_of_those_that_are_equal_in_all_else_the_nearer_one_is_taken_where_distance_counts() -> None:
    plans = [(option("a", distance_km=40.0),), (option("b", distance_km=10.0),), (option("c", distance_km=10.0),)]
    choice = choose(plans, policy("nearest", "priority", tolerance_km=50.0))
    assert (chosen(choice), choice.tie_break) == (["wh-b"], "id")
    assert choice.said == [["nearest", 10.0, 3], ["priority", 1, 3], ["nearest", 10.0, 2]]
    assert choice.lost == {"wh-a": "nearest", "wh-c": "id"}
    assert chosen(choose(plans, policy("priority"))) == ["wh-a"]


def test_the_tolerance_is_of_distances_alone() -> None:
    plans = [(option("a", priority=2),), (option("b", priority=1),)]
    assert chosen(choose(plans, policy("priority", tolerance_km=50.0))) == ["wh-b"]


def test_an_unknown_distance_is_beyond_any_tolerance_and_where_none_is_known_all_are_equal() -> None:
    known, unknown = option("z", distance_km=19_000.0), option("a")
    choice = choose([(unknown,), (known,)], policy("nearest", tolerance_km=20_000.0))
    assert (chosen(choice), choice.lost) == (["wh-z"], {"wh-a": "nearest"})
    nowhere = choose([(option("b"),), (option("a"),)], policy("nearest", tolerance_km=50.0))
    assert (chosen(nowhere), nowhere.tie_break, nowhere.said) == (["wh-a"], "id", [["nearest", None, 2]])


# --- several parcels -----------------------------------------------------------------------------------------------


def test_the_score_of_a_plan_is_the_sum_of_its_warehouses() -> None:
    near_pair = (option("a", distance_km=10.0), option("b", distance_km=20.0))
    far_one = (option("c", distance_km=31.0),)
    assert chosen(choose([far_one, near_pair], policy("nearest"))) == ["wh-a", "wh-b"]
    assert chosen(choose([far_one, near_pair], policy("nearest", "fewest_parcels", tolerance_km=1.0))) == ["wh-c"]
    assert chosen(choose([far_one, near_pair], policy("fewest_parcels"))) == ["wh-c"]


def test_what_a_plan_of_several_lost_by_is_not_told_of_its_warehouses() -> None:
    choice = choose([(option("a"), option("b")), (option("c"),)], policy("fewest_parcels"))
    assert (choice.tie_break, choice.lost) == ("fewest_parcels", {})


def test_a_parcel_that_leaves_anyway_costs_nothing() -> None:
    plans = [(option("a"),), (option("b", is_used=True, distance_km=900.0),)]
    choice = choose(plans, policy("fewest_parcels", "nearest"))
    assert (chosen(choice), choice.said) == (["wh-b"], [["fewest_parcels", 0, 1]])


# --- ranks ---------------------------------------------------------------------------------------------------------


def test_the_preferred_one_of_all_comes_first_then_that_of_the_others() -> None:
    options = [
        option("a", distance_km=100.0, priority=1),
        option("b", distance_km=40.0, priority=2),
        option("c", distance_km=0.0, priority=3),
        option("d"),
    ]
    for shuffled in permutations(options):
        names = [one.place.warehouse_id for one in ranked(shuffled, policy("nearest", "priority", tolerance_km=60.0))]
        # b before c by priority; then c, for a is too far from it; and once c is gone, a.
        assert names == ["wh-b", "wh-c", "wh-a", "wh-d"]
    assert ranked([], policy("nearest")) == []
