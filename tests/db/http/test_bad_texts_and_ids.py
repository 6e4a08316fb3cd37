"""Texts and ids that cannot be meant are refused, and strange text is stored as text."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from stock.models import Product
from tests import factories
from tests.db.http.bad_inputs import API, JSON, NOBODY, ORDER, Send, Shop, refusal

# --- text ------------------------------------------------------------------------------------------------------------

HOSTILE_TEXT = (
    "'; DROP TABLE stock_product; --",
    '" OR 1=1 --',
    "100% \\ %s {0} ${x} <script>alert(1)</script>",
    "\U0001f4e6 box \u0bb8\u0bcd \u00e9",
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
NO_CODE = {"empty", "blank", "null"}
BAD_TEXTS = {
    "100_kB": "x" * 100_000,
    "empty": "",
    "blank": "  ",
    "newline": "a\nb",
    "escape": "\x1b[31m",
    "c1_control": "a\x85b",
    "zero_width": "a\u200bb",
    "byte_order_mark": "\ufeffa",
    "direction": "a\u202eb",
    "number": 5,
    "null": None,
    "list": ["a"],
    "object": {"a": "b"},
    "true": True,
}


@pytest.mark.parametrize("kind", BAD_TEXTS)
def test_text_is_one_bounded_line(send: Send, kind: str) -> None:
    for method, path, rest, field in TEXT_FIELDS:
        if field == "delivery_postal_code" and kind in NO_CODE:
            continue  # an order without one
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
