"""The door of messages: reads order and payment events and makes one domain call for each.

Unknown fields are ignored, because the sender publishes these events for other services as well.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.fields import empty

from inventory_project.foundation.errors import Invalid
from inventory_project.foundation.http import problems
from inventory_project.foundation.http.fields import StrictSerializer, StrictUUIDField
from inventory_project.foundation.messaging.consumer import Route
from inventory_project.foundation.messaging.envelope import Message
from inventory_project.foundation.messaging.inbox import Received
from reservations import orders
from reservations.bodies import ItemIn, PartItemIn, items_field, items_of, part_field, part_of
from reservations.requests import CallOff, CallOffReason, Pay, Reserve
from warehouses.fields import PostalCodeField

MAX_SHOWN = 5  # problems named in the reason of a dead letter
MAX_REFERENCE = 128  # characters, as the ledger stores them
UNREADABLE = "?"  # in place of a postal code that cannot be stored; nothing is known of it either


class MessageItemIn(ItemIn):
    ignores_unknown = True


class MessagePartItemIn(PartItemIn):
    ignores_unknown = True


class AnyPostalCodeField(PostalCodeField):
    """A postal code, or UNREADABLE in place of any other value, because no order is lost for its postal code."""

    def run_validation(self, data: Any = empty) -> Any:
        """The postal code; empty or None if there is none."""
        try:
            return super().run_validation(data)
        except ValidationError:
            return UNREADABLE


class OrderIn(StrictSerializer):
    ignores_unknown = True

    order_id = StrictUUIDField()


class OrderCreatedIn(OrderIn):
    items = items_field(MessageItemIn)
    delivery_postal_code = AnyPostalCodeField(required=False, allow_blank=True, allow_null=True)


class OrderCancelledIn(OrderIn):
    items = part_field(MessagePartItemIn)


def _read(serializer: type[StrictSerializer], data: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return serializer.read(data)
    except ValidationError as error:
        mistakes = [f"{each['field']}: {each['detail']}" for each in problems.flatten(error.detail)]
        raise Invalid(" ".join(mistakes[:MAX_SHOWN])) from error


def _actor(message: Message) -> str:
    return f"event:{message.type}"


def _reference(message: Message) -> str:
    """The reference for the goods of a message: its source and id, because other sources may use the same id."""
    name = f"{message.source} {message.id}"
    return name if len(name) <= MAX_REFERENCE else hashlib.sha256(name.encode()).hexdigest()


def _read_created(message: Message) -> Received[Reserve]:
    body = _read(OrderCreatedIn, message.data)
    request = Reserve(
        order_id=body["order_id"],
        items=items_of(body["items"]),
        delivery_postal_code=body.get("delivery_postal_code") or "",
        actor=_actor(message),
        extensions=message.extensions,
    )
    return Received(message=message, order_id=request.order_id, request=request)


def _read_paid(message: Message) -> Received[Pay]:
    order_id = _read(OrderIn, message.data)["order_id"]
    request = Pay(order_id=order_id, actor=_actor(message), extensions=message.extensions)
    return Received(message=message, order_id=order_id, request=request)


def _read_payment_failed(message: Message) -> Received[CallOff]:
    return _call_off(message, _read(OrderIn, message.data), reason="payment_failed")


def _read_cancelled(message: Message) -> Received[CallOff]:
    return _call_off(message, _read(OrderCancelledIn, message.data), reason="cancelled")


def _call_off(message: Message, body: dict[str, Any], *, reason: CallOffReason) -> Received[CallOff]:
    request = CallOff(
        order_id=body["order_id"],
        items=part_of(body),
        reason=reason,
        reference=_reference(message),
        actor=_actor(message),
        extensions=message.extensions,
    )
    return Received(message=message, order_id=request.order_id, request=request)


ORDER_CREATED = Route(_read_created, orders.created_many)
PAYMENT_CONFIRMED = Route(_read_paid, orders.paid_many)
PAYMENT_FAILED = Route(_read_payment_failed, orders.payment_failed_many)
ORDER_CANCELLED = Route(_read_cancelled, orders.cancelled_many)
