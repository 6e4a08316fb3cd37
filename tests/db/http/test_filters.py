"""No list takes an empty filter for no filter. Lists and filters are those of the service, so that none is missed."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.generators import SchemaGenerator

from stock import documents
from stock.models import Product, StockDocument, StockMovement
from tests import factories
from tests.db.http.bad_inputs import Send, refusal
from tests.db.http.calls import API, JSON, post

DOCUMENT: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
EMPTY = ("", "%20", "+", "%09", "%0A", "%C2%A0", "%E3%80%80", "%20%20")


def lists(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> Iterator[tuple[str, Any]]:
    """The path of each list, with its view set."""
    for entry in patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from lists(entry.url_patterns, path)
        elif "list" in getattr(entry.callback, "actions", {}).values():
            yield path, entry.callback.cls  # type: ignore[attr-defined]


LISTS = dict(lists(get_resolver().url_patterns))
FILTERS = [
    (path, name)
    for path, view in LISTS.items()
    for name in getattr(getattr(view, "filterset_class", None), "base_filters", ())
]
PARAMETERS = [(path, each["name"]) for path in LISTS for each in DOCUMENT["paths"][path]["get"]["parameters"]]


def test_the_lists_are_those_of_the_document() -> None:
    assert sorted(LISTS) == [
        f"{API}/{name}" for name in ("movements", "products", "reservations", "stock-levels", "warehouses")
    ]
    assert set(FILTERS) == {(path, name) for path, name in PARAMETERS if name not in ("cursor", "page_size")}
    assert len(FILTERS) >= 13


@pytest.mark.parametrize(("path", "name"), PARAMETERS)
def test_an_empty_parameter_is_refused_at_every_list(send: Send, path: str, name: str) -> None:
    for value in EMPTY:
        response = send("GET", f"{path}?{name}={value}")
        assert refusal(response) == (400, "invalid", {name}), (value, response.content)


def test_the_refusal_says_how_to_see_all_rows(send: Send) -> None:
    for path, name in FILTERS:
        [error] = send("GET", f"{path}?{name}=").json()["errors"]  # type: ignore[attr-defined]
        assert error == {
            "field": name,
            "code": "blank",
            "detail": "The value is empty. Leave the parameter out to see all rows.",
        }


def test_empty_filters_are_named_together_and_a_valid_one_does_not_help(send: Send) -> None:
    both = send("GET", f"{API}/movements?warehouse_id=&reference=%20&kind=RECEIPT")
    assert refusal(both) == (400, "invalid", {"warehouse_id", "reference"})
    assert send("GET", f"{API}/movements?kind=RECEIPT").status_code == 200


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("products", "sku", "A%E2%80%8BB"),
        ("products", "sku", "A%07B"),
        ("products", "sku", "x" * 65),
        ("movements", "reference", "r%E2%80%AE"),
        ("movements", "reference", "x" * 129),
        ("movements", "warehouse_id", "WH-SP-001"),
        ("stock-levels", "warehouse_id", "wh%20sp"),
        ("stock-levels", "product_id", "%20018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"),
        ("stock-levels", "low", "%20true"),
    ],
)
def test_a_filter_takes_what_a_body_takes(send: Send, path: str, name: str, value: str) -> None:
    response = send("GET", f"{API}/{path}?{name}={value}")
    assert refusal(response) == (400, "invalid", {name}), response.content


COMPOSED, DECOMPOSED = "Caf\u00e9", "Cafe\u0301"


def test_a_filter_finds_a_text_in_either_form(api: Client) -> None:
    product = factories.product({factories.SP: 5})
    for stored in (COMPOSED, DECOMPOSED):
        Product.objects.filter(pk=product.pk).update(sku=stored)
        for asked in (COMPOSED, DECOMPOSED, f" {DECOMPOSED} "):
            rows = api.get(f"{API}/products", {"sku": asked}).json()["results"]
            assert [(row["id"], row["sku"]) for row in rows] == [(str(product.pk), stored)]


# --- rows from before the rule --------------------------------------------------------------------------------------


def test_an_sku_that_differs_only_in_its_form_is_taken(api: Client) -> None:
    product, other = factories.product(), factories.product()
    Product.objects.filter(pk=product.pk).update(sku=DECOMPOSED)
    before = list(Product.objects.order_by("pk").values())

    for sku in (COMPOSED, DECOMPOSED):
        taken = api.put(f"{API}/products/{other.pk}", {"sku": sku, "name": "n"}, content_type=JSON)
        assert (taken.status_code, taken.json()["code"]) == (409, "sku_conflict")

    assert list(Product.objects.order_by("pk").values()) == before


@pytest.mark.parametrize("old", [DECOMPOSED, "A\x07B", "Tamper\u200b58", "\ufeffTamper-58", "a\u202eb"])
def test_an_old_sku_is_shown_as_it_is_and_the_next_save_puts_it_right(api: Client, old: str) -> None:
    product = factories.product()
    Product.objects.filter(pk=product.pk).update(sku=old)
    path = f"{API}/products/{product.pk}"

    assert api.get(path).json()["sku"] == old
    assert old in [row["sku"] for row in api.get(f"{API}/products").json()["results"]]
    again = api.put(path, {"sku": old, "name": "n"}, content_type=JSON)
    assert (again.status_code, Product.objects.get().sku) == ((200, COMPOSED) if old == DECOMPOSED else (400, old))
    assert api.put(path, {"sku": "CLEAN", "name": "n"}, content_type=JSON).status_code == 200
    assert Product.objects.get().sku == "CLEAN"


def test_a_receipt_handed_in_again_in_another_form_is_booked_once(api: Client) -> None:
    product = factories.product({factories.SP: 5})
    items = [{"product_id": str(product.pk), "quantity": 1}]
    receipt = {"warehouse_id": factories.SP, "items": items}

    first = post(api, f"{API}/receipts", receipt | {"reference": COMPOSED})
    second = post(api, f"{API}/receipts", receipt | {"reference": DECOMPOSED})

    assert (first.status_code, second.status_code, second.json()["reference"]) == (201, 200, COMPOSED)
    assert factories.numbers(product.pk) == (6, 0, 0)


def test_a_receipt_from_before_the_rule_is_known_again(api: Client) -> None:
    product = factories.product({factories.SP: 5})
    documents.book(
        documents.DocumentRequest(
            kind=documents.Kind.ADJUSTMENT,
            reference=DECOMPOSED,
            reason=f"{DECOMPOSED} broken",
            warehouse_id=factories.SP,
            items=((product.pk, -1),),
            actor="test",
        )
    )
    adjustment = {
        "reference": COMPOSED,
        "reason": f"{COMPOSED} broken",
        "warehouse_id": factories.SP,
        "items": [{"product_id": str(product.pk), "delta": -1}],
    }

    again = post(api, f"{API}/adjustments", adjustment)
    other = post(api, f"{API}/adjustments", adjustment | {"reason": "another"})

    assert (again.status_code, other.status_code) == (200, 409)
    assert StockDocument.objects.filter(kind="ADJUSTMENT").count() == 1
    assert StockMovement.objects.filter(kind="ADJUSTMENT").count() == 1
