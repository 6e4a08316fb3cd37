"""Whatever is sent, the answer is a problem with the right code, nothing is taken, and it is never a 500.

The rows are those of the bad-input table; bodies are written by hand, because no JSON library would write them.
Chunked bodies and charsets that upset Django before any view is reached need a real server: tests/integration.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.conf import settings
from django.db.models import Sum
from django.http import HttpResponse
from django.test import Client

from reservations import lifecycle
from reservations.requests import Confirm
from stock.models import Product, StockLevel
from tests import factories

API = "/api/inventory"
NOBODY = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"
ORDER = "018f4e3a-7c1b-7d2e-9a40-000000000001"
JSON = "application/json"
COUNTED = ("access", "messaging", "reservations", "stock", "warehouses")


def books() -> dict[str, Any]:
    """How many rows each table of ours has, and the sums over all stock levels."""
    models = [model for label in COUNTED for model in apps.get_app_config(label).get_models()]
    counts: dict[str, Any] = {model.__name__: model._default_manager.count() for model in models}
    columns = ("available", "reserved", "incoming", "version")
    return counts | StockLevel.objects.aggregate(**{column: Sum(column) for column in columns})


@dataclass(frozen=True)
class Shop:
    """What is there before the bad request: a product with stock, an active and a confirmed reservation of it."""

    product: UUID
    active: UUID
    confirmed: UUID

    def fill(self, text: str) -> str:
        """The text with its `{names}` replaced; JSON's own braces stay as they are."""
        for name in ("product", "active", "confirmed"):
            text = text.replace(f"<{name}>", str(getattr(self, name)))
        return text


@pytest.fixture
def shop(api: Client) -> Shop:
    product_id = factories.product({factories.SP: 100}).pk
    active, confirmed = factories.hold(product_id, 3), factories.hold(product_id, 5)
    lifecycle.one(lifecycle.confirm_many, Confirm(reservation_id=confirmed.id, actor=factories.ACTOR))
    return Shop(product_id, active.id, confirmed.id)


@pytest.fixture
def send(api: Client, shop: Shop) -> Iterator[Callable[..., HttpResponse]]:
    """Sends one request; after the test the books are as they were before."""
    before = books()

    def request(
        method: str, path: str, body: str | bytes = b"", *, content_type: str = JSON, **headers: str
    ) -> HttpResponse:
        data = shop.fill(body) if isinstance(body, str) else body
        return cast(HttpResponse, api.generic(method, shop.fill(path), data, content_type, headers=headers))

    yield request
    assert books() == before


Send = Callable[..., HttpResponse]


def refusal(response: HttpResponse) -> tuple[int, str, set[str]]:
    """Status, code and the fields named; the answer must be a problem that repeats its status."""
    assert response["Content-Type"] == "application/problem+json", response.content
    body = json.loads(response.content)
    assert body["status"] == response.status_code
    assert body["type"] == f"urn:inventory-service:problem:{body['code']}"
    assert body["detail"]
    return response.status_code, body["code"], {error["field"] for error in body.get("errors", [])}


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
    NumberField(
        "POST", "/reservations/<active>/confirm", PART % "", "items[0].quantity", settings.RESERVATION_MAX_QUANTITY
    ),
    NumberField("POST", "/reservations/<active>/extend", EXTENSION, "minutes", settings.RESERVATION_EXTEND_MAX_MINUTES),
    NumberField(
        "POST",
        "/reservations/<confirmed>/return",
        PART % '"reference": "b", ',
        "items[0].quantity",
        settings.RESERVATION_MAX_QUANTITY,
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
    ("/reservations/<confirmed>/return", '"reference": "b"', LINE, settings.RESERVATION_MAX_LINES + 1),
    ("/reservations/<active>/confirm", "", LINE, settings.RESERVATION_MAX_LINES + 1),
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
    for path, rest, item, too_many in ITEM_DOORS:
        written = f"[{','.join([item] * too_many)}]" if items == "too many" else items
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


# --- bodies that are no JSON object ----------------------------------------------------------------------------------

BODY_DOORS = (
    ("POST", f"{API}/reservations"),
    ("POST", f"{API}/reservations/<active>/confirm"),
    ("POST", f"{API}/reservations/<active>/cancel"),
    ("POST", f"{API}/reservations/<active>/extend"),
    ("POST", f"{API}/reservations/<confirmed>/return"),
    ("POST", "/admin/reservations/<active>/expire"),
    ("POST", f"{API}/receipts"),
    ("POST", f"{API}/adjustments"),
    ("POST", f"{API}/availability"),
    ("PUT", f"{API}/products/<product>"),
    ("POST", "/admin/products/<product>/block-sales"),
    ("POST", "/admin/products/<product>/unblock-sales"),
)
ASK = f'{{"order_id": "{ORDER}", "items": [{{"product_id": "{NOBODY}", "quantity": 1}}]}}'
BAD_BODIES = {
    "cut_off": b'{"order_id": "018f',
    "blank": b" \n ",
    "two_documents": b"{}{}",
    "trailing_comma": b'{"a": 1,}',
    "comment": b'{"a": 1} // one',
    "single_quotes": b"{'a': 1}",
    "array": f"[{ASK}]".encode(),
    "string": b'"text"',
    "number": b"5",
    "null": b"null",
    "binary": bytes(range(256)),
    "invalid_utf8": b'{"reference": "\xff\xfe"}',
    "latin1": '{"reference": "São Paulo"}'.encode("latin-1"),
    "overlong_utf8": b'{"reference": "\xc0\xaf"}',
    "utf16": ASK.encode("utf-16"),
    "utf32": ASK.encode("utf-32"),
    "bom": b"\xef\xbb\xbf" + ASK.encode(),
    "deep_arrays": b'{"items": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "deep_objects": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "deep_and_open": b"[" * 200_000,
    "duplicate_key": f'{{"order_id": "{ORDER}", "order_id": "{NOBODY}"}}'.encode(),
    "duplicate_key_inside": b'{"items": [{"quantity": 1, "quantity": 1}]}',
    "duplicate_key_escaped": b'{"reference": "a", "r\\u0065ference": "a"}',
    "nan": b'{"items": [{"quantity": NaN}]}',
    "infinity": b'{"items": [{"quantity": Infinity}]}',
    "minus_infinity": b'{"items": [{"quantity": -Infinity}]}',
    "1e400": b'{"items": [{"quantity": 1e400}]}',
    "huge_number": b'{"minutes": ' + b"9" * 100_000 + b"}",
    "nul": b'{"reference": "a\\u0000b"}',
    "nul_in_a_name": b'{"a\\u0000b": 1}',
    "raw_nul": b'{"reference": "a\x00b"}',
    "lone_surrogate": b'{"reference": "\\ud800"}',
    "lone_low_surrogate": b'{"reference": "\\udc00 \\ud83d\\udce6"}',
    "surrogate_in_a_name": b'{"\\udfff": 1}',
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_body_that_is_no_strict_json_object_is_400_at_every_door(send: Send, name: str) -> None:
    for method, path in BODY_DOORS:
        response = send(method, path, BAD_BODIES[name])
        assert refusal(response)[:2] == (400, "invalid"), (path, response.content)


@pytest.mark.parametrize(("method", "path"), BODY_DOORS)
def test_an_unknown_field_is_named_at_every_door(send: Send, method: str, path: str) -> None:
    response = send(method, path, '{"colour": "red", "__proto__": {}}')
    status, code, fields = refusal(response)
    assert (status, code) == (400, "invalid")
    assert {"colour", "__proto__"} <= fields
    codes = {error["field"]: error["code"] for error in json.loads(response.content)["errors"]}
    assert (codes["colour"], codes["__proto__"]) == ("unknown_field", "unknown_field")


def test_a_misspelt_quantity_is_unknown_and_missing(send: Send) -> None:
    body = ASK.replace("quantity", "qty")
    response = send("POST", f"{API}/reservations", body)
    assert refusal(response) == (400, "invalid", {"items[0].qty", "items[0].quantity"})
    codes = {error["field"]: error["code"] for error in json.loads(response.content)["errors"]}
    assert codes == {"items[0].qty": "unknown_field", "items[0].quantity": "required"}


@pytest.mark.parametrize(
    ("method", "path", "required"),
    [
        ("POST", f"{API}/reservations", {"order_id", "items"}),
        ("POST", f"{API}/reservations/<confirmed>/return", {"reference"}),
        ("POST", f"{API}/receipts", {"reference", "warehouse_id", "items"}),
        ("POST", f"{API}/adjustments", {"reference", "warehouse_id", "reason", "items"}),
        ("POST", f"{API}/availability", {"product_ids"}),
        ("PUT", f"{API}/products/<product>", {"sku", "name"}),
        ("POST", "/admin/products/<product>/block-sales", {"reason"}),
        ("POST", "/admin/products/<product>/unblock-sales", {"reason"}),
    ],
)
@pytest.mark.parametrize("body", ["", "{}"], ids=["empty", "object"])
def test_an_empty_body_lacks_what_is_required(
    send: Send, method: str, path: str, required: set[str], body: str
) -> None:
    assert refusal(send(method, path, body)) == (400, "invalid", required)


def test_an_extension_is_either_a_moment_or_minutes_with_a_reference(send: Send) -> None:
    moment = '"expires_at": "2030-01-01T00:00:00Z"'
    for body in ("", "{}", '{"minutes": 5}', '{"reference": "e"}', f'{{{moment}, "minutes": 5, "reference": "e"}}'):
        assert refusal(send("POST", f"{API}/reservations/<active>/extend", body))[:2] == (400, "invalid"), body


@pytest.mark.parametrize(
    "moment",
    [
        "",
        "tomorrow",
        "1800000000",
        "22.11.2026",
        "2026-11-22",
        "2026-11-22T09:30:00",
        "2026-11-22T25:00:00Z",
        "2026-02-30T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "2026-11-22T09:30:00Z\\n",
        "\u0662026-11-22T09:30:00Z",
    ],
)
def test_a_moment_without_offset_or_sense_is_refused(send: Send, moment: str) -> None:
    response = send("POST", f"{API}/reservations/<active>/extend", f'{{"expires_at": "{moment}"}}')
    assert refusal(response) == (400, "invalid", {"expires_at"})


@pytest.mark.parametrize("value", ['"true"', "1", "0", "null", "[]"])
def test_allow_split_is_true_or_false(send: Send, value: str) -> None:
    body = ASK.removesuffix("}") + f', "allow_split": {value}}}'
    assert refusal(send("POST", f"{API}/reservations", body)) == (400, "invalid", {"allow_split"})


# --- content types and sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/html",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=bogus",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/json-patch+json",
        "application/problem+json",
        "json",
        "/",
        ";;;",
        "",
    ],
)
def test_a_body_of_another_type_is_415_at_every_door(send: Send, content_type: str) -> None:
    for method, path in BODY_DOORS:
        response = send(method, path, ASK, content_type=content_type)
        assert refusal(response)[:2] == (415, "unsupported_media_type"), (path, response.content)


@pytest.mark.parametrize("content_type", [JSON, "application/json; charset=utf-8", "APPLICATION/JSON; charset=UTF-8"])
def test_json_in_utf8_may_say_so(send: Send, content_type: str) -> None:
    response = send("POST", f"{API}/reservations", ASK, content_type=content_type)
    assert refusal(response)[:2] == (422, "unknown_ids")


def test_a_body_over_the_limit_is_413_at_every_door_and_one_at_the_limit_is_read(send: Send) -> None:
    limit = settings.MAX_BODY_BYTES
    for method, path in BODY_DOORS:
        assert refusal(send(method, path, b" " * (limit + 1)))[:2] == (413, "too_large"), path
        assert refusal(send(method, path, b" " * limit))[:2] == (400, "invalid"), path


# --- text ------------------------------------------------------------------------------------------------------------

HOSTILE_TEXT = (
    "'; DROP TABLE stock_product; --",
    '" OR 1=1 --',
    "100% \\ %s {0} ${x} <script>alert(1)</script>",
    "\u202eright to left\u202c",
    "\U0001f4e6 box \u0bb8\u0bcd e\u0301",
    "=1+1",
    "../../etc/passwd",
)


@pytest.mark.parametrize("text", HOSTILE_TEXT)
def test_strange_text_is_stored_as_text(api: Client, shop: Shop, text: str) -> None:
    path = f"{API}/products/{uuid4()}"
    made = api.put(path, {"sku": text, "name": text}, content_type=JSON)
    assert (made.status_code, made.json()["sku"], made.json()["name"]) == (201, text, text)
    assert api.get(path).json()["name"] == text
    assert [row["sku"] for row in api.get(f"{API}/products", {"sku": text}).json()["results"]] == [text]

    items = [{"product_id": str(shop.product), "quantity": 1}]
    receipt = {"reference": text, "warehouse_id": factories.SP, "items": items}
    assert api.post(f"{API}/receipts", receipt, content_type=JSON).json()["reference"] == text
    assert api.post(f"{API}/receipts", receipt, content_type=JSON).status_code == 200
    assert len(api.get(f"{API}/movements", {"reference": text}).json()["results"]) == 1

    blocked = api.post(f"/admin/products/{shop.product}/block-sales", {"reason": text}, content_type=JSON)
    assert blocked.json()["reason"] == text
    assert Product.objects.count() == 2


ONE_LINE: dict[str, Any] = {"items": [{"product_id": NOBODY, "quantity": 1}]}
TEXT_FIELDS: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("PUT", f"{API}/products/<product>", {"name": "n"}, "sku"),
    ("PUT", f"{API}/products/<product>", {"sku": "s"}, "name"),
    ("POST", f"{API}/receipts", ONE_LINE | {"warehouse_id": "w"}, "reference"),
    ("POST", f"{API}/receipts", ONE_LINE | {"reference": "r"}, "warehouse_id"),
    (
        "POST",
        f"{API}/adjustments",
        {"reference": "a", "warehouse_id": "w", "items": [{"product_id": NOBODY, "delta": 1}]},
        "reason",
    ),
    ("POST", f"{API}/reservations", ONE_LINE | {"order_id": ORDER}, "delivery_postal_code"),
    ("POST", f"{API}/reservations/<active>/extend", {"minutes": 1}, "reference"),
    ("POST", f"{API}/reservations/<confirmed>/return", {}, "reference"),
    ("POST", "/admin/products/<product>/block-sales", {}, "reason"),
    ("POST", "/admin/products/<product>/unblock-sales", {}, "reason"),
)
BAD_TEXTS = {
    "100_kB": "x" * 100_000,
    "empty": "",
    "blank": "  ",
    "newline": "a\nb",
    "escape": "\x1b[31m",
    "c1_control": "a\x85b",
    "number": 5,
    "null": None,
    "list": ["a"],
    "object": {"a": "b"},
    "true": True,
}


@pytest.mark.parametrize("kind", BAD_TEXTS)
def test_text_is_one_bounded_line(send: Send, kind: str) -> None:
    for method, path, rest, field in TEXT_FIELDS:
        response = send(method, path, json.dumps(rest | {field: BAD_TEXTS[kind]}))
        assert refusal(response) == (400, "invalid", {field}), (path, response.content)


# --- ids -------------------------------------------------------------------------------------------------------------

NO_IDS = {
    "int": 5,
    "huge_int": 2**63,
    "null": None,
    "true": True,
    "list": [NOBODY],
    "empty": "",
    "word": "uuid",
    "urn": f"urn:uuid:{NOBODY}",
    "braces": f"{{{NOBODY}}}",
    "no_hyphens": NOBODY.replace("-", ""),
    "hyphens_elsewhere": "018f-4e3a7c1b7d2e9a403f5b6c7d8e9f-0000",
    "space_before": f" {NOBODY}",
    "newline_after": f"{NOBODY}\n",
    "one_more": f"{NOBODY}0",
    "no_hex": NOBODY.replace("a", "g"),
    "other_digits": NOBODY.replace("0", "\u0660"),
    "sql": "' OR 1=1 --",
}


@pytest.mark.parametrize("kind", NO_IDS)
def test_an_id_in_a_body_is_a_canonical_uuid(send: Send, kind: str) -> None:
    bad = NO_IDS[kind]
    good = [{"product_id": NOBODY, "quantity": 1}]
    items = [*good, {"product_id": bad, "quantity": 1}]
    doors: list[tuple[str, dict[str, Any], str]] = [
        ("/reservations", {"order_id": bad, "items": good}, "order_id"),
        ("/reservations", {"order_id": ORDER, "items": items}, "items[1].product_id"),
        ("/reservations/<active>/confirm", {"items": items}, "items[1].product_id"),
        ("/receipts", {"reference": "r", "warehouse_id": factories.SP, "items": items}, "items[1].product_id"),
        ("/availability", {"product_ids": [NOBODY, bad]}, "product_ids[1]"),
    ]
    for path, body, field in doors:
        response = send("POST", API + path, json.dumps(body))
        assert refusal(response) == (400, "invalid", {field}), (path, response.content)


def test_an_id_in_a_body_may_be_written_in_capitals(send: Send) -> None:
    response = send("POST", f"{API}/availability", json.dumps({"product_ids": [NOBODY.upper()]}))
    assert refusal(response)[:2] == (422, "unknown_ids")
    assert json.loads(response.content)["unknown"] == {"product_ids": [NOBODY], "warehouse_ids": []}


ID_PATHS = (
    ("GET", f"{API}/products/%s"),
    ("PUT", f"{API}/products/%s"),
    ("GET", f"{API}/products/%s/availability"),
    ("GET", f"{API}/reservations/%s"),
    ("GET", f"{API}/reservations/%s/allocation"),
    *(("POST", f"{API}/reservations/%s/{verb}") for verb in ("confirm", "cancel", "extend", "return")),
    ("POST", "/admin/reservations/%s/expire"),
    ("POST", "/admin/products/%s/block-sales"),
    ("POST", "/admin/products/%s/unblock-sales"),
)


@pytest.mark.parametrize(
    "text",
    [
        "5",
        "uuid",
        f"urn:uuid:{NOBODY}",
        f"%7B{NOBODY}%7D",
        NOBODY.replace("-", ""),
        f"{NOBODY}0",
        f"{NOBODY}%0A",
        f"{NOBODY}%00",
        f"%20{NOBODY}",
        "%00",
        "%FF",
        "%D9%A3",
        "%F0%9F%93%A6",
        "'%20OR%201=1--",
        "..",
        "x" * 5_000,
    ],
)
def test_an_id_in_a_path_that_is_no_canonical_uuid_is_404(send: Send, text: str) -> None:
    for method, path in ID_PATHS:
        response = send(method, path % text)
        assert refusal(response)[:2] == (404, "not_found"), (path, response.content)


def test_an_id_in_a_path_that_names_nothing_is_404(send: Send) -> None:
    bodies = {"extend": '{"minutes": 1, "reference": "e"}', "return": '{"reference": "b"}'}
    for method, path in ID_PATHS:
        if method == "PUT":
            continue  # makes it
        verb = path.rpartition("/")[2]
        body = bodies.get(verb, '{"reason": "r"}' if verb.endswith("-sales") else "")
        response = send(method, path % NOBODY, body)
        assert refusal(response)[:2] == (404, "not_found"), (path, response.content)


@pytest.mark.parametrize(
    "path", ["", "/", "/product", "/products/", "/reservations/<active>/", "/reservations/<active>/pay"]
)
def test_a_path_that_does_not_exist_is_a_problem_too(send: Send, path: str) -> None:
    assert refusal(send("GET", API + path))[:2] == (404, "not_found")


def test_all_unknown_ids_of_a_body_are_listed(send: Send) -> None:
    others = sorted(str(uuid4()) for _ in range(3))
    lines: list[dict[str, Any]] = [{"product_id": other, "quantity": 1} for other in reversed(others)]
    lines += [{"product_id": "<product>", "quantity": 1, "warehouse_id": place} for place in ("wh-zz-9", "wh-aa-1")]
    response = send("POST", f"{API}/reservations", json.dumps({"order_id": ORDER, "items": lines}))
    assert refusal(response)[:2] == (422, "unknown_ids")
    unknown = {"product_ids": others, "warehouse_ids": ["wh-aa-1", "wh-zz-9"]}
    assert json.loads(response.content)["unknown"] == unknown

    for path, units in (("/receipts", "quantity"), ("/adjustments", "delta")):
        document = {"reference": "r", "warehouse_id": "wh-zz-9", "items": [{"product_id": o, units: 1} for o in others]}
        if units == "delta":
            document["reason"] = "x"
        response = send("POST", API + path, json.dumps(document))
        assert refusal(response)[:2] == (422, "unknown_ids")
        assert json.loads(response.content)["unknown"] == {"product_ids": others, "warehouse_ids": ["wh-zz-9"]}

    response = send("POST", f"{API}/availability", json.dumps({"product_ids": [others[2], "<product>", others[0]]}))
    assert refusal(response)[:2] == (422, "unknown_ids")
    assert json.loads(response.content)["unknown"] == {"product_ids": [others[0], others[2]], "warehouse_ids": []}

    response = send("GET", f"{API}/products/<product>/availability?warehouse_id=wh-zz-9")
    assert refusal(response)[:2] == (422, "unknown_ids")
    assert json.loads(response.content)["unknown"] == {"product_ids": [], "warehouse_ids": ["wh-zz-9"]}


# --- documents -------------------------------------------------------------------------------------------------------


def test_a_document_that_names_a_product_twice_is_refused(send: Send) -> None:
    document = {
        "reference": "r",
        "warehouse_id": factories.SP,
        "items": [{"product_id": "<product>", "quantity": 1}] * 2,
    }
    assert refusal(send("POST", f"{API}/receipts", json.dumps(document)))[:2] == (400, "invalid")


# --- lists over HTTP -------------------------------------------------------------------------------------------------

LIST_PATHS = ("products", "reservations", "warehouses", "stock-levels", "movements")


@pytest.mark.parametrize("path", LIST_PATHS)
def test_a_list_is_bounded_and_refuses_what_it_does_not_know(send: Send, path: str) -> None:
    for size in ("1000000000", "9" * 20):
        answer = send("GET", f"{API}/{path}?page_size={size}")
        assert answer.status_code == 200, answer.content
        assert 1 <= len(json.loads(answer.content)["results"]) <= 200
    for query, field in (
        ("page_size=0", "page_size"),
        ("page_size=-5", "page_size"),
        ("page_size=many", "page_size"),
        ("page_size=1e9", "page_size"),
        ("cursor=garbage", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=cD0lMDA=", "cursor"),
        ("colour=red", "colour"),
        ("ordering=-password", "ordering"),
        ("order_by=id", "order_by"),
        ("id__gt=1", "id__gt"),
        ("format=xml", "format"),
        ("%00=1", "\\u0000"),
    ):
        response = send("GET", f"{API}/{path}?{query}")
        assert refusal(response) == (400, "invalid", {field}), (query, response.content)


@pytest.mark.parametrize(
    ("path", "field", "values"),
    [
        ("reservations", "order_id", ["5", "%00", f"urn:uuid:{NOBODY}", NOBODY.replace("-", "")]),
        ("reservations", "product_id", ["5", f"%7B{NOBODY}%7D"]),
        ("reservations", "status", ["active", "GONE", "%00", "ACTIVE,EXPIRED"]),
        ("stock-levels", "product_id", ["5", "*"]),
        ("stock-levels", "warehouse_id", ["%00"]),
        ("stock-levels", "low", ["yes", "True", "1"]),
        ("movements", "product_id", ["5"]),
        ("movements", "kind", ["SALE", "%00"]),
        ("movements", "reference", ["%00"]),
        ("movements", "since", ["yesterday", "2026-11-22", "2026-11-22T09:00:00"]),
        ("movements", "until", ["0", "2026-13-01T00:00:00Z"]),
        ("products", "sku", ["%00"]),
    ],
)
def test_a_filter_value_that_cannot_be_meant_is_400(send: Send, path: str, field: str, values: list[str]) -> None:
    for value in values:
        response = send("GET", f"{API}/{path}?{field}={value}")
        assert refusal(response) == (400, "invalid", {field}), (value, response.content)
    repeated = send("GET", f"{API}/{path}?{field}=a&{field}=b")
    assert refusal(repeated) == (400, "invalid", {field})


def test_a_filter_with_choices_names_them(send: Send) -> None:
    response = send("GET", f"{API}/reservations?status=GONE")
    assert [error["detail"] for error in json.loads(response.content)["errors"]] == [
        "One of ACTIVE, CONFIRMED, EXPIRED, CANCELLED is required."
    ]


@pytest.mark.parametrize(
    "path",
    ["/products/<product>", "/reservations/<active>", "/reservations/<active>/allocation", "/warehouses/wh-sp-001"],
)
def test_a_single_thing_takes_no_parameters_that_change_it(send: Send, path: str) -> None:
    assert send("GET", f"{API}{path}?format=xml&page_size=5").status_code == 200


def test_availability_refuses_a_parameter_it_does_not_know(send: Send) -> None:
    response = send("GET", f"{API}/products/<product>/availability?qty=5&warehouse=x")
    assert refusal(response) == (400, "invalid", {"qty", "warehouse"})
    known = "Unknown parameter. Allowed parameters: postal_code, quantity, warehouse_id."
    assert [error["detail"] for error in json.loads(response.content)["errors"]] == [known, known]
    response = send("GET", f"{API}/products/<product>/availability?quantity=1&quantity=2")
    assert refusal(response) == (400, "invalid", {"quantity"})
    response = send("GET", f"{API}/products/<product>/availability?warehouse_id=WH%20SP")
    assert refusal(response) == (400, "invalid", {"warehouse_id"})


# --- methods, headers, hosts -----------------------------------------------------------------------------------------

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
ALLOWED = {
    f"{API}/products": {"GET"},
    f"{API}/products/<product>": {"GET", "PUT"},
    f"{API}/products/<product>/availability": {"GET"},
    f"{API}/availability": {"POST"},
    f"{API}/reservations": {"GET", "POST"},
    f"{API}/reservations/<active>": {"GET"},
    **{f"{API}/reservations/<active>/{verb}": {"POST"} for verb in ("confirm", "cancel", "extend", "return")},
    f"{API}/reservations/<active>/allocation": {"GET"},
    f"{API}/warehouses": {"GET"},
    f"{API}/warehouses/wh-sp-001": {"GET"},
    f"{API}/stock-levels": {"GET"},
    f"{API}/movements": {"GET"},
    f"{API}/receipts": {"POST"},
    f"{API}/adjustments": {"POST"},
    "/admin/reservations/<active>/expire": {"POST"},
    "/admin/products/<product>/block-sales": {"POST"},
    "/admin/products/<product>/unblock-sales": {"POST"},
    "/api/schema": {"GET"},
    "/api/docs": {"GET"},
    "/": {"GET"},
}


@pytest.mark.parametrize("path", ALLOWED)
def test_a_method_that_the_path_does_not_know_is_405(send: Send, path: str) -> None:
    for method in set(METHODS) - ALLOWED[path]:
        response = send(method, path, ASK)
        assert refusal(response)[:2] == (405, "method_not_allowed"), (method, response.content)
        named = {allowed.strip() for allowed in response["Allow"].split(",")}
        assert named - {"HEAD"} == ALLOWED[path]


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_header_does_not_change_the_method(send: Send, name: str) -> None:
    assert send("GET", f"{API}/products", **{name: "POST"}).status_code == 200
    assert refusal(send("POST", f"{API}/products/<product>", **{name: "PUT"}))[0] == 405
    read = send("GET", f"{API}/reservations/<active>?_method=DELETE", **{name: "DELETE"})
    assert json.loads(read.content)["status"] == "ACTIVE"
    assert refusal(send("GET", f"{API}/reservations/<active>/cancel", **{name: "POST"}))[0] == 405


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "localhost@evil.example", "localhost:port", "a b", "", "[::1"]
)
def test_a_host_that_is_not_ours_is_400(send: Send, host: str) -> None:
    for method, path in (("GET", f"{API}/products"), ("POST", f"{API}/reservations"), ("GET", "/api/schema")):
        assert refusal(send(method, path, Host=host))[:2] == (400, "invalid"), host


def test_a_forwarded_host_is_not_believed(send: Send) -> None:
    listed = send("GET", f"{API}/movements?page_size=1", **{"X-Forwarded-Host": "evil.example"})
    assert json.loads(listed.content)["next"].startswith("http://testserver/api/inventory/movements?")


@pytest.mark.parametrize(
    "accept", ["text/html", "application/xml", "*/*;q=garbage", "application/json; indent=8", "\x00", ""]
)
def test_an_accept_header_that_cannot_be_met_gets_json(send: Send, accept: str) -> None:
    answer = send("GET", f"{API}/products/<product>", Accept=accept)
    assert (answer.status_code, answer["Content-Type"]) == (200, JSON)
    assert refusal(send("GET", f"{API}/nothing", Accept=accept))[0] == 404
