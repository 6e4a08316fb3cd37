"""What a text, an id, a number and a moment from outside mean."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from inventory_project.foundation import values
from inventory_project.foundation.values import WrongValue

ID = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"


def refusal(read: Callable[..., Any], text: str, **limits: int) -> str:
    with pytest.raises(WrongValue) as wrong:
        read(text, **limits)
    assert wrong.value.detail.endswith(".")
    return wrong.value.code


# --- texts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [values.read_name, values.read_identifier])
@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("MUG-1", "MUG-1"),
        ("  a mug \t\n", "a mug"),
        ("\u00a0\u3000a\u2003", "a"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("Caf\u00e9", "Caf\u00e9"),
        ("\u212a-\u2126", "K-\u03a9"),  # the signs for kelvin and ohm are letters
        ("\uff37\uff28", "\uff37\uff28"),  # wide letters look different, and are
        ("x" * 20, "x" * 20),
        ("e\u0301" * 20, "\u00e9" * 20),
        ("\U0001f4e6 box \u0bb8\u0bcd", "\U0001f4e6 box \u0bb8\u0bcd"),
        ("'; DROP TABLE stock_product; --", "'; DROP TABLE stock_product; --"),
    ],
)
def test_a_text_is_trimmed_and_composed(read: Callable[..., str], text: str, meaning: str) -> None:
    assert read(text, most=40) == meaning
    assert read(meaning, most=40) == meaning


@pytest.mark.parametrize("read", [values.read_name, values.read_identifier])
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "blank"),
        (" \t\n\u2028\u3000", "blank"),
        ("x" * 41, "max_length"),
        ("x" * 1_000_000, "max_length"),
        ("e\u0301" * 41, "max_length"),
        ("a\nb", "control"),
        ("a\tb", "control"),
        ("a\0b", "control"),
        ("a\x1b[31m", "control"),
        ("a\x85b", "control"),
        ("a\u2028b", "control"),
        ("a\ud800b", "control"),
        ("Tamper\u200b58", "invisible"),
        ("\ufeffTamper-58", "invisible"),
        ("Tamper-58\u202e", "invisible"),
        ("Tamper\u00ad58", "invisible"),
        ("Tamper\u2060-58", "invisible"),
        ("\u3164", "invisible"),
        ("a\U000e0041", "invisible"),
    ],
)
def test_a_text_that_cannot_be_read_by_a_person_is_refused(read: Callable[..., str], text: str, code: str) -> None:
    assert refusal(read, text, most=40) == code


@pytest.mark.parametrize(
    "text",
    [
        "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian
        "\u0915\u094d\u200d\u0937",  # Hindi
        "\U0001f469\u200d\U0001f680 set",  # an emoji of two
        "\u2764\ufe0f",
        "5\u00a0mm",
    ],
)
def test_a_name_has_what_its_script_is_written_with_and_a_code_has_not(text: str) -> None:
    assert values.read_name(text, most=40) == text
    assert refusal(values.read_identifier, text, most=40) == "invisible"


def test_very_many_accents_are_refused_before_they_are_sorted() -> None:
    accents = "a" + "\u0301\u0323" * 100_000
    began = time.perf_counter()

    assert refusal(values.read_name, accents, most=500) == "max_length"
    assert time.perf_counter() - began < 1


def test_a_code_is_looked_for_in_the_form_of_older_rows_too() -> None:
    assert values.spellings("MUG-1") == ["MUG-1"]
    assert sorted(values.spellings("Caf\u00e9")) == ["Cafe\u0301", "Caf\u00e9"]


def test_what_cannot_be_printed_is_escaped() -> None:
    assert values.printable("Caf\u00e9 5\u00a0mm") == "Caf\u00e9 5\\xa0mm"
    assert values.printable("a\n\x1b[31m\u202eb") == "a\\n\\x1b[31m\\u202eb"
    assert values.printable("a\n\x1b", kept="\n") == "a\n\\x1b"


# --- ids, numbers and moments --------------------------------------------------------------------------------------


def test_an_id_is_a_canonical_uuid() -> None:
    assert values.read_uuid(ID) == values.read_uuid(ID.upper()) == UUID(ID)
    for text in (
        "",
        "5",
        f" {ID}",
        f"{ID}\n",
        f"{{{ID}}}",
        f"urn:uuid:{ID}",
        ID.replace("-", ""),
        ID.replace("0", "٠"),
    ):
        assert refusal(values.read_uuid, text) == "invalid"


def test_a_whole_number_is_in_plain_digits() -> None:
    assert [values.read_whole(text) for text in ("0", "7", "10", "-5", "9" * 19)] == [0, 7, 10, -5, 10**19 - 1]
    for text in ("", "010", "00", "-0", "+5", "1_0", "1:30", "0x10", "1.0", "1e3", "٣", "²", " 5", "5\n", "9" * 20):
        assert refusal(values.read_whole, text) == "invalid"


def test_a_number_is_in_plain_decimal() -> None:
    numbers = {"0": 0.0, "-23.55": -23.55, "+180": 180.0, "0.00001": 0.00001, "10": 10.0}
    assert {text: values.read_decimal(text) for text in numbers} == numbers
    for text in ("", "010", "-023.5", "1_0", "1:30", "-23,55", "1e1", "nan", "inf", ".5", "5.", "٣", " 5", "9" * 400):
        assert refusal(values.read_decimal, text) == "invalid"


def test_a_moment_has_an_offset() -> None:
    assert values.read_moment("2026-11-22T09:30:00.5-03:00") == datetime(2026, 11, 22, 12, 30, 0, 500_000, UTC)
    for text in ("", "2026-11-22", "2026-11-22T09:30:00", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00"):
        assert refusal(values.read_moment, text) == "invalid"
