"""Reads and writes CloudEvents 1.0 in structured JSON mode. Incoming messages may also be bare JSON.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import orjson
from django.conf import settings

from inventory_project.foundation import tracing, values
from inventory_project.foundation.errors import Invalid
from inventory_project.foundation.http.parsing import parse_object
from inventory_project.foundation.messaging.outbox import PendingEvent
from inventory_project.foundation.messaging.rabbitmq.messages import Delivery, Publication

CONTENT_TYPE = "application/cloudevents+json"
MAX_SOURCE, MAX_ID, MAX_TYPE = 255, 128, 64  # characters, as the inbox stores them
UNWANTED = {
    "control": "must not have control characters.",
    "invisible": "must not have characters that cannot be seen.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that came in either form. Source and id identify it; `tries` is how often it was delayed."""

    source: str
    id: str
    type: str
    data: Mapping[str, Any]
    extensions: Mapping[str, str]
    tries: int

    @property
    def is_last_try(self) -> bool:
        """Whether the message must not be delayed again."""
        return self.tries >= settings.MESSAGE_MAX_TRIES


# --- out -----------------------------------------------------------------------------------------------------------


def publication(event: PendingEvent) -> Publication:
    """The message for an event of the outbox. Its id is the event's id, the same each time it is sent."""
    body = {
        "specversion": "1.0",
        "id": str(event.event_id),
        "source": settings.EVENT_SOURCE,
        "type": event.type,
        "subject": event.subject,
        "time": event.occurred_at.astimezone(UTC),
        "datacontenttype": "application/json",
        **orjson.loads(event.extensions),
        "data": orjson.Fragment(event.data),
    }
    return Publication(
        exchange=settings.EVENTS_EXCHANGE,
        routing_key=event.type,
        body=orjson.dumps(body, option=orjson.OPT_UTC_Z),
        message_id=str(event.event_id),
        content_type=CONTENT_TYPE,
    )


# --- in ------------------------------------------------------------------------------------------------------------


def read(delivery: Delivery) -> Message:
    """The message in a delivery. Raises Invalid, which says what is wrong, if it cannot be read."""
    if len(delivery.body) > settings.MESSAGE_MAX_BYTES:
        raise Invalid(f"The body has {len(delivery.body)} bytes; {settings.MESSAGE_MAX_BYTES} are the most.")
    document = parse_object(delivery.body)
    is_cloud_event = str(delivery.content_type).startswith(CONTENT_TYPE) or "specversion" in document
    return _cloud_event(document, delivery) if is_cloud_event else _bare(document, delivery)


def _cloud_event(document: dict[str, Any], delivery: Delivery) -> Message:
    if document.get("specversion") != "1.0":
        raise Invalid("specversion must be 1.0.")
    data = document.get("data")
    if not isinstance(data, dict):
        raise Invalid("data must be an object.")
    return Message(
        source=_text("source", document.get("source"), MAX_SOURCE),
        id=_text("id", document.get("id"), MAX_ID),
        type=_text("type", document.get("type"), MAX_TYPE),
        data=data,
        extensions=_extensions(document.get("traceparent"), document.get("requestid")),
        tries=delivery.tries,
    )


def _bare(document: dict[str, Any], delivery: Delivery) -> Message:
    headers = delivery.headers
    return Message(
        source=_text("exchange", delivery.exchange or "amqp", MAX_SOURCE),
        id=_text("message id", delivery.message_id or _digest(delivery), MAX_ID),
        type=_text("routing key", delivery.routing_key, MAX_TYPE),
        data=document,
        extensions=_extensions(headers.get("traceparent"), headers.get("requestid", delivery.correlation_id)),
        tries=delivery.tries,
    )


def _text(name: str, value: object, most: int) -> str:
    try:
        return values.read_identifier(value if isinstance(value, str) else "", most=most)
    except values.WrongValue as wrong:
        wanted = UNWANTED.get(wrong.code, f"must be a text of 1 to {most} characters.")
        raise Invalid(f"{name} {wanted}") from None


def _extensions(traceparent: object, request_id: object) -> dict[str, str]:
    """The extension attributes from values of any type; malformed ones are dropped."""
    return tracing.of_headers(
        traceparent if isinstance(traceparent, str) else None, request_id if isinstance(request_id, str) else None
    )


def _digest(delivery: Delivery) -> str:
    """An id for a message without one. The same routing key and content give the same id."""
    return hashlib.sha256(b"\0".join((delivery.routing_key.encode(), delivery.body))).hexdigest()
