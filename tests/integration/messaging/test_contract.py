"""What may be sent to the service, and what becomes of everything else: a dead letter at once, which says why."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings

from inventory_project.foundation.messaging.models import InboxMessage
from inventory_project.foundation.messaging.rabbitmq import topology
from inventory_project.foundation.messaging.rabbitmq.messages import TRIES_HEADER
from tests import factories
from tests.db.http.test_bad_bodies import BAD_BODIES
from tests.db.http.test_bad_numbers import NUMBERS
from tests.factories import SP
from tests.integration.messaging.programs import clean, command, wait_for_consumers
from tests.integration.messaging.shops import (
    CLOUD_EVENT,
    JSON,
    ORDERS,
    PAYMENTS,
    SOURCE,
    Shop,
    cloud_event,
    order_of,
    outcomes,
)
from tests.servers import RabbitMQ
from tests.service import wait_until

pytestmark = pytest.mark.usefixtures("books")

ORDER = UUID("018f4e3a-7c1b-7d2e-9a40-000000000001")
PRODUCT = UUID("018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f")
LINE = {"product_id": str(PRODUCT), "quantity": 1}
LIMIT = 262_144  # bytes


@pytest.fixture(scope="module")
def consumed(rabbitmq: RabbitMQ, django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a broker with a consumer at it, whose handlers never fail; the same one for all tests of this file."""
    log = tmp_path_factory.mktemp("programs") / "consumer.log"
    with clean(rabbitmq.url), command("consume_events", url=rabbitmq.url, log=log) as consumer:
        yield rabbitmq.url
        assert consumer.stop() == 0
    assert "Traceback" not in consumer.output


@pytest.fixture
def shop(transactional_db: None, consumed: str) -> Iterator[Shop]:
    with Shop(consumed) as shop:
        wait_for_consumers(shop)
        yield shop
        shop.forget_dead_letters()


def dead(shop: Shop, number: int) -> dict[str | None, str]:
    """So many dead letters, and that the queue goes on behind them, and that nothing else came of them."""
    wait_until(lambda: shop.number_in(topology.DEAD_QUEUE) == number, f"{number} dead letters")
    last = shop.say("order.cancelled", order_of(uuid4()), headers={TRIES_HEADER: settings.MESSAGE_MAX_TRIES})
    wait_until(lambda: outcomes(last) == ["cancelled"], "the next message")
    assert InboxMessage.objects.count() == 1
    assert shop.heard() == []
    return shop.dead_letters()


def send_bodies(shop: Shop, bodies: dict[str, bytes], *, type_: str = "order.created") -> dict[str | None, str]:
    """The reasons by the names of the bodies."""
    for name, body in bodies.items():
        shop.send(ORDERS, type_, body, message_id=name, content_type=JSON)
    return dead(shop, len(bodies))


def written(data: object) -> bytes:
    return json.dumps(data).encode()


# --- bodies --------------------------------------------------------------------------------------------------------


def test_a_body_that_is_no_strict_json_object_is_dead(shop: Shop) -> None:
    reasons = send_bodies(shop, BAD_BODIES)
    assert reasons.keys() == BAD_BODIES.keys()
    assert {name: reason for name, reason in reasons.items() if not reason.endswith(".")} == {}
    assert reasons["cut_off"] == "The body is not JSON: Unterminated string starting at line 1, column 14."
    assert reasons["array"] == "The body must be a JSON object, not an array."
    assert reasons["deep_and_open"] == "The body is nested deeper than 32 levels, at character 32."
    assert reasons["surrogate_in_a_name"].startswith(r"The name '\udfff' holds half of a surrogate pair")


def test_a_body_over_the_limit_is_dead_and_one_at_the_limit_is_read(shop: Shop) -> None:
    product = factories.product({SP: 5})
    order = order_of(ORDER, {product.pk: 1}, padding="")
    order["padding"] = "x" * (LIMIT - len(written(order)))
    assert len(written(order)) == LIMIT
    at_the_limit = shop.say("order.created", order)
    wait_until(lambda: outcomes(at_the_limit) == ["reserved"], "reserved")
    InboxMessage.objects.all().delete()
    assert send_bodies(shop, {"over": written(order | {"x": 1})}) == {
        "over": f"The body has {LIMIT + 8} bytes; {LIMIT} are the most."
    }


# --- fields --------------------------------------------------------------------------------------------------------


def with_quantity(number: str) -> bytes:
    order = written(order_of(ORDER, {PRODUCT: 1}))
    return order.replace(b'"quantity": 1', b'"quantity": ' + number.encode())


def test_only_whole_json_numbers_within_the_limits_are_units(shop: Shop) -> None:
    numbers = NUMBERS | {"over": str(settings.RESERVATION_MAX_QUANTITY + 1)}
    bodies = {name: with_quantity(number) for name, number in numbers.items()}
    reasons = send_bodies(shop, bodies)
    assert {name: reason for name, reason in reasons.items() if "items[0].quantity" not in reason} == {}
    assert reasons.keys() == numbers.keys()


def with_items(*entries: object) -> dict[str, Any]:
    return order_of(ORDER) | {"items": list(entries)}


UUID_WANTED = "A UUID such as 018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f is required."
WRONG_ORDERS: dict[str, tuple[dict[str, Any], str]] = {
    "empty": ({}, "order_id: This field is required. items: This field is required."),
    "no items": (order_of(ORDER), "items: This field is required."),
    "items null": (order_of(ORDER) | {"items": None}, "items: This field may not be null."),
    "items empty": (with_items(), "items: The list must not be empty."),
    "an object": (order_of(ORDER) | {"items": LINE}, "items: A list is required."),
    "101 lines": (with_items(*[LINE] * 101), "items: At most 100 entries are allowed."),
    "4,000 lines": (with_items(*[{}] * 4_000), "items: At most 100 entries are allowed."),
    "a line of text": (with_items(LINE, "text"), "items[1]: An object is required."),
    "misspelt": (with_items({"product_id": str(PRODUCT), "qty": 1}), "items[0].quantity: This field is required."),
    "sums": (
        with_items({**LINE, "quantity": 5_000}, {**LINE, "quantity": 5_001}),
        f"The quantity of product {PRODUCT} must be 1 to 10000, equal lines added up; it is 10001.",
    ),
    "a number": (with_items(LINE) | {"order_id": 5}, f"order_id: {UUID_WANTED}"),
    "an urn": (with_items(LINE) | {"order_id": f"urn:uuid:{ORDER}"}, f"order_id: {UUID_WANTED}"),
    "no product": (with_items({"quantity": 1}), "items[0].product_id: This field is required."),
    "braces": (with_items({**LINE, "product_id": f"{{{PRODUCT}}}"}), f"items[0].product_id: {UUID_WANTED}"),
    "warehouse": (
        with_items({**LINE, "warehouse_id": "'; DROP TABLE warehouse; --"}),
        "items[0].warehouse_id: The text must be a warehouse id such as wh-sp-001.",
    ),
}


def test_an_order_with_wrong_fields_is_dead(shop: Shop) -> None:
    reasons = send_bodies(shop, {name: written(order) for name, (order, _) in WRONG_ORDERS.items()})
    assert reasons == {name: reason for name, (_, reason) in WRONG_ORDERS.items()}


def test_a_cancellation_with_wrong_items_is_dead_and_does_not_call_off_the_whole_order(shop: Shop) -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 2)
    order = order_of(held.order_id)
    bodies = {"null": order | {"items": None}, "empty": order | {"items": []}, "none": {"items": [LINE]}}
    shop.heard().clear()
    reasons = send_bodies(shop, {name: written(body) for name, body in bodies.items()}, type_="order.cancelled")
    assert reasons == {
        "null": "items: This field may not be null.",
        "empty": "items: The list must not be empty.",
        "none": "order_id: This field is required.",
    }
    assert factories.numbers(product.pk) == (3, 2, 0)


# --- envelopes -----------------------------------------------------------------------------------------------------

ID_WANTED = "id must be a text of 1 to 128 characters."
SOURCE_WANTED = "source must be a text of 1 to 255 characters."
TYPE_WANTED = "type must be a text of 1 to 64 characters."
DATA_WANTED = "data must be an object."
WRONG_ENVELOPES: dict[str, tuple[dict[str, Any], str]] = {
    "specversion of yesterday": ({"specversion": "0.3"}, "specversion must be 1.0."),
    "specversion, a number": ({"specversion": 1.0}, "specversion must be 1.0."),
    "no id": ({"id": None}, ID_WANTED),
    "an empty id": ({"id": ""}, ID_WANTED),
    "an id of 129 characters": ({"id": "x" * 129}, ID_WANTED),
    "an id that is a number": ({"id": 4711}, ID_WANTED),
    "an id in two lines": ({"id": "a\nb"}, "id must not have control characters."),
    "no source": ({"source": None}, SOURCE_WANTED),
    "a source of 256 characters": ({"source": "/" * 256}, SOURCE_WANTED),
    "no type": ({"type": None}, TYPE_WANTED),
    "a type that is a list": ({"type": ["order.created"]}, TYPE_WANTED),
    "a type of 65 characters": ({"type": "x" * 65}, TYPE_WANTED),
    "another type": ({"type": "order.shipped"}, "There is no handler for messages of type order.shipped."),
    "one of ours": ({"type": "inventory.reserved"}, "There is no handler for messages of type inventory.reserved."),
    "no data": ({"data": None}, DATA_WANTED),
    "data in a text": ({"data": '{"order_id": 1}'}, DATA_WANTED),
    "data in base64": ({"data": None, "data_base64": "e30="}, DATA_WANTED),
}


def test_an_envelope_that_is_no_cloud_event_is_dead(shop: Shop) -> None:
    event = cloud_event("order.created", "1", order_of(ORDER, {PRODUCT: 1}))
    for name, (changes, _) in WRONG_ENVELOPES.items():
        body = written({key: value for key, value in (event | changes).items() if value is not None})
        shop.send(ORDERS, "order.created", body, message_id=name, content_type=CLOUD_EVENT)
    shop.send(ORDERS, "order.created", written(LINE), message_id="bare", content_type=CLOUD_EVENT)
    expected = {name: reason for name, (_, reason) in WRONG_ENVELOPES.items()}
    assert dead(shop, len(expected) + 1) == expected | {"bare": "specversion must be 1.0."}


BAD_IDS: dict[str | bytes, str] = {
    "x" * 129: "message id must be a text of 1 to 128 characters.",
    "a\x00b": "message id must not have control characters.",
    b"\xff\xfe": "message id must be a text of 1 to 128 characters.",
}


def test_a_message_id_that_the_inbox_cannot_hold_is_dead(shop: Shop) -> None:
    for message_id in BAD_IDS:
        body = written(order_of(ORDER, {PRODUCT: 1}))
        shop.send(ORDERS, "order.created", body, message_id=message_id, content_type=JSON)
    assert dead(shop, len(BAD_IDS)) == BAD_IDS


def test_a_cloud_event_under_the_name_of_another_message_is_dead(shop: Shop) -> None:
    event = cloud_event("order.created", "1", order_of(ORDER, {PRODUCT: 1}))
    shop.send(ORDERS, "order.cancelled", written(event), message_id="1", content_type=CLOUD_EVENT)
    assert dead(shop, 1) == {
        "1": "Messages of type order.created come over order.events with the routing key order.created; "
        "this one came over order.events with order.cancelled."
    }


# --- binary mode ---------------------------------------------------------------------------------------------------

ATTRIBUTES = {"specversion": "1.0", "id": "x-1", "source": SOURCE, "type": "order.created"}
WRONG_ATTRIBUTES: dict[str, tuple[dict[str, Any], str]] = {
    "only an id": ({"cloudEvents:id": "1"}, "specversion must be 1.0."),
    "no id": ({"cloudEvents:id": None}, ID_WANTED),
    "an id that is a number": ({"cloudEvents:id": 5}, ID_WANTED),
    "no source": ({"cloudEvents:source": None}, SOURCE_WANTED),
    "no type": ({"cloudEvents:type": None}, TYPE_WANTED),
    "two ids": (
        {"cloudEvents_id": "x-2"},
        "Two headers contradict each other: 'cloudEvents:id' and 'cloudEvents_id'.",
    ),
    "two times": (
        {"cloudEvents:time": "2026-11-22T21:51:07Z", "cloudEvents_time": "2026-11-22T21:51:08Z"},
        "Two headers contradict each other: 'cloudEvents:time' and 'cloudEvents_time'.",
    ),
    "another type": (
        {"cloudEvents:type": "order.cancelled"},
        "Messages of type order.cancelled come over order.events with the routing key order.cancelled; "
        "this one came over order.events with order.created.",
    ),
}
CONTRADICTIONS: dict[str, tuple[str, Any]] = {
    "id": ("cloudEvents:id", "2"),
    "source": ("cloudEvents_source", "/market"),
    "type": ("cloudEvents:type", "order.cancelled"),
    "time": ("cloudEvents:time", datetime(2026, 11, 22, 21, 51, 8, tzinfo=UTC)),
    "subject": ("cloudEvents_subject", "cart-2"),
}


def in_binary_mode(**changes: object) -> dict[str, Any]:
    """The headers of an event in binary mode; one of None is left out."""
    headers = {f"cloudEvents:{name}": value for name, value in ATTRIBUTES.items()} | changes
    return {name: value for name, value in headers.items() if value is not None}


def test_attributes_in_binary_mode_that_are_missing_wrong_or_contradict_each_other_are_dead(shop: Shop) -> None:
    body = written(order_of(ORDER, {PRODUCT: 1}))
    for name, (changes, _) in WRONG_ATTRIBUTES.items():
        headers = changes if name == "only an id" else in_binary_mode(**changes)
        shop.send(ORDERS, "order.created", body, message_id=name, headers=headers)
    assert dead(shop, len(WRONG_ATTRIBUTES)) == {name: reason for name, (_, reason) in WRONG_ATTRIBUTES.items()}


def test_headers_that_contradict_the_event_in_the_body_are_dead(shop: Shop) -> None:
    more = {"time": "2026-11-22T21:51:07Z", "subject": "cart-1"}
    body = written(cloud_event("order.created", "1", order_of(ORDER, {PRODUCT: 1}), **more))
    for name, (header, value) in CONTRADICTIONS.items():
        shop.send(ORDERS, "order.created", body, message_id=name, content_type=CLOUD_EVENT, headers={header: value})
    assert dead(shop, len(CONTRADICTIONS)) == {
        name: f"The header 'cloudEvents:{name}' contradicts the body." for name in CONTRADICTIONS
    }


def test_a_message_that_is_put_into_the_queue_itself_has_no_type(shop: Shop) -> None:
    shop.send("", topology.QUEUE, written(order_of(ORDER, {PRODUCT: 1})), message_id="1", content_type=JSON)
    assert dead(shop, 1) == {"1": "There is no handler for messages of type inventory.orders."}


# --- what is taken -------------------------------------------------------------------------------------------------


def taken(number: int) -> list[tuple[str, str, str]]:
    """Source, id and outcome of so many messages, in the order in which they were handled."""
    rows = InboxMessage.objects.order_by("id").values_list("source", "message_id", "outcome")
    wait_until(lambda: rows.count() >= number, f"{number} messages")
    return list(rows)


def test_fields_that_nobody_knows_are_left_alone(shop: Shop) -> None:
    product = factories.product({SP: 5})
    item = {"product_id": str(product.pk).upper(), "quantity": 2, "price": {"amount": 1.5}, "__proto__": None}
    order = order_of(ORDER) | {"items": [item], "customer": "\u202eé", "total": 1e3, "ttl_minutes": "x"}
    shop.say_cloud_event("order.created", order, message_id="1", time="yesterday", dataschema=5, comexampleother=[])
    assert taken(1) == [(SOURCE, "1", "reserved")]
    assert factories.numbers(product.pk) == (3, 2, 0)


@pytest.mark.parametrize("content_type", [None, JSON, "text/plain", CLOUD_EVENT, f"{CLOUD_EVENT}; charset=utf-8"])
def test_an_object_with_specversion_is_a_cloud_event_and_its_own_id_and_source_count(
    shop: Shop, content_type: str | None
) -> None:
    product = factories.product({SP: 5})
    event = cloud_event("order.created", "i" * 128, order_of(ORDER, {product.pk: 2}), source="s" * 255)
    shop.send(ORDERS, "order.created", written(event), message_id="another", content_type=content_type)
    assert taken(1) == [("s" * 255, "i" * 128, "reserved")]


@pytest.mark.parametrize("content_type", [None, JSON, "application/json; charset=utf-8", "text/plain"])
def test_bare_json_is_known_by_its_exchange_and_message_id(shop: Shop, content_type: str | None) -> None:
    product = factories.product({SP: 5})
    body = written(order_of(ORDER, {product.pk: 2}))
    shop.send(ORDERS, "order.created", body, message_id="i" * 128, content_type=content_type)
    assert taken(1) == [(ORDERS, "i" * 128, "reserved")]


def test_without_an_id_the_content_is_the_id(shop: Shop) -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 4)
    one, two = (written(order_of(held.order_id, {product.pk: units})) for units in (1, 2))
    for body in (one, one, two, one):
        shop.send(ORDERS, "order.cancelled", body, content_type=JSON)
    rows = taken(2)
    assert [(source, len(message_id), outcome) for source, message_id, outcome in rows] == [
        (ORDERS, 64, "released"),
        (ORDERS, 64, "released"),
    ]
    shop.say("order.created", order_of(ORDER, {product.pk: 1}), message_id="behind all of them")
    assert taken(3)[2] == (ORDERS, "behind all of them", "reserved")
    assert factories.numbers(product.pk) == (3, 2, 0)


@pytest.mark.parametrize("prefix", ["cloudEvents:", "cloudEvents_"])
def test_an_event_in_binary_mode_is_known_by_its_headers(shop: Shop, prefix: str) -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 4)
    attributes = ATTRIBUTES | {"type": "order.cancelled", "time": "2026-11-22T21:51:07Z", "subject": "cart-1"}
    body = written(order_of(held.order_id, {product.pk: 1}))
    for message_id in ("x-1", "x-2", "x-1"):
        headers = {f"{prefix}{name}": value for name, value in (attributes | {"id": message_id}).items()}
        shop.send(ORDERS, "order.cancelled", body, content_type=JSON, headers=headers)
    shop.say("order.created", order_of(ORDER, {product.pk: 1}), message_id="behind all of them")
    assert taken(3) == [
        (SOURCE, "x-1", "released"),
        (SOURCE, "x-2", "released"),
        (ORDERS, "behind all of them", "reserved"),
    ]
    assert factories.numbers(product.pk) == (2, 3, 0)


def test_an_event_in_binary_mode_keeps_its_id_while_it_is_delayed(shop: Shop) -> None:
    product = factories.product({SP: 5})
    attributes = ATTRIBUTES | {"type": "payment.confirmed", "requestid": "cart-1"}
    headers = {f"cloudEvents_{name}": value for name, value in attributes.items()}
    shop.send(PAYMENTS, "payment.confirmed", written(order_of(ORDER)), content_type=JSON, headers=headers)
    wait_until(lambda: shop.number_in(topology.DELAY_QUEUE) == 1, "delayed")
    shop.say("order.created", order_of(ORDER, {product.pk: 2}), message_id="order")
    assert taken(2) == [(ORDERS, "order", "reserved"), (SOURCE, "x-1", "confirmed")]
    assert factories.numbers(product.pk) == (3, 0, 0)


def test_headers_that_agree_with_the_event_in_the_body_do_no_harm(shop: Shop) -> None:
    product = factories.product({SP: 5})
    event = cloud_event("order.created", "1", order_of(ORDER, {product.pk: 2}), time="2026-11-22T21:51:07Z")
    headers = {"cloudEvents:id": "1", "cloudEvents_time": datetime(2026, 11, 22, 21, 51, 7, tzinfo=UTC)}
    shop.send(ORDERS, "order.created", written(event), content_type=CLOUD_EVENT, headers=headers)
    assert taken(1) == [(SOURCE, "1", "reserved")]


def test_one_id_of_two_sources_is_two_messages(shop: Shop) -> None:
    product = factories.product({SP: 5})
    orders = [uuid4(), uuid4(), uuid4()]
    shop.say("order.created", order_of(orders[0], {product.pk: 1}), message_id="1")
    shop.say_cloud_event("order.created", order_of(orders[1], {product.pk: 1}), message_id="1")
    shop.say_cloud_event("order.created", order_of(orders[2], {product.pk: 1}), message_id="1", source="/market")
    shop.say_cloud_event("order.created", order_of(uuid4(), {product.pk: 1}), message_id="1", source="/market")
    shop.say("order.created", order_of(uuid4(), {product.pk: 1}), message_id="last")
    assert taken(4) == [
        (ORDERS, "1", "reserved"),
        (SOURCE, "1", "reserved"),
        ("/market", "1", "reserved"),
        (ORDERS, "last", "reserved"),
    ]
    assert factories.numbers(product.pk) == (1, 4, 0)
