"""Whatever body the fast path reads, the strict parser and the serializers read too, and understand the same."""

import json
from collections.abc import Callable
from itertools import islice
from typing import Any

import msgspec
import pytest
from rest_framework.exceptions import ValidationError

from inventory_project.foundation.errors import Invalid
from inventory_project.foundation.http import parsing, plain_json
from reservations.api import fast, reservations
from reservations.bodies import part_of
from reservations.requests import Item, Reserve
from stock.api import availability
from stock.api import fast as fast_stock
from stock.availability import Question
from tests.unit.http import mutants

PRODUCT, OTHER = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f", "5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1004"
ORDER: dict[str, Any] = {
    "order_id": "0d9f1c6a-5b7e-4c1d-8a3f-2e6b9c4d7f10",
    "items": [
        {"product_id": PRODUCT, "quantity": 2, "warehouse_id": "wh-sp-001"},
        {"product_id": OTHER, "quantity": 1},
    ],
    "delivery_postal_code": "01310-100",
    "ttl_minutes": 15,
    "allow_split": False,
}
SHORT = {key: ORDER[key] for key in ("order_id", "items")}
MUTANTS = 6_000  # of each body
Read = Callable[[bytes], object]


def fast_order(body: bytes) -> object:
    order = plain_json.read(fast._ORDER, body)
    return None if order is None else fast._reserve(order, "ana")


def strict_order(body: bytes) -> object:
    return reservations._reserve(reservations.ReserveIn.read(parsing.parse_object(body)), "ana")


def fast_bulk(body: bytes) -> object:
    bulk = plain_json.read(fast._BULK, body)
    return None if bulk is None else [fast._reserve(order, "ana") for order in bulk.orders]


def strict_bulk(body: bytes) -> object:
    orders = reservations.BulkReserveIn.read(parsing.parse_object(body))["orders"]
    return [reservations._reserve(order, "ana") for order in orders]


def fast_part(body: bytes) -> object:
    part = plain_json.read(fast._PART, body)
    if part is None:
        return None
    return "all" if part.items is msgspec.UNSET else fast._domain_items(part.items)


def strict_part(body: bytes) -> object:
    part = part_of(reservations.ConfirmIn.read(parsing.parse_object(body)))
    return "all" if part is None else part


def fast_many(body: bytes) -> object:
    bulk = plain_json.read(fast_stock._BULK, body)
    return None if bulk is None else fast_stock._question(bulk)


def strict_many(body: bytes) -> object:
    wanted = availability.BulkAvailabilityIn.read(parsing.parse_object(body))
    return Question(product_ids=tuple(wanted["product_ids"]), postal_code=wanted.get("postal_code") or "")


KINDS: dict[str, tuple[Read, Read, list[object]]] = {
    "order": (fast_order, strict_order, [ORDER, SHORT]),
    "bulk": (fast_bulk, strict_bulk, [{"orders": [SHORT, ORDER]}]),
    "part": (fast_part, strict_part, [{"items": ORDER["items"]}, {}]),
    "products": (fast_many, strict_many, [{"product_ids": [PRODUCT, OTHER], "postal_code": "01310-100"}]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_of_thousands_of_bodies_with_mistakes_each_that_the_fast_path_reads_means_the_same(kind: str) -> None:
    fast_read, strict_read, bodies = KINDS[kind]
    read = 0
    for body in bodies:
        for mutant in islice(mutants.of(json.dumps(body), kind), MUTANTS):
            understood = fast_read(mutant)
            if understood is not None:
                read += 1
                assert understood == strictly(strict_read, mutant), mutant
    assert read > MUTANTS // 100  # enough mistakes were none, such as white space or another number


def strictly(read: Read, body: bytes) -> object:
    try:
        return read(body)
    except (Invalid, ValidationError) as refusal:
        return refusal


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_in_its_usual_form_is_read_by_the_fast_path(kind: str) -> None:
    fast_read, strict_read, bodies = KINDS[kind]
    for body in bodies:
        for text in (json.dumps(body), json.dumps(body, indent=2), json.dumps(body, separators=(",", ":"))):
            assert fast_read(text.encode()) == strict_read(text.encode()) is not None


def test_control_without_counting_quotation_marks_a_name_that_stands_twice_would_be_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    twice = b'{"order_id": "%s", "order_id": "%s", "items": [{"product_id": "%s", "quantity": 1}]}' % (
        (PRODUCT.encode(),) * 3
    )
    assert fast_order(twice) is None
    assert isinstance(strictly(strict_order, twice), Invalid)
    monkeypatch.setattr(plain_json, "quotes", lambda _body: twice.count(b'"'))
    assert isinstance(fast_order(twice), Reserve)


def test_equal_lines_stay_two_and_upper_case_ids_are_understood() -> None:
    items = [{"product_id": PRODUCT.upper(), "quantity": 1}, {"product_id": PRODUCT, "quantity": 1}]
    read = fast_part(json.dumps({"items": items}).encode())
    assert isinstance(read, tuple)
    assert [type(item) for item in read] == [Item, Item]
    assert read[0] == read[1]
