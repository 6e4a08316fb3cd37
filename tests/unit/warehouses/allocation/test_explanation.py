"""The record of a decision as callers and staff read it; what is wrong or missing has a note."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from warehouses.allocation import explanation, words
from warehouses.allocation.decision import allocate
from warehouses.allocation.geography import Area, Point, PostalAreas
from warehouses.allocation.policies import PREFERENCES, Policy
from warehouses.allocation.preferences import BY_ID, ONLY_CANDIDATE, Place
from warehouses.allocation.terms import NOWHERE, Candidate, Delivery, Line
from warehouses.network import Network, Site

SP = Place("wh-sp-001", "southeast", 1, 1.2)
RJ = Place("wh-rj-001", "southeast", 2, 359.1)
PR = Place("wh-pr-001", "south", 1, 338.0)
SHIRT, SHOE = UUID(int=1), UUID(int=2)
TO_SAO_PAULO = Delivery(precision="prefix", area="BR 01", name="São Paulo, SP", region="southeast")


def level(place: Place, available: int, *, is_closed: bool = False) -> Candidate:
    return Candidate(place, available, is_blocked=False, is_closed=is_closed, replenished=10)


def told(
    lines: Sequence[Line], stock: dict[UUID, list[Candidate]], delivery: Delivery = TO_SAO_PAULO
) -> dict[str, Any]:
    answer = allocate(lines, stock, delivery=delivery)
    assert answer.parts
    return explanation.explain(answer.record)


def shirts(quantity: int) -> Line:
    return Line(SHIRT, quantity, None)


# --- in full -------------------------------------------------------------------------------------------------------


def test_a_record_is_shown_in_full() -> None:
    stock = {SHIRT: [level(RJ, 9), level(PR, 3, is_closed=True), level(SP, 5)], SHOE: [level(RJ, 2)]}
    full = told([shirts(4), Line(SHOE, 1, "wh-rj-001")], {**stock, SHIRT: [*stock[SHIRT], level(NEAR_AND_EMPTY, 1)]})
    assert full == {
        "version": 2,
        "strategy": "one_warehouse",
        "tie_break": "fewest_parcels",
        "policy": {
            "region": "",
            "preferences": ["fewest_parcels", "nearest", "priority", "balance"],
            "tolerance_km": 50.0,
            "split": "fewest_parcels",
            "most_parcels": None,
            "is_built_in": True,
        },
        "allow_split": True,
        "delivery": {"area": "BR 01", "name": "São Paulo, SP", "precision": "prefix", "region": "southeast"},
        "notes": [],
        "steps": 0,
        "candidates": [
            shown_candidate(NEAR_AND_EMPTY, {SHIRT: (1, 0.9)}),
            shown_candidate(SP, {SHIRT: (5, 0.5)}),
            shown_candidate(RJ, {SHIRT: (9, 0.1), SHOE: (2, 0.8)}),
        ],
        "candidates_left_out": 0,
        "rejected": [
            {"warehouse_id": "wh-pr-001", "product_id": str(SHIRT), "reason": "closed"},
            {
                "warehouse_id": "wh-sp-002",
                "product_id": str(SHIRT),
                "reason": "insufficient",
                "requested": 4,
                "available": 1,
            },
        ],
        "chosen": [
            {
                "strategy": "named",
                "tie_break": None,
                "said": [],
                "parts": [{"product_id": str(SHOE), "warehouse_id": "wh-rj-001", "quantity": 1}],
            },
            {
                "strategy": "one_warehouse",
                "tie_break": "fewest_parcels",
                "said": [],
                "parts": [{"product_id": str(SHIRT), "warehouse_id": "wh-rj-001", "quantity": 4}],
            },
        ],
        "sentence": "Requested by the caller: wh-rj-001. "
        "wh-rj-001 (359 km away) serves the rest: it makes the fewest parcels.",
    }


NEAR_AND_EMPTY = Place("wh-sp-002", "southeast", 3, 0.5)


def shown_candidate(place: Place, stock: dict[UUID, tuple[int, float]]) -> dict[str, Any]:
    return {
        "warehouse_id": place.warehouse_id,
        "region": place.region,
        "priority": place.priority,
        "distance_km": place.distance_km,
        "lost_by": None,
        "available": {str(product): available for product, (available, _) in stock.items()},
        "share_taken": {str(product): share for product, (_, share) in stock.items()},
    }


def test_what_each_preference_said_is_told_and_by_which_the_others_lost() -> None:
    near = [SP, Place("wh-sp-002", "southeast", 2, 10.0), Place("wh-sp-003", "southeast", 1, 20.0)]
    stock = {SHIRT: [level(near[0], 4), level(near[1], 5), level(near[2], 8), level(RJ, 9)]}
    full = told([shirts(3)], stock)
    assert full["chosen"][0]["said"] == [
        {"preference": "fewest_parcels", "best": 1, "left": 4},
        {"preference": "nearest", "best": 1.2, "left": 3},
        {"preference": "priority", "best": 1, "left": 2},
        {"preference": "balance", "best": 0.2, "left": 1},
    ]
    assert {one["warehouse_id"]: one["lost_by"] for one in full["candidates"]} == {
        "wh-sp-001": "balance",
        "wh-sp-002": "priority",
        "wh-sp-003": None,
        "wh-rj-001": "nearest",
    }


def test_what_named_lines_took_is_off_what_is_said_to_be_insufficient() -> None:
    full = told([Line(SHIRT, 4, "wh-sp-001"), shirts(3)], {SHIRT: [level(SP, 6), level(RJ, 5)]})
    assert full["rejected"] == [
        {
            "warehouse_id": "wh-sp-001",
            "product_id": str(SHIRT),
            "reason": "insufficient",
            "requested": 3,
            "available": 2,
        }
    ]


def test_the_decision_that_had_to_go_furthest_is_told_first() -> None:
    full = told([Line(SHOE, 1, "wh-pr-001"), shirts(12)], {SHIRT: [level(SP, 9), level(RJ, 9)], SHOE: [level(PR, 1)]})
    assert (full["strategy"], full["tie_break"]) == ("split_line", "only_candidate")


# --- as a sentence -------------------------------------------------------------------------------------------------


def test_the_sentence_says_who_serves_and_why_and_three_of_those_that_were_passed_over() -> None:
    others = [Place(f"wh-{number}", "north", 1, 600.0 + number) for number in range(5)]
    few = told([shirts(2)], {SHIRT: [level(SP, 5), level(RJ, 5), level(PR, 5)]})
    assert few["sentence"] == "wh-sp-001 (1 km away) serves the order: it is the nearest (before wh-pr-001, wh-rj-001)."
    many = told([shirts(2)], {SHIRT: [level(place, 5) for place in [SP, *others]]})
    assert many["sentence"] == (
        "wh-sp-001 (1 km away) serves the order: it is the nearest (before wh-0, wh-1, wh-2 and 2 more)."
    )


def test_the_sentence_of_a_split_says_how() -> None:
    by_line = told([shirts(4), Line(SHOE, 4, None)], {SHIRT: [level(SP, 4)], SHOE: [level(RJ, 4)]})
    assert by_line["sentence"] == (
        "wh-sp-001 (1 km away) and wh-rj-001 (359 km away) serve the order: no other set so small could do it. "
        "The lines come whole, from different warehouses."
    )
    split = told([shirts(9)], {SHIRT: [level(SP, 5), level(RJ, 5)]})
    assert split["sentence"] == (
        "wh-sp-001 (1 km away) and wh-rj-001 (359 km away) serve the order: no other set so small could do it. "
        "A line comes from several warehouses."
    )


def test_the_sentence_of_named_lines_says_that_they_were_asked_for() -> None:
    full = told(
        [Line(SHIRT, 1, "wh-sp-001"), Line(SHOE, 1, "wh-rj-001"), Line(SHOE, 1, "wh-sp-001")],
        {SHIRT: [level(SP, 5)], SHOE: [level(RJ, 5), level(SP, 5)]},
    )
    assert full["sentence"] == "Requested by the caller: wh-rj-001 and wh-sp-001."


def test_every_word_that_a_decision_can_say_has_a_sentence() -> None:
    assert {*PREFERENCES, ONLY_CANDIDATE, BY_ID} <= words.TIE_BREAKS.keys()
    assert list(words.STRATEGIES) == ["named", "one_warehouse", "split_by_line", "split_line"]
    assert all(sentence.endswith(".") for sentence in [*words.NOTES.values(), *words.STRATEGIES.values()])


# --- what is wrong or missing --------------------------------------------------------------------------------------

AREAS = [
    Area("BR", "01", Point(-23.55, -46.64), "São Paulo, SP", "southeast", is_region=False),
    Area("BR", "69", Point(-3.1, -60.0), "Amazonas", "north", is_region=True),
    Area("BR", "80", Point(-25.43, -49.27), "Curitiba, PR", "south", is_region=False),
]


def site(warehouse_id: str, point: Point | None, *served_regions: str) -> Site:
    return Site(warehouse_id, "southeast", 1, point, frozenset(served_regions))


AT_SAO_PAULO = site("wh-sp-001", Point(-23.5505, -46.6333))
AT_CURITIBA = site("wh-pr-001", Point(-25.4295, -49.2719))


def seen(postal_code: str, *sites: Site, policies: dict[str, Policy | None] | None = None) -> dict[str, Any]:
    """The decision on one shirt for that postal code, where each of the warehouses has ten."""
    by_id = {one.warehouse_id: one for one in sites}
    network = Network({}, by_id, PostalAreas(AREAS, home="BR"), policies or {})
    view = network.seen_from(postal_code)
    return told([shirts(1)], {SHIRT: [level(view[one.warehouse_id], 10) for one in sites]}, view.delivery)


def codes(full: dict[str, Any]) -> list[str]:
    for note in full["notes"]:
        assert note["detail"] == words.NOTES[note["code"]]
        assert note["detail"] in full["sentence"]
    return [note["code"] for note in full["notes"]]


def server(full: dict[str, Any]) -> str:
    [part] = full["chosen"][0]["parts"]
    return str(part["warehouse_id"])


@pytest.mark.parametrize("postal_code", ["01310-100", "01310100", " 01310-100 ", "br 01310-100", "01"])
def test_a_known_postal_code_needs_no_note(postal_code: str) -> None:
    full = seen(postal_code, AT_SAO_PAULO, AT_CURITIBA)
    assert (codes(full), server(full), full["tie_break"]) == ([], "wh-sp-001", "nearest")
    assert full["delivery"]["area"] == "BR 01"


def test_without_a_postal_code_the_other_preferences_decide() -> None:
    full = seen("", AT_SAO_PAULO, AT_CURITIBA)
    assert (codes(full), server(full), full["tie_break"]) == (["no_postal_code"], "wh-pr-001", "id")
    assert full["delivery"] == {"area": "", "name": "", "precision": "unknown", "region": ""}
    assert [one["distance_km"] for one in full["candidates"]] == [None, None]


@pytest.mark.parametrize(
    "postal_code", ["99999-999", "4", "PT 1000-001", "XX", "not a code", "-", "'; --", "é", "٠١٣١٠"]
)
def test_a_postal_code_of_which_nothing_is_known_counts_as_none_and_is_noted(postal_code: str) -> None:
    full = seen(postal_code, AT_SAO_PAULO, AT_CURITIBA)
    assert (codes(full), server(full)) == (["unknown_postal_code"], "wh-pr-001")
    assert full["delivery"]["precision"] == "unknown"


def test_a_code_of_which_no_more_than_the_state_is_known_is_measured_from_its_middle_and_noted() -> None:
    full = seen("69900-000", AT_SAO_PAULO, AT_CURITIBA, policies={"": Policy(tolerance_km=0.0)})
    assert (codes(full), server(full), full["delivery"]["precision"]) == (["rough_delivery"], "wh-sp-001", "region")
    assert [one["distance_km"] for one in full["candidates"]] == [2690.0, 2735.2]


def test_a_warehouse_without_a_place_comes_last_and_is_noted() -> None:
    full = seen("80010-000", site("wh-aa-001", None), AT_SAO_PAULO)
    assert (codes(full), server(full)) == (["warehouse_without_place"], "wh-sp-001")
    assert [one["distance_km"] for one in full["candidates"]] == [338.9, None]


def test_a_warehouse_that_lies_where_its_postal_code_does_is_noted() -> None:
    full = seen("80010-000", AT_SAO_PAULO._replace(is_by_postal_code=True), AT_CURITIBA)
    assert (codes(full), server(full)) == (["warehouse_by_postal_code"], "wh-pr-001")
    assert codes(seen("", AT_SAO_PAULO._replace(is_by_postal_code=True))) == ["no_postal_code"]


def test_without_any_place_the_priority_and_the_id_decide() -> None:
    full = seen("80010-000", site("wh-bb-001", None), site("wh-aa-001", None))
    assert (codes(full), server(full), full["tie_break"]) == (["warehouse_without_place"], "wh-aa-001", "id")


def test_a_warehouse_that_does_not_serve_the_region_is_left_out_and_told() -> None:
    full = seen("80010-000", AT_SAO_PAULO, AT_CURITIBA._replace(served_regions=frozenset({"southeast", "north"})))
    assert (codes(full), server(full)) == ([], "wh-sp-001")
    assert full["rejected"] == [{"warehouse_id": "wh-pr-001", "product_id": str(SHIRT), "reason": "not_served"}]


@pytest.mark.parametrize(("postal_code", "why"), [("", "no_postal_code"), ("12345", "unknown_postal_code")])
def test_where_the_region_is_not_known_served_regions_are_not_looked_at_and_that_is_noted(
    postal_code: str, why: str
) -> None:
    full = seen(postal_code, AT_SAO_PAULO, AT_CURITIBA._replace(served_regions=frozenset({"southeast"})))
    assert (codes(full), server(full)) == ([why, "served_regions_unchecked"], "wh-pr-001")


def test_a_policy_that_cannot_be_followed_is_replaced_by_the_built_in_one_and_noted() -> None:
    full = seen("80010-000", AT_SAO_PAULO, AT_CURITIBA, policies={"south": None, "": Policy(split="never")})
    assert (codes(full), server(full)) == (["unusable_policy"], "wh-pr-001")
    assert full["policy"]["split"] == "fewest_parcels"


def test_each_region_has_its_own_policy_and_the_others_the_one_for_all() -> None:
    of_south = Policy(region="south", preferences=("priority",), split="never")
    of_others = Policy(split="by_line")
    both: dict[str, Policy | None] = {"south": of_south, "": of_others}
    followed = {
        code: (full["policy"]["region"], full["policy"]["split"])
        for code, full in (
            (code, seen(code, AT_SAO_PAULO, policies=both)) for code in ("80010", "01310", "69", "", "7")
        )
    }
    assert followed == {
        "80010": ("south", "never"),
        "01310": ("", "by_line"),
        "69": ("", "by_line"),
        "": ("", "by_line"),
        "7": ("", "by_line"),
    }
    assert seen("01310", AT_SAO_PAULO, policies={"south": of_south})["policy"]["split"] == "fewest_parcels"


def test_every_note_is_shown_by_one_of_the_tests_here_or_of_the_search() -> None:
    assert list(words.NOTES) == [
        "no_postal_code",
        "unknown_postal_code",
        "rough_delivery",
        "warehouse_without_place",
        "warehouse_by_postal_code",
        "served_regions_unchecked",
        "unusable_policy",
        "revived",
        "search_given_up",
        "far_not_compared",
        "read_before",
    ]


# --- records of the first version ----------------------------------------------------------------------------------


def test_a_record_of_the_first_version_is_shown_too() -> None:
    record: dict[str, Any] = {
        "version": 1,
        "strategy": "one_warehouse",
        "tie_break": "stock",
        "candidates": [
            {"warehouse_id": "wh-sp-001", "region": "southeast", "priority": 1, "available": {str(SHIRT): 7}},
        ],
        "candidates_left_out": 0,
        "rejected": [],
        "chosen": [
            {
                "strategy": "one_warehouse",
                "tie_break": "stock",
                "parts": [{"product_id": str(SHIRT), "warehouse_id": "wh-sp-001", "quantity": 4}],
            }
        ],
    }
    full = explanation.explain(record)
    assert full == {
        **record,
        "policy": None,
        "allow_split": None,
        "delivery": None,
        "notes": [],
        "steps": None,
        "candidates": [shown_candidate(SP._replace(distance_km=None), {SHIRT: (7, 0.0)}) | {"share_taken": {}}],
        "chosen": [{**record["chosen"][0], "said": []}],
        "sentence": "wh-sp-001 serves the order: of equally good ones, it had the most stock.",
    }
    assert full.keys() == told([shirts(1)], {SHIRT: [level(SP, 1)]}, NOWHERE).keys()
    assert "sentence" not in record
    assert record["candidates"][0].keys() == {"warehouse_id", "region", "priority", "available"}
