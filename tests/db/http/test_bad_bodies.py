"""Bodies that are no strict JSON object, of another type or too large are refused."""

import json

import pytest
from django.conf import settings

from tests.db.http.bad_inputs import API, ASK, JSON, NOBODY, ORDER, Send, refusal

# --- bodies that are no JSON object ----------------------------------------------------------------------------------

BODY_DOORS = (
    ("POST", f"{API}/reservations"),
    ("POST", f"{API}/reservations/bulk"),
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
