"""What makes no sense in a policy is said, at its field."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from warehouses.allocation import policies
from warehouses.allocation.policies import BUILT_IN, PREFERENCES, SPLITS, Policy, problems

AT_MOST_TWO = Policy(split="at_most", most_parcels=2)


def test_the_built_in_policy_is_for_every_region_and_makes_sense() -> None:
    assert (
        Policy(
            region="",
            preferences=("fewest_parcels", "nearest", "priority", "balance"),
            tolerance_km=50.0,
            split="fewest_parcels",
            is_built_in=True,
            most_parcels=None,
        )
        == BUILT_IN
    )
    assert problems(BUILT_IN) == {}


def test_any_order_of_any_preferences_makes_sense_where_the_split_asks_for_no_number_first() -> None:
    for count in range(1, len(PREFERENCES) + 1):
        for preferences in permutations(PREFERENCES, count):
            for policy in (Policy(split="never"), Policy(split="by_line"), AT_MOST_TWO):
                assert problems(replace(policy, preferences=preferences)) == {}


@pytest.mark.parametrize("tolerance_km", [0, 0.0, 50.5, 20_000.0])
def test_a_tolerance_is_a_way_on_the_earth(tolerance_km: float) -> None:
    assert problems(Policy(tolerance_km=tolerance_km)) == {}


@pytest.mark.parametrize("most_parcels", range(1, policies.MAX_PARCELS + 1))
def test_at_most_takes_a_small_number(most_parcels: int) -> None:
    assert problems(Policy(split="at_most", most_parcels=most_parcels)) == {}


TWICE = "A preference is named twice; the second time it would have nothing to say."
PARCELS = "With at_most say how many parcels: 1 to 3."


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        (
            {"preferences": ()},
            "preferences",
            "Name at least one preference; without any, the lowest warehouse id would serve everything.",
        ),
        (
            {"preferences": ("fewest_parcels", "cheapest")},
            "preferences",
            "There is no preference 'cheapest'; there are fewest_parcels, nearest, priority, balance.",
        ),
        ({"preferences": ("fewest_parcels", "nearest", "nearest")}, "preferences", TWICE),
        (
            {"preferences": ("nearest", "fewest_parcels")},
            "preferences",
            "These contradict each other: the split fewest_parcels asks for the number of parcels before anything "
            "else, and nearest stands before it here. Put fewest_parcels first, or choose at_most.",
        ),
        ({"tolerance_km": -0.1}, "tolerance_km", "The tolerance is 0 to 20,000 km, not -0.1."),
        ({"tolerance_km": 20_000.1}, "tolerance_km", "The tolerance is 0 to 20,000 km, not 20000.1."),
        ({"tolerance_km": float("nan")}, "tolerance_km", "The tolerance is 0 to 20,000 km, not nan."),
        ({"tolerance_km": float("inf")}, "tolerance_km", "The tolerance is 0 to 20,000 km, not inf."),
        (
            {"split": "always"},
            "split",
            "The split is one of never, by_line, fewest_parcels, at_most, not 'always'.",
        ),
        ({"split": "at_most"}, "most_parcels", PARCELS),
        ({"split": "at_most", "most_parcels": 0}, "most_parcels", PARCELS),
        ({"split": "at_most", "most_parcels": 4}, "most_parcels", PARCELS),
        (
            {"split": "never", "most_parcels": 1},
            "most_parcels",
            "A number of parcels goes with at_most, not with never: leave it empty.",
        ),
    ],
)
def test_what_makes_no_sense_has_its_sentence(changes: dict[str, Any], field: str, sentence: str) -> None:
    assert problems(replace(BUILT_IN, **changes)) == {field: sentence}


def test_each_field_that_makes_no_sense_is_told() -> None:
    wrong = Policy(preferences=(), tolerance_km=-1, split="never", most_parcels=2)
    assert sorted(problems(wrong)) == ["most_parcels", "preferences", "tolerance_km"]


def test_every_split_and_preference_is_known_once() -> None:
    assert PREFERENCES == ("fewest_parcels", "nearest", "priority", "balance")
    assert SPLITS == ("never", "by_line", "fewest_parcels", "at_most")
