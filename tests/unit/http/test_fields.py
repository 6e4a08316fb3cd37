"""Strict fields: each takes exactly what it promises, and says what is wrong with the rest."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.http import QueryDict
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from inventory_project.foundation.http import fields
from inventory_project.foundation.http.problems import flatten
from tests.unit.http.sample import OrderIn, OrderQuery

ORDER = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"


def order(**changes: Any) -> dict[str, Any]:
    return {"order_id": ORDER, "items": [{"product_id": ORDER, "quantity": 2}]} | changes


def line(**changes: Any) -> dict[str, Any]:
    return order(items=[{"product_id": ORDER, "quantity": 2} | changes])


def errors_of(body: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        OrderIn.read(body)
    return [(error["field"], error["code"]) for error in flatten(caught.value.detail)]


def test_a_right_body_becomes_typed_values() -> None:
    wanted = OrderIn.read(
        order(
            allow_split=False,
            expires_at="2026-11-22T09:30:00.5-03:00",
            note=" Ola\u0301 📦; DROP TABLE --",
            order_id=ORDER.upper(),
        )
    )
    assert wanted == {
        "order_id": UUID(ORDER),
        "items": [{"product_id": UUID(ORDER), "quantity": 2}],
        "allow_split": False,
        "expires_at": datetime(2026, 11, 22, 12, 30, 0, 500_000, UTC),
        "note": "Olá 📦; DROP TABLE --",
    }


@pytest.mark.parametrize(
    ("quantity", "code"),
    [
        (0, "min_value"),
        (-1, "min_value"),
        (10_001, "max_value"),
        (2**31, "max_value"),
        (2**63, "max_value"),
        (1.5, "invalid"),
        (1.0, "invalid"),
        (1e3, "invalid"),
        ("5", "invalid"),
        ("1_000", "invalid"),
        ("٣", "invalid"),
        (True, "invalid"),
        (False, "invalid"),
        ([], "invalid"),
        ({}, "invalid"),
        (None, "null"),
    ],
)
def test_a_quantity_is_a_whole_json_number_in_its_bounds(quantity: Any, code: str) -> None:
    assert errors_of(line(quantity=quantity)) == [("items[0].quantity", code)]


@pytest.mark.parametrize(
    "text",
    [
        f"urn:uuid:{ORDER}",
        f"{{{ORDER}}}",
        ORDER.replace("-", ""),
        ORDER[:-1],
        f" {ORDER}",
        f"{ORDER}\n",
        "",
        5,
        2**100,
        [],
    ],
)
def test_an_id_is_a_canonical_uuid(text: Any) -> None:
    assert errors_of(order(order_id=text)) == [("order_id", "invalid")]


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T09:30:00",
        "2026-11-22",
        "2026-11-22 09:30:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-22T25:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-11-22T09:30:00+99:00",
        "٢026-11-22T09:30:00Z",
        1_700_000_000,
        True,
    ],
)
def test_a_moment_has_an_offset_and_exists(text: Any) -> None:
    assert errors_of(order(expires_at=text)) == [("expires_at", "invalid")]


@pytest.mark.parametrize("value", ["true", "on", 1, 0, "", []])
def test_a_boolean_is_true_or_false(value: Any) -> None:
    assert errors_of(order(allow_split=value)) == [("allow_split", "invalid")]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a\x07b", "control"),
        ("a\nb", "control"),
        ("a\x85b", "control"),
        ("a\u200bb", "invisible"),
        ("\u202ea", "invisible"),
        ("x" * 21, "max_length"),
        ("x" * 100_000, "max_length"),
        ("  ", "blank"),
        (5, "invalid"),
        (True, "invalid"),
        (None, "null"),
        (["a"], "invalid"),
    ],
)
def test_a_text_is_one_line_of_bounded_length(text: Any, code: str) -> None:
    assert errors_of(order(note=text)) == [("note", code)]


@pytest.mark.parametrize("text", ["SP", "wh sp", "-wh", "wh-sp-001'", "ｗh"])
def test_a_text_matches_its_pattern(text: str) -> None:
    assert errors_of(line(warehouse_id=text)) == [("items[0].warehouse_id", "pattern")]


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ([], "empty"),
        (None, "null"),
        ({}, "not_a_list"),
        ({"0": {}}, "not_a_list"),
        ("abc", "not_a_list"),
        (5, "not_a_list"),
        ([{}] * 4, "max_length"),
    ],
)
def test_a_list_has_one_to_n_entries(items: Any, code: str) -> None:
    assert errors_of(order(items=items)) == [("items", code)]


def test_a_long_list_is_refused_before_its_first_entry_is_looked_at() -> None:
    looked_at = []

    class Watched(serializers.IntegerField):
        def run_validation(self, data: Any = None) -> Any:
            looked_at.append(data)
            return super().run_validation(data)

    class Body(fields.StrictSerializer):
        numbers = fields.BoundedListField(child=Watched(), max_length=100)

    with pytest.raises(ValidationError):
        Body.read({"numbers": list(range(10_000))})
    assert looked_at == []


def test_each_wrong_entry_is_named_by_its_place() -> None:
    right = {"product_id": ORDER, "quantity": 1}
    items = [right, {"product_id": "x", "quantity": 0}, None]
    assert errors_of(order(items=items)) == [
        ("items[1].product_id", "invalid"),
        ("items[1].quantity", "min_value"),
        ("items[2]", "null"),
    ]
    assert errors_of(order(items=[right, 5])) == [("items[1]", "invalid")]


def test_unknown_fields_are_named_beside_the_missing_ones() -> None:
    body = {"order_id": ORDER, "items": [{"product_id": ORDER, "qty": 2}], "colour": "red"}
    assert errors_of(body) == [
        ("items[0].quantity", "required"),
        ("items[0].qty", "unknown_field"),
        ("colour", "unknown_field"),
    ]


def test_of_very_many_unknown_fields_only_some_are_named() -> None:
    codes = errors_of(order() | {f"field_{i}": i for i in range(10_000)})
    assert codes == [(f"field_{i}", "unknown_field") for i in sorted(range(10_000), key=str)[:20]]


@pytest.mark.parametrize("body", [[], "text", 5, None])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    assert errors_of(body) in ([("", "invalid")], [("", "null")])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0", "min_value"),
        ("101", "max_value"),
        *((text, "invalid") for text in ("-1", "1_0", "٣", "1.0", "", "%2B1", "01", "1e1", "9" * 5_000)),
    ],
)
def test_a_number_in_a_query_is_plain_digits(text: str, code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        OrderQuery.read(QueryDict(f"quantity={text}"))
    assert [error["code"] for error in flatten(caught.value.detail)] == [code]


def test_a_query_is_read_by_its_serializer() -> None:
    assert OrderQuery.read(QueryDict("quantity=7")) == {"quantity": 7}
    with pytest.raises(ValidationError) as caught:
        OrderQuery.read(QueryDict("quantty=7"))
    assert list(flatten(caught.value.detail)) == [
        {
            "field": "quantty",
            "code": "unknown_field",
            "detail": "Unknown parameter. Allowed parameters: quantity.",
        }
    ]


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        OrderQuery.read(QueryDict("quantity=7&quantity=8"))
    assert list(flatten(caught.value.detail)) == [
        {"field": "quantity", "code": "invalid", "detail": "The parameter is given twice."}
    ]


def test_where_no_field_is_known_the_refusal_says_so() -> None:
    with pytest.raises(ValidationError) as caught:
        fields.StrictSerializer.read({"reason": "because"})
    assert [error["detail"] for error in flatten(caught.value.detail)] == ["Unknown field. No fields are allowed."]
