"""Writes CloudEvents 1.0 in structured JSON mode, and reads them in structured or binary mode, or bare JSON.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
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
ATTRIBUTE_PREFIXES = ("cloudEvents:", "cloudEvents_")  # of headers in binary mode; AMQP clients use either
MAX_ATTRIBUTE = 20  # characters of its name that a sentence quotes; CloudEvents advises no more
UNWANTED = {
    "control": "must not have control characters.",
    "invisible": "must not have characters that cannot be seen.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that came in one of the forms. Source and id identify it; `tries` is how often it was delayed."""

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
    if delivery.problem:
        raise Invalid(delivery.problem)
    if len(delivery.body) > settings.MESSAGE_MAX_BYTES:
        raise Invalid(f"The body has {len(delivery.body)} bytes; {settings.MESSAGE_MAX_BYTES} are the most.")
    document = parse_object(delivery.body)
    attributes = _attributes(delivery.headers)
    if str(delivery.content_type).startswith(CONTENT_TYPE) or "specversion" in document:
        _require_agreement(document, attributes)
        return _cloud_event(document, document.get("data"), delivery)
    return _cloud_event(attributes, document, delivery) if attributes else _bare(document, delivery)


def _attributes(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that a CloudEvent in binary mode has as headers. Raises Invalid if they contradict each other."""
    found: dict[str, Any] = {}
    for name, value in headers.items():
        if str(name).startswith(ATTRIBUTE_PREFIXES):
            attribute = str(name)[len(ATTRIBUTE_PREFIXES[0]) :]
            if not _is_same(found.setdefault(attribute, value), value):
                raise Invalid(f"Two headers contradict each other: {' and '.join(_headers_of(attribute))}.")
    return found


def _require_agreement(document: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """Raise Invalid if a header gives an attribute of the event another value than its body."""
    for attribute, value in attributes.items():
        if attribute in document and not _is_same(document[attribute], value):
            raise Invalid(f"The header {_headers_of(attribute)[0]} contradicts the body.")


def _headers_of(attribute: str) -> list[str]:
    """The two possible headers of an attribute, as a sentence quotes them. The sender chose the name."""
    return [repr(f"{prefix}{attribute[:MAX_ATTRIBUTE]}") for prefix in ATTRIBUTE_PREFIXES]


def _is_same(one: object, other: object) -> bool:
    """Whether two values of an attribute are equal. A time may be a text, and in a header also a timestamp."""
    return one == other or (_moment(one) is not None and _moment(one) == _moment(other))


def _moment(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) and value.tzinfo is not None else None


def _cloud_event(attributes: Mapping[str, Any], data: object, delivery: Delivery) -> Message:
    if attributes.get("specversion") != "1.0":
        raise Invalid("specversion must be 1.0.")
    if not isinstance(data, dict):
        raise Invalid("data must be an object.")
    return Message(
        source=_text("source", attributes.get("source"), MAX_SOURCE),
        id=_text("id", attributes.get("id"), MAX_ID),
        type=_text("type", attributes.get("type"), MAX_TYPE),
        data=data,
        extensions=_extensions(attributes.get("traceparent"), attributes.get("requestid")),
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
