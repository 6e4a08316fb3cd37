"""Strict JSON: what is let through, and what is refused with its place."""

import json

import pytest

from inventory_project.foundation.errors import Invalid
from inventory_project.foundation.http.parsing import parse_object


def refusal_of(body: bytes) -> Invalid:
    with pytest.raises(Invalid) as caught:
        parse_object(body)
    assert caught.value.code == "invalid"
    return caught.value


def test_an_object_comes_out_as_it_was_sent() -> None:
    document = {"a": [1, -2, 2**63, True, None, "São Paulo 📦 \u202e"], "b": {"c": {}}}
    assert parse_object(json.dumps(document).encode()) == document
    assert parse_object(json.dumps(document, ensure_ascii=False).encode()) == document


def test_no_bytes_are_an_empty_object() -> None:
    assert parse_object(b"") == {}


@pytest.mark.parametrize("number", ["1e3", "1.5", "1.0"])
def test_a_number_that_is_not_whole_stays_a_float(number: str) -> None:
    value = parse_object(b'{"quantity": %s}' % number.encode())["quantity"]
    assert type(value) is float


@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 01}',
        b'{"a": 1} {}',
        b'{"a": "\n"}',
        b"\xef\xbb\xbf{}",
        b'{"a": "\xff"}',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
        b"\x00",
    ],
)
def test_what_is_not_json_in_utf8_is_refused(body: bytes) -> None:
    refusal_of(body)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"a": "\n"}', "The body is not JSON: Invalid control character at line 1, column 8."),
        (b'{"a": "b', "The body is not JSON: Unterminated string starting at line 1, column 7."),
        (b'{"a" 1}', "The body is not JSON: Expecting ':' delimiter at line 1, column 6."),
    ],
)
def test_what_is_no_json_is_told_with_its_place(body: bytes, detail: str) -> None:
    assert refusal_of(body).detail == detail


@pytest.mark.parametrize(("body", "name"), [(b"[]", "an array"), (b'"a"', "a string"), (b"1", "a number")])
def test_a_top_that_is_no_object_is_refused(body: bytes, name: str) -> None:
    assert refusal_of(body).detail == f"The body must be a JSON object, not {name}."


@pytest.mark.parametrize(("body", "name"), [(b"null", "null"), (b"true", "a boolean")])
def test_a_literal_at_the_top_is_refused(body: bytes, name: str) -> None:
    assert refusal_of(body).detail == f"The body must be a JSON object, not {name}."


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("NaN", "NaN is not a JSON number."),
        ("Infinity", "Infinity is not a JSON number."),
        ("-Infinity", "-Infinity is not a JSON number."),
        ("1e400", "The number is too large."),
        ("-1e400", "The number is too large."),
        ("1" + "0" * 400, "The number has 401 digits; 20 are the most."),
        ("1" * 5_000, "The number has 5000 digits; 20 are the most."),
        (r'"a\u0000b"', "The text holds the character U+0000."),
        (r'"\ud800"', "The text holds half of a surrogate pair."),
        (r'{"\u0000": 1}', "The name '\\u0000' holds the character U+0000."),
        (r'{"\udfff": 1}', "The name '\\udfff' holds half of a surrogate pair."),
        ('{"x": 1, "x": 2}', "The name 'x' stands twice in one object."),
    ],
)
def test_a_value_no_reader_agrees_on_is_refused_with_its_place(value: str, reason: str) -> None:
    refusal = refusal_of(b'{"items": [{}, {"quantity": %s}]}' % value.encode())
    assert refusal.extra["errors"] == [{"field": "items[1].quantity", "code": "invalid", "detail": reason}]
    assert refusal.detail == f"{reason[:-1]}, at items[1].quantity."


def test_a_name_that_stands_twice_at_the_top_is_refused() -> None:
    assert refusal_of(b'{"a": 1, "a": 1}').detail == "The name 'a' stands twice in one object, at the top of the body."


def test_a_surrogate_pair_is_one_character() -> None:
    assert parse_object(rb'{"a": "\ud83d\udce6"}') == {"a": "📦"}


@pytest.mark.parametrize("brackets", [(b'{"a":', b"}"), (b"[", b"]")])
def test_32_levels_pass_and_33_are_refused(brackets: tuple[bytes, bytes]) -> None:
    opening, closing = brackets
    passing = b'{"a":' + opening * 31 + b"1" + closing * 31 + b"}"
    assert parse_object(passing)
    assert "deeper than 32 levels" in refusal_of(b'{"a":' + opening * 32 + b"1" + closing * 32 + b"}").detail


@pytest.mark.parametrize(
    "body", [b"[" * 20_000, b'{"a":' * 20_000, b'{"a":"' + b'\\"' * 130_000, b'"' * 262_143 + b"["]
)
def test_hostile_nesting_and_quoting_is_refused_in_bounded_time(body: bytes) -> None:
    refusal_of(body)


def test_brackets_in_strings_and_in_breadth_are_no_depth() -> None:
    body = {"text": "[{" * 500 + '\\"' * 10, "items": [{"a": [1]}] * 200}
    assert parse_object(json.dumps(body).encode()) == body


def test_a_long_odd_name_is_cut_in_the_message() -> None:
    refusal = refusal_of(b'{"%s": NaN}' % (b"n" * 10_000))
    assert refusal.extra["errors"][0]["field"] == "n" * 100 + "..."
