"""Files that were edited by hand or saved by a spreadsheet mean what a person reads in them, or are refused."""

from pathlib import Path
from typing import Any

import pytest

from inventory_project.foundation.errors import Invalid
from warehouses import files, policy_files
from warehouses.files import NotCSV, csv_rows

HEADER = "country,prefix,name"
ROW = "BR,013,Bela Vista"
TABLE = [["country", "prefix", "name"], ["BR", "013", "Bela Vista"]]

# --- YAML ----------------------------------------------------------------------------------------------------------


def read(tmp_path: Path, text: str) -> list[Any]:
    path = tmp_path / "list.yaml"
    path.write_text(f"things: [{text}]")
    entries, problems = files.yaml_list(path, key="things", most=10, max_bytes=10_000)
    assert problems == []
    return entries


@pytest.mark.parametrize(
    ("written", "meaning"),
    [
        ("8", 8),
        ("0", 0),
        ("-5", -5),
        ("2.50", 2.5),
        ("-23.5505", -23.5505),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("'8'", "8"),
        ("wh-sp-001", "wh-sp-001"),
        # In YAML 1.1 these are other numbers, booleans, dates, or no texts at all.
        *((text, text) for text in ("010", "1:30", "0x10", "0b11", "0o17", "1_0", "+5", "1e3", ".5", "5.", "-0")),
        *(
            (text, text)
            for text in ("yes", "no", "on", "off", "y", "N", ".nan", "-.inf", "2026-11-22", "01310100", "=")
        ),
    ],
)
def test_only_what_is_plainly_a_number_or_a_boolean_is_one(tmp_path: Path, written: str, meaning: Any) -> None:
    [found] = read(tmp_path, written)
    assert (type(found), found) == (type(meaning), meaning)


@pytest.mark.parametrize("written", ["!!int '010'", "!!bool yes", "! 5", "!!binary aGk=", "!!set {a}", "!mine 5"])
def test_a_tag_is_refused_with_its_line(tmp_path: Path, written: str) -> None:
    with pytest.raises(Invalid, match=r"The file is not YAML: the tag .* is not allowed.* line 1"):
        read(tmp_path, written)


@pytest.mark.parametrize("written", ["010", "1:30", "0x10", "1_0", "yes"])
def test_the_refusal_of_a_number_shows_it_as_it_is_written(tmp_path: Path, written: str) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(f"policies: [{{preferences: [fewest_parcels], tolerance_km: {written}}}]")

    with pytest.raises(Invalid) as refusal:
        policy_files.load(path)

    assert refusal.value.extra["problems"] == [
        f"Policy 1: tolerance_km must be a number of kilometres, not {written!r}."
    ]


# --- CSV -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADER}\n{ROW}\n",
        f'# a comment, with commas\n# and a quote "\n\n{HEADER}\n{ROW}\n',
        f'"# a comment, with commas and ""quotes"""\n{HEADER}\n{ROW}\n',
        f'"# a comment of\ntwo lines"\n{HEADER}\n{ROW}\n',
        f"# a comment,,\n,,\n{HEADER}\n{ROW}\n,,\n ,\t, \n",
        f"# a comment,,,,\n{HEADER},,\n{ROW},,\n",
        f"{HEADER}\r\n{ROW}\r\n",
        f"{HEADER}\r{ROW}\r",
        f"{HEADER}\n{ROW}".replace(",", ";"),
        f"# a comment, with commas\n{HEADER.replace(',', ';')}\n{ROW.replace(',', ';')}\n;;\n",
    ],
    ids=["plain", "comments", "quoted", "two-lines", "empty-rows", "wide", "crlf", "cr", "semicolons", "both"],
)
def test_what_a_spreadsheet_adds_is_no_content(content: str) -> None:
    assert [cells for _, cells in csv_rows(content)] == TABLE


def test_each_row_has_its_line() -> None:
    content = f'# one\n"# two\nthree"\n,,\n{HEADER}\n{ROW}\n\n{ROW}\n'

    assert [line for line, _ in csv_rows(content)] == [5, 6, 8]


@pytest.mark.parametrize(("content", "line"), [("", 1), ("\n\n", 3), ("# only\n,,\n", 3), ('"# open\n', 2)])
def test_a_missing_header_has_its_line(content: str, line: int) -> None:
    assert list(csv_rows(content)) == [(line, [])]


def test_values_behind_the_last_column_stay_if_there_are_any() -> None:
    assert [cells for _, cells in csv_rows(f"{HEADER}\n{ROW},,x,\n")][1] == ["BR", "013", "Bela Vista", "", "x"]


def test_a_hash_below_the_header_is_a_value() -> None:
    assert [cells for _, cells in csv_rows(f"{HEADER}\n# 1\n")][1] == ["# 1"]


@pytest.mark.parametrize(
    ("content", "line", "sentence"),
    [
        (f'# x\n{HEADER}\nBR,8,"Paran\n', 3, "this is not CSV: unexpected end of data."),
        (f'{HEADER}\n{ROW}\nBR,8,"A"b\n', 3, "this is not CSV: ',' expected after '\"'."),
    ],
)
def test_what_is_no_csv_is_refused_with_its_line(content: str, line: int, sentence: str) -> None:
    with pytest.raises(NotCSV) as refusal:
        list(csv_rows(content))
    assert (refusal.value.line, str(refusal.value)) == (line, sentence)
