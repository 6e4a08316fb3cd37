"""Numbers that are no whole units within the limits are refused, and lists that are too long."""

import json
from dataclasses import dataclass

import pytest
from django.conf import settings

from reservations.bodies import MAX_PART_ITEMS, MAX_PART_QUANTITY
from tests import factories
from tests.db.http.bad_inputs import API, NOBODY, ORDER, Send, refusal

# --- numbers ---------------------------------------------------------------------------------------------------------

# In each of them `%s` is where the number goes.
PART = '{%s"items": [{"product_id": "<product>", "quantity": %%s}]}'
RESERVE = PART % f'"order_id": "{ORDER}", '
RESERVE_FOR = f'{{"order_id": "{ORDER}", "ttl_minutes": %s, "items": [{{"product_id": "<product>", "quantity": 1}}]}}'
EXTENSION = '{"reference": "e", "minutes": %s}'
RECEIPT = PART % '"reference": "r", "warehouse_id": "wh-sp-001", '
ADJUSTMENT = RECEIPT.replace('"items"', '"reason": "x", "items"').replace("quantity", "delta")
PRODUCT = '{"sku": "S", "name": "N", "low_stock_threshold": %s}'


@dataclass(frozen=True)
class NumberField:
    """A door with one number in its body.

    `allowed` are rows of NUMBERS that mean something there, `by_domain` those that the domain refuses, naming no field.
    """

    method: str
    path: str
    body: str
    field: str
    maximum: int
    allowed: tuple[str, ...] = ()
    by_domain: tuple[str, ...] = ()


NUMBER_FIELDS = (
    NumberField("POST", "/reservations", RESERVE, "items[0].quantity", settings.RESERVATION_MAX_QUANTITY),
    NumberField("POST", "/reservations", RESERVE_FOR, "ttl_minutes", settings.RESERVATION_TTL_MAX_MINUTES),
    NumberField("POST", "/reservations/<active>/confirm", PART % "", "items[0].quantity", MAX_PART_QUANTITY),
    NumberField("POST", "/reservations/<active>/extend", EXTENSION, "minutes", settings.RESERVATION_EXTEND_MAX_MINUTES),
    NumberField(
        "POST",
        "/reservations/<confirmed>/return",
        PART % '"reference": "b", ',
        "items[0].quantity",
        MAX_PART_QUANTITY,
    ),
    NumberField("POST", "/receipts", RECEIPT, "items[0].quantity", settings.DOCUMENT_MAX_QUANTITY),
    NumberField("POST", "/adjustments", ADJUSTMENT, "items[0].delta", settings.DOCUMENT_MAX_QUANTITY, ("-1",), ("0",)),
    NumberField("PUT", "/products/<product>", PRODUCT, "low_stock_threshold", 1_000_000, ("0", "null")),
)
NUMBERS = {
    **{number: number for number in ("0", "-1", "1.5", "1.0", "1e3", "true", "null", "[]", "{}", '""', '"5"')},
    "2^31": str(2**31),
    "2^63": str(2**63),
    "-2^63": str(-(2**63)),
    "10^400": "1" + "0" * 400,
    '"1_000"': '"1_000"',
    "arabic_digit": '"\u0663"',
}


@pytest.mark.parametrize("number", [*NUMBERS, "over_the_limit"])
def test_only_whole_json_numbers_within_the_limits_are_units(send: Send, number: str) -> None:
    for at in NUMBER_FIELDS:
        if number not in at.allowed:
            written = str(at.maximum + 1) if number == "over_the_limit" else NUMBERS[number]
            response = send(at.method, API + at.path, at.body % written)
            fields = set() if number in at.by_domain else {at.field}
            assert refusal(response) == (400, "invalid", fields), (at.path, response.content)


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "5x", "1_000", "%D9%A3", "1e3", "true", "null", "", "9" * 400])
def test_a_quantity_in_a_query_is_plain_digits(send: Send, number: str) -> None:
    response = send("GET", f"{API}/products/<product>/availability?quantity={number}")
    assert refusal(response) == (400, "invalid", {"quantity"})


@pytest.mark.parametrize("quantities", [(10_000, 1), (5_000, 5_001), (4_000, 4_000, 4_000)])
def test_equal_lines_that_add_up_over_the_limit_are_refused(send: Send, quantities: tuple[int, ...]) -> None:
    items = [{"product_id": "<product>", "quantity": quantity} for quantity in quantities]
    response = send("POST", f"{API}/reservations", json.dumps({"order_id": ORDER, "items": items}))
    assert refusal(response)[:2] == (400, "invalid")
    assert f"it is {sum(quantities)}" in json.loads(response.content)["detail"]


# --- lists -----------------------------------------------------------------------------------------------------------

LINE = '{"product_id": "<product>", "quantity": 1}'
DOCUMENT = '"reference": "r", "warehouse_id": "wh-sp-001"'
# Path, the fields besides `items`, a good item, how many of them are too many.
ITEM_DOORS = (
    ("/reservations", f'"order_id": "{ORDER}"', LINE, settings.RESERVATION_MAX_LINES + 1),
    ("/receipts", DOCUMENT, LINE, settings.DOCUMENT_MAX_LINES + 1),
    ("/adjustments", f'{DOCUMENT}, "reason": "x"', LINE.replace("quantity", "delta"), settings.DOCUMENT_MAX_LINES + 1),
    ("/reservations/<confirmed>/return", '"reference": "b"', LINE, MAX_PART_ITEMS + 1),
    ("/reservations/<active>/confirm", "", LINE, MAX_PART_ITEMS + 1),
)


def with_items(rest: str, items: str) -> str:
    """A body of these fields and `items`."""
    return "{" + ", ".join(filter(None, [rest, f'"items": {items}'])) + "}"


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ("null", "null"),
        ("[]", "empty"),
        (LINE, "not_a_list"),
        ('"<product>"', "not_a_list"),
        ("5", "not_a_list"),
        ("true", "not_a_list"),
        ("too many", "max_length"),
    ],
)
def test_items_are_a_list_of_bounded_length(send: Send, items: str, code: str) -> None:
    for path, rest, _, too_many in ITEM_DOORS:
        written = f"[{','.join(['{}'] * too_many)}]" if items == "too many" else items
        response = send("POST", API + path, with_items(rest, written))
        assert refusal(response) == (400, "invalid", {"items"}), (path, response.content)
        assert [error["code"] for error in json.loads(response.content)["errors"]] == [code]


def test_too_many_items_are_refused_before_any_is_looked_at(send: Send) -> None:
    response = send(
        "POST", f"{API}/reservations", with_items(f'"order_id": "{ORDER}"', f"[{','.join(['{}'] * 10_000)}]")
    )
    assert refusal(response) == (400, "invalid", {"items"})
    assert len(json.loads(response.content)["errors"]) == 1


@pytest.mark.parametrize("item", ["5", '"text"', "null", "[]", "true"])
def test_an_item_is_an_object(send: Send, item: str) -> None:
    for path, rest, good, _ in ITEM_DOORS:
        response = send("POST", API + path, with_items(rest, f"[{good}, {item}]"))
        assert refusal(response) == (400, "invalid", {"items[1]"}), (path, response.content)


@pytest.mark.parametrize(
    ("written", "code"), [("null", "null"), ("[]", "empty"), ("{}", "not_a_list"), ("too_many", "max_length")]
)
def test_product_ids_are_a_list_of_bounded_length(send: Send, written: str, code: str) -> None:
    if written == "too_many":
        written = json.dumps([NOBODY] * (settings.AVAILABILITY_MAX_PRODUCTS + 1))
    response = send("POST", f"{API}/availability", f'{{"product_ids": {written}}}')
    assert refusal(response) == (400, "invalid", {"product_ids"})
    assert json.loads(response.content)["errors"][0]["code"] == code


# --- documents -------------------------------------------------------------------------------------------------------


def test_a_document_that_names_a_product_twice_is_refused(send: Send) -> None:
    document = {
        "reference": "r",
        "warehouse_id": factories.SP,
        "items": [{"product_id": "<product>", "quantity": 1}] * 2,
    }
    assert refusal(send("POST", f"{API}/receipts", json.dumps(document)))[:2] == (400, "invalid")
