"""When counters are wrong, and when they are only a moment ahead of what was read, or behind it."""

from uuid import uuid4

import pytest

from stock.counters import drift
from stock.counters.drift import Drift

PRODUCT = uuid4()
ROW = {"_": "9:10:0:2", "wh-a": "3:5:0:0:1:8", "wh-b": "4:7:1:0:1:8"}
LATER = {"_": "11:10:0:2", "wh-a": "3:5:0:0:1:8", "wh-b": "6:9:1:0:1:8"}


def wrong_fields(found: dict[str, str], before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [each.field for each in drift.drifts(PRODUCT, found=found, before=before, after=after)]


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({}, []),
        ({"_": "2:10:0:2"}, []),  # publications of single levels leave it behind
        ({"_": "10:10:0:2"}, ["_"]),
        ({"_": "9::0:2"}, ["_"]),
        ({"_": "9:10:1:2"}, ["_"]),
        ({"_": "9:10:0:3"}, ["_"]),
        ({"_": "abc:10:0:2"}, ["_"]),
        ({"_": ""}, ["_"]),
        ({"wh-a": "3:999999:0:0:1:8"}, ["wh-a"]),
        ({"wh-a": "2:5:0:0:1:8"}, ["wh-a"]),
        ({"wh-a": "4:5:0:0:1:8"}, ["wh-a"]),
        ({"wh-a": "3:5:0:0:0:8"}, ["wh-a"]),
        ({"wh-a": "3:5:0:0:1:9"}, ["wh-a"]),
        ({"wh-a": "3:5:0:0:1"}, ["wh-a"]),  # as the version before wrote it
        ({"wh-a": "-5"}, ["wh-a"]),
        ({"wh-a": "²:5:0:0:1:8"}, ["wh-a"]),
        ({"wh-a": "abc", "wh-b": "0"}, ["wh-a", "wh-b"]),
        ({"wh-c": "1:5:0:0:1:8"}, ["wh-c"]),
    ],
)
def test_in_silence_every_field_is_as_the_rows_have_it(changed: dict[str, str], wrong: list[str]) -> None:
    assert wrong_fields(ROW | changed, ROW, ROW) == wrong
    assert drift.is_as_expected(ROW | changed, ROW) is (wrong == [])


@pytest.mark.parametrize("missing", sorted(ROW))
def test_a_field_that_is_not_there_is_wrong(missing: str) -> None:
    found = {name: text for name, text in ROW.items() if name != missing}
    assert wrong_fields(found, ROW, ROW) == [missing]
    assert not drift.is_as_expected(found, ROW)


def test_without_a_level_there_must_be_no_counters() -> None:
    assert wrong_fields(ROW, {}, {}) == ["_", "wh-a", "wh-b"]
    assert not drift.is_as_expected(ROW, {})
    assert wrong_fields({}, {}, {}) == []
    assert drift.is_as_expected({}, {})


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({}, []),
        (LATER, []),
        ({"wh-b": "5:8:1:0:1:8"}, []),  # a commit between the two readings
        ({"wh-b": "5:8:1:0:1:8", "_": "10:10:0:2"}, []),
        ({"wh-b": "3:8:1:0:1:8"}, ["wh-b"]),
        ({"wh-b": "4:8:1:0:1:8"}, ["wh-b"]),
        ({"wh-b": "6:8:1:0:1:8"}, ["wh-b"]),
        ({"wh-b": "7:9:1:0:1:8"}, ["wh-b"]),
        ({"_": "12:10:0:2"}, ["_"]),
    ],
)
def test_while_a_product_sells_its_counters_may_be_at_any_moment_between_two_readings(
    changed: dict[str, str], wrong: list[str]
) -> None:
    assert wrong_fields(ROW | changed, ROW, LATER) == wrong


def test_a_level_may_come_into_being_between_two_readings() -> None:
    grown = ROW | {"_": "11:10:0:3", "wh-c": "1:1:0:0:1:8"}
    for found in (ROW, grown):
        assert wrong_fields(found, ROW, grown) == []
    assert wrong_fields(grown | {"_": ROW["_"]}, grown, grown) == ["_"]


@pytest.mark.parametrize(
    ("field", "counter", "row", "units"),
    [
        ("wh-a", "3:999999:0:0:1:8", "3:5:0:0:1:8", 999_994),
        ("wh-a", "3:0:0:0:1:8", "3:5:0:0:1:8", 5),
        ("wh-a", "9:5:0:0:1:8", "3:5:0:0:1:8", 0),
        ("wh-a", "abc", "3:5:0:0:1:8", 0),
        ("wh-a", "3:-5:0:0:1:8", "3:5:0:0:1:8", 0),
        ("wh-a", None, "3:5:0:0:1:8", 0),
        ("_", "9:10:0:2", "9:20:0:2", 0),
    ],
)
def test_the_units_of_a_drift_are_of_available_stock_where_both_sides_say_it(
    field: str, counter: str | None, row: str | None, units: int
) -> None:
    assert Drift(PRODUCT, field, counter, row).units == units
