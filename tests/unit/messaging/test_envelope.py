"""CloudEvents in and out, byte by byte; what the broker has to do with it is in tests/integration/messaging."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings

from inventory_project.foundation.errors import Invalid
from inventory_project.foundation.messaging import envelope
from inventory_project.foundation.messaging.envelope import Message
from inventory_project.foundation.messaging.outbox import PendingEvent
from inventory_project.foundation.messaging.rabbitmq.messages import Delivery
from tests import asyncapi

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DATA = {"order_id": "018f4e3a-7c1b-7d2e-9a40-000000000001"}
EVENT = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "payment.failed", "data": DATA}


def delivery(body: object = DATA, **changes: Any) -> Delivery:
    """As it comes from a shop that says no more than it must."""
    return Delivery(
        **{
            "tag": 1,
            "exchange": "payment.events",
            "routing_key": "payment.failed",
            "body": body if isinstance(body, bytes) else json.dumps(body).encode(),
            "message_id": "m-1",
            "content_type": "application/json",
            "correlation_id": None,
            "headers": {},
            **changes,
        }
    )


def refusal(delivered: Delivery) -> str:
    with pytest.raises(Invalid) as caught:
        envelope.read(delivered)
    return caught.value.detail


# --- out -----------------------------------------------------------------------------------------------------------


def test_an_event_of_the_outbox_is_a_cloud_event_with_what_caused_it() -> None:
    event = PendingEvent(
        id=7,
        event_id=UUID("01a2053d-d40a-7be0-9c57-2d1f6a0b3c01"),
        type="inventory.out_of_stock",
        subject="5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1001/wh-sp-001",
        data=json.dumps(
            {
                "product_id": "5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1001",
                "warehouse_id": "wh-sp-001",
                "available": 0,
                "threshold": 5,
                "version": 9_007_199_254_740_993,  # more than a double holds
            }
        ),
        extensions=json.dumps({"traceparent": TRACE, "requestid": "cart-1"}),
        occurred_at=datetime(2026, 11, 22, 21, 51, 7, 785_322, tzinfo=UTC),
    )
    publication = envelope.publication(event)
    assert (publication.exchange, publication.routing_key) == ("inventory.events", "inventory.out_of_stock")
    assert publication.message_id == "01a2053d-d40a-7be0-9c57-2d1f6a0b3c01"
    assert publication.content_type == "application/cloudevents+json"
    assert publication.properties.delivery_mode == 2
    assert asyncapi.check_published(publication.body) == {
        "specversion": "1.0",
        "id": "01a2053d-d40a-7be0-9c57-2d1f6a0b3c01",
        "source": "/inventory-service",
        "type": "inventory.out_of_stock",
        "subject": "5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1001/wh-sp-001",
        "time": "2026-11-22T21:51:07.785322Z",
        "datacontenttype": "application/json",
        "traceparent": TRACE,
        "requestid": "cart-1",
        "data": json.loads(event.data),
    }


# --- in ------------------------------------------------------------------------------------------------------------


def test_bare_json_takes_its_type_source_and_id_from_amqp() -> None:
    assert envelope.read(delivery()) == Message(
        source="payment.events", id="m-1", type="payment.failed", data=DATA, extensions={}, tries=0
    )


def test_a_cloud_event_says_all_of_it_itself() -> None:
    event = EVENT | {"traceparent": TRACE, "requestid": "cart-1", "type": "order.cancelled"}
    read = envelope.read(delivery(event, headers={"requestid": "another", "x-tries": 3}, correlation_id="third"))
    extensions = {"traceparent": TRACE, "requestid": "cart-1"}
    assert read == Message(source="/shop", id="1", type="order.cancelled", data=DATA, extensions=extensions, tries=3)


@pytest.mark.parametrize(
    ("headers", "correlation_id", "extensions"),
    [
        ({"traceparent": TRACE}, None, {"traceparent": TRACE}),
        ({"requestid": "a"}, "b", {"requestid": "a"}),
        ({}, "b", {"requestid": "b"}),
        ({"traceparent": TRACE.upper(), "requestid": "é"}, "b", {}),
        ({"traceparent": b"\xff", "requestid": 5}, None, {}),
        ({"traceparent": [TRACE], "requestid": "x" * 129}, None, {}),
    ],
)
def test_of_what_caused_it_only_the_well_formed_is_carried_on(
    headers: dict[str, Any], correlation_id: str | None, extensions: dict[str, str]
) -> None:
    assert envelope.read(delivery(headers=headers, correlation_id=correlation_id)).extensions == extensions


@pytest.mark.parametrize(
    ("tries", "is_last_try"),
    [(0, False), (11, False), (12, True), (13, True), (-1, False), ("12", False), (True, False)],
)
def test_a_message_was_put_off_as_often_as_its_header_says(tries: object, is_last_try: bool) -> None:
    assert envelope.read(delivery(headers={"x-tries": tries})).is_last_try is is_last_try


def test_without_an_id_a_digest_of_type_and_content_stands_for_it() -> None:
    ids = [
        envelope.read(delivered).id
        for delivered in (
            delivery(message_id=None),
            delivery(message_id="", exchange="another", headers={"x-tries": 5}),
            delivery(message_id=None, routing_key="payment.confirmed"),
            delivery(DATA | {"again": True}, message_id=None),
        )
    ]
    assert (
        ids[0] == "58998f20a2c1cda719dd10e48d413f0aee199f7fa3083847eeb8d610368621b2"
    )  # for ever: it may come again after an upgrade
    assert (ids[1] == ids[0], len(set(ids))) == (True, 3)


def test_the_body_may_be_as_large_as_one_over_http() -> None:
    padding = settings.MAX_BODY_BYTES - len(json.dumps(DATA | {"x": ""}))
    assert envelope.read(delivery(DATA | {"x": "y" * padding})).id == "m-1"
    reason = refusal(delivery(DATA | {"x": "y" * (padding + 1)}))
    assert reason == f"The body has {settings.MAX_BODY_BYTES + 1} bytes; {settings.MAX_BODY_BYTES} are the most."


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exchange": "x" * 256}, "exchange must be a text of 1 to 255 characters."),
        ({"exchange": "a\nb"}, "exchange must not have control characters."),
        ({"message_id": "x" * 129}, "message id must be a text of 1 to 128 characters."),
        ({"message_id": b"\xff"}, "message id must be a text of 1 to 128 characters."),
        ({"message_id": "\x00"}, "message id must not have control characters."),
        ({"message_id": "\x85"}, "message id must be a text of 1 to 128 characters."),
        ({"message_id": "a\u200bb"}, "message id must not have characters that cannot be seen."),
        ({"routing_key": ""}, "routing key must be a text of 1 to 64 characters."),
        ({"routing_key": "x" * 65}, "routing key must be a text of 1 to 64 characters."),
        ({"routing_key": "order\x7f"}, "routing key must not have control characters."),
    ],
)
def test_what_the_inbox_cannot_hold_is_refused(changes: dict[str, Any], reason: str) -> None:
    assert refusal(delivery(**changes)) == reason


def test_a_message_put_into_the_queue_past_every_exchange_comes_from_amqp() -> None:
    assert envelope.read(delivery(exchange="")).source == "amqp"
