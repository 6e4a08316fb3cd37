"""A file of policies to be tried is taken whole or not at all, and what is wrong with it is said all at once."""

from pathlib import Path

import pytest
from django.conf import settings

from inventory_project.foundation.errors import Invalid
from warehouses import policy_files
from warehouses.allocation.policies import Policy


def problems_of(tmp_path: Path, text: str | bytes) -> list[str]:
    path = tmp_path / "policies.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Invalid) as refusal:
        policy_files.load(path)
    problems: list[str] = refusal.value.extra["problems"]
    assert refusal.value.detail == f"{path}: {' '.join(problems)}"
    return problems


def test_the_example_of_the_project_can_be_followed() -> None:
    assert policy_files.load(settings.BASE_DIR / "fixtures" / "policies.yaml") == {
        "": Policy(
            region="",
            preferences=("nearest", "balance", "fewest_parcels", "priority"),
            tolerance_km=100.0,
            split="at_most",
            most_parcels=2,
        ),
        "north": Policy(
            region="north",
            preferences=("fewest_parcels", "nearest", "priority", "balance"),
            tolerance_km=300.0,
            split="fewest_parcels",
            most_parcels=None,
        ),
    }


def test_preferences_alone_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text("policies: [{preferences: [fewest_parcels]}]")
    assert policy_files.load(str(path)) == {"": Policy(preferences=("fewest_parcels",))}


CONTRADICTION = (
    "Policy 1: These contradict each other: the split fewest_parcels asks for the number of parcels before anything "
    "else, and nearest stands before it here. Put fewest_parcels first, or choose at_most."
)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("5", "Policy 1: it must be a mapping with preferences, and any other settings."),
        ("{region: north}", "Policy 1 (north): preferences is missing."),
        ("{preferences: nearest}", "Policy 1: preferences must be a list of names, not 'nearest'."),
        ("{preferences: [1]}", "Policy 1: preferences must be a list of names, not [1]."),
        ("{preferences: [fewest_parcels], tolerance: 5}", "Policy 1: unknown key 'tolerance'."),
        (
            "{preferences: [fewest_parcels], tolerance_km: far}",
            "Policy 1: tolerance_km must be a number of kilometres, not 'far'.",
        ),
        (
            "{preferences: [fewest_parcels], tolerance_km: true}",
            "Policy 1: tolerance_km must be a number of kilometres, not True.",
        ),
        (
            "{preferences: [fewest_parcels], tolerance_km: .nan}",
            "Policy 1: tolerance_km must be a number of kilometres, not '.nan'.",
        ),
        (
            '{preferences: [fewest_parcels], region: "no\\trth"}',
            "Policy 1 (no\\trth): region must be 1 to 64 printable characters; leave it out for every other region, "
            "not 'no\\trth'.",
        ),
        (
            "{preferences: [fewest_parcels], region: ''}",
            "Policy 1 (): region must be 1 to 64 printable characters; leave it out for every other region, not ''.",
        ),
        (
            "{preferences: [fewest_parcels], split: 3}",
            "Policy 1: split must be one of never, by_line, fewest_parcels, at_most, not 3.",
        ),
        (
            "{preferences: [fewest_parcels], split: always}",
            "Policy 1: The split is one of never, by_line, fewest_parcels, at_most, not 'always'.",
        ),
        (
            "{preferences: [nearest], split: at_most, most_parcels: 2.0}",
            "Policy 1: most_parcels must be a whole number, not 2.0.",
        ),
        ("{preferences: [nearest], split: at_most}", "Policy 1: With at_most say how many parcels: 1 to 3."),
        ("{preferences: [nearest]}", CONTRADICTION),
    ],
)
def test_what_is_wrong_with_a_policy_is_said_where_it_is(tmp_path: Path, entry: str, problem: str) -> None:
    assert problems_of(tmp_path, f"policies: [{entry}]") == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "The file must have the one key `policies`, with a list."),
        ("[]", "The file must have the one key `policies`, with a list."),
        ("policies: {}", "The file must have the one key `policies`, with a list."),
        ("policies: []", "A file lists 1 to 1000 policies, not 0."),
        ("policies: [{preferences: [priority], preferences: [nearest]}]", "the key preferences is given twice"),
        ("policies: [", "The file is not YAML: "),
        ("policies: [{<<: {preferences: [nearest]}}]", "keys cannot be merged by <<, write them out"),
        (b"policies:\n- \xff", "Line 2: the file is not UTF-8."),
        (b"\x00\x01", "The file is binary, not text."),
        ("[" * 5_000, "The file is nested too deeply."),
    ],
)
def test_a_file_that_is_no_list_of_policies_is_refused(tmp_path: Path, text: str | bytes, problem: str) -> None:
    [found] = problems_of(tmp_path, text)
    assert problem in found


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none.yaml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(Invalid) as refusal:
            policy_files.load(path)
        assert refusal.value.detail == f"{path}: The file cannot be read: {why}."


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(Invalid, match=r"^/dev/zero: The file is larger than 1 MB\.$"):
        policy_files.load("/dev/zero")


def bomb(levels: int) -> str:
    """A list of nine lists of nine lists and so on, in a few hundred characters."""
    inner = "[" + ", ".join(["lol"] * 9) + "]"
    for level in range(levels):
        inner = f"[&a{level} {inner}{f', *a{level}' * 8}]"
    return inner


@pytest.mark.timeout(10)
def test_a_value_that_aliases_blow_up_is_told_by_its_beginning(tmp_path: Path) -> None:
    text = f"policies: [{{preferences: {bomb(9)}}}]"
    assert len(text) < 1_000
    begun = "[" * 10 + ", ".join(["'lol'"] * 9) + "], ['l"
    assert problems_of(tmp_path, text) == [f"Policy 1: preferences must be a list of names, not {begun}...."]


def test_a_list_that_holds_itself_is_told_by_its_beginning(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "policies: [{preferences: &a [*a]}]") == [
        f"Policy 1: preferences must be a list of names, not {'[' * 77}...."
    ]


def test_what_is_very_long_is_told_by_its_beginning(tmp_path: Path) -> None:
    long = "x" * 1_000
    text = f"{long}: 1\npolicies: [{{region: {long}, {long}: 1, preferences: 0x{'f' * 10_000}}}]"
    named = f"Policy 1 ({'x' * 77}...)"
    wanted = "region must be 1 to 64 printable characters; leave it out for every other region"
    assert problems_of(tmp_path, text) == [
        f"Unknown key '{'x' * 76}...; `policies` is the only key.",
        f"{named}: unknown key '{'x' * 76}....",
        f"{named}: {wanted}, not '{'x' * 76}....",
        f"{named}: preferences must be a list of names, not '0x{'f' * 74}....",
    ]


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    good, bad = "{region: north, preferences: [fewest_parcels]}", "{region: south, split: 3}"
    default = "{preferences: [fewest_parcels]}"
    text = f"extra: 1\npolicies: [{good}, {bad}, {good}, {default}, {default}, {default}]"
    assert problems_of(tmp_path, text) == [
        "Unknown key 'extra'; `policies` is the only key.",
        "Policy 2 (south): preferences is missing.",
        "Policy 2 (south): split must be one of never, by_line, fewest_parcels, at_most, not 3.",
        "The region north has 2 policies.",
        "Every other region has 3 policies.",
    ]
