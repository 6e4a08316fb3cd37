"""docs/reference/asyncapi.yaml is AsyncAPI, its examples are what it says, and it says what the code does."""

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, get_args
from uuid import UUID

import pytest
from cloudevents.core.exceptions import CloudEventValidationError
from django.conf import settings
from jsonschema import ValidationError

from inventory_project.foundation import tracing
from inventory_project.foundation.messaging.outbox import Event
from reservations import bodies, events
from reservations.holds import Hold, HoldLine
from reservations.requests import SalesBlocked
from stock import events as stock_events
from stock.ledger import InsufficientStock
from tests import asyncapi
from warehouses.models import ID_PATTERN

PUBLISHED, CONSUMED = asyncapi.messages("send"), asyncapi.messages("receive")
SCHEMAS = asyncapi.document()["components"]["schemas"]
EXAMPLES = [
    pytest.param(name, example, id=f"{name}-{example['name']}")
    for name, message in (PUBLISHED | CONSUMED).items()
    for example in message["examples"]
]
RESERVED: dict[str, Any] = PUBLISHED["inventory.reserved"]["examples"][0]["payload"]


def body(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


# --- the document --------------------------------------------------------------------------------------------------


def test_the_document_is_asyncapi() -> None:
    assert asyncapi.faults(asyncapi.document()) == []


def _without_title(document: dict[str, Any]) -> None:
    del document["info"]["title"]


def _with_a_misspelt_key(document: dict[str, Any]) -> None:
    document["channels"]["inventoryReserved"]["adress"] = "inventory.reserved"


def _with_a_wrong_action(document: dict[str, Any]) -> None:
    document["operations"]["sendInventoryReserved"]["action"] = "publish"


def _with_an_unknown_binding(document: dict[str, Any]) -> None:
    document["components"]["operationBindings"]["published"]["amqp"]["persistent"] = True


def _with_a_lost_schema(document: dict[str, Any]) -> None:
    del document["components"]["schemas"]["Items"]


def _with_a_message_of_another_channel(document: dict[str, Any]) -> None:
    document["operations"]["sendInventoryReserved"]["messages"] = [
        {"$ref": "#/channels/inventoryConfirmed/messages/inventoryConfirmed"}
    ]


def _with_a_schema_that_is_none(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["Item"]["required"] = "quantity"


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_without_title, "info.title"),
        (_with_a_misspelt_key, "adress"),
        (_with_a_wrong_action, "operations.sendInventoryReserved"),
        (_with_an_unknown_binding, "persistent"),
        (_with_a_lost_schema, "#/components/schemas/Items leads nowhere"),
        (
            _with_a_message_of_another_channel,
            "operations.sendInventoryReserved: #/channels/inventoryConfirmed/messages/",
        ),
        (_with_a_schema_that_is_none, "components.schemas.Item: 'quantity' is not of type 'array'"),
    ],
)
def test_a_damaged_document_is_refused_and_the_place_is_named(
    damage: Callable[[dict[str, Any]], None], named: str
) -> None:
    document = copy.deepcopy(asyncapi.document())
    damage(document)

    assert named in "\n".join(asyncapi.faults(document))


# --- the examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_each_example_is_what_its_schema_says(name: str, example: dict[str, Any]) -> None:
    asyncapi.check(example["payload"], asyncapi.schema_of(name))
    asyncapi.check(example.get("headers", {}), asyncapi.schema_of_part("Headers"))


@pytest.mark.parametrize(
    "event", [example["payload"] for message in PUBLISHED.values() for example in message["examples"]]
)
def test_each_published_example_is_a_cloudevent(event: dict[str, Any]) -> None:
    assert asyncapi.check_published(body(event)) == event


def test_what_is_no_cloudevent_or_not_as_promised_is_found() -> None:
    with pytest.raises(CloudEventValidationError, match="specversion"):
        asyncapi.check_published(body(RESERVED | {"specversion": "2.0"}))
    with pytest.raises(ValidationError, match="'id' is a required property"):
        asyncapi.check_published(body({name: value for name, value in RESERVED.items() if name != "id"}))
    with pytest.raises(ValidationError, match="'2026-11-22' is not a 'date-time'"):
        asyncapi.check_published(body(RESERVED | {"data": RESERVED["data"] | {"expires_at": "2026-11-22"}}))
    with pytest.raises(ValidationError, match="'surprise' was unexpected"):
        asyncapi.check_published(body(RESERVED | {"data": RESERVED["data"] | {"surprise": 1}}))
    with pytest.raises(AssertionError, match=r"order\.created is not among the published messages"):
        asyncapi.check_published(body(RESERVED | {"type": "order.created"}))


# --- the code ------------------------------------------------------------------------------------------------------


def _names_in(module: ModuleType) -> set[str]:
    return {value for value in vars(module).values() if isinstance(value, str) and value.startswith("inventory.")}


def test_what_is_published_is_what_the_code_names() -> None:
    assert PUBLISHED.keys() == _names_in(events) | _names_in(stock_events)


def test_what_is_consumed_is_what_has_a_route() -> None:
    from inventory_project.routes import ROUTES

    assert CONSUMED.keys() == ROUTES.keys()


def test_each_message_goes_over_the_exchange_of_the_settings() -> None:
    document = asyncapi.document()
    exchanges = {}
    for operation in document["operations"].values():
        channel = asyncapi.resolve(document, operation["channel"]["$ref"])
        bindings = asyncapi.resolve(document, channel["bindings"]["$ref"])
        exchanges[channel["address"]] = bindings["amqp"]["exchange"]["name"]

    assert exchanges == dict.fromkeys(PUBLISHED, settings.EVENTS_EXCHANGE) | {
        name: settings.MESSAGE_EXCHANGES[name.split(".")[0]] for name in CONSUMED
    }


def test_the_values_and_bounds_are_those_of_the_code() -> None:
    lines, line, parts, part = (SCHEMAS[name] for name in ("OrderItems", "OrderItem", "PartItems", "PartItem"))

    assert SCHEMAS["CloudEvent"]["properties"]["source"]["const"] == settings.EVENT_SOURCE
    assert tuple(SCHEMAS["Released"]["properties"]["reason"]["enum"]) == get_args(events.ReleaseReason)
    assert lines["maxItems"] == settings.RESERVATION_MAX_LINES
    assert line["properties"]["quantity"]["maximum"] == settings.RESERVATION_MAX_QUANTITY
    assert parts["maxItems"] == bodies.MAX_PART_ITEMS
    assert part["properties"]["quantity"]["maximum"] == bodies.MAX_PART_QUANTITY
    assert SCHEMAS["TraceParent"]["pattern"] == f"^{tracing.TRACEPARENT.pattern}$"
    assert SCHEMAS["RequestId"]["pattern"] == f"^{tracing.REQUEST_ID.pattern}$"
    assert SCHEMAS["WarehouseId"]["pattern"] == ID_PATTERN.replace(r"\Z", "$")


NOW = datetime(2026, 11, 22, 21, 51, 7, 785322, tzinfo=UTC)
PRODUCT_ID = UUID("5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1001")
LINE = HoldLine(
    id=UUID("01a2053d-d409-75f1-8f53-627e490605b2"),
    product_id=PRODUCT_ID,
    warehouse_id="wh-sp-001",
    quantity=3,
    confirmed=2,
)
HOLD = Hold(
    id=UUID("01a2053d-d409-75f1-8f53-627e490605b1"),
    order_id=UUID("0d9f1c6a-5b7e-4c1d-8a3f-2e6b9c4d7f10"),
    status="CONFIRMED",
    is_live=True,
    expires_at=NOW + timedelta(minutes=15),
    created_at=NOW,
    settled_at=NOW,
    delivery_postal_code="",
    allocation={},
    replaces_id=None,
    actor="test",
    lines=[LINE],
)
SHORTAGE = {"product_id": str(PRODUCT_ID), "warehouse_id": None, "requested": 8, "available": 6}
CROSSING: dict[str, Any] = {"product_id": PRODUCT_ID, "warehouse_id": "wh-sp-001", "threshold": 10, "version": 4}


@pytest.mark.parametrize(
    "event",
    [
        events.reserved(HOLD),
        events.confirmed(HOLD),
        events.released(HOLD, [(LINE, 1)], reason="partial"),
        events.released(HOLD, [(LINE, 2)], reason="returned", reference="rma-2"),
        events.rejected(HOLD.order_id, "order.created", InsufficientStock("No.", shortages=[SHORTAGE]), extensions={}),
        events.rejected(
            HOLD.order_id, "payment.confirmed", SalesBlocked("No.", product_ids=[str(PRODUCT_ID)]), extensions={}
        ),
        stock_events.stock_event(stock_events.LOW_STOCK, available=9, **CROSSING),
        stock_events.stock_event(stock_events.OUT_OF_STOCK, available=0, **CROSSING),
        stock_events.stock_event(stock_events.BACK_IN_STOCK, available=40, **CROSSING),
    ],
    ids=lambda event: event.type,
)
def test_what_the_code_makes_is_what_the_document_promises(event: Event) -> None:
    published = RESERVED | {"type": event.type, "subject": event.subject, "data": event.data}

    assert asyncapi.check_published(body(published)) == published
