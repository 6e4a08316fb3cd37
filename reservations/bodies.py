"""Reads the items of an order or of a part of it, in the same way for HTTP requests and messages."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings

from inventory_project.foundation.http.fields import (
    BoundedListField,
    StrictIntegerField,
    StrictSerializer,
    StrictUUIDField,
)
from reservations.requests import Item
from warehouses.fields import WarehouseIdField

# What is asked of a reservation has the limits of a reservation, not those of an order: each line of an order can
# become several items, and one item can have units of several lines.
MAX_PART_ITEMS = 4_000  # a body cannot hold more
MAX_PART_QUANTITY = settings.RESERVATION_MAX_LINES * settings.RESERVATION_MAX_QUANTITY


class ItemIn(StrictSerializer):
    """Units of a product, from a named warehouse or from any."""

    product_id = StrictUUIDField()
    quantity = StrictIntegerField(min_value=1, max_value=settings.RESERVATION_MAX_QUANTITY)
    warehouse_id = WarehouseIdField(required=False, allow_blank=True, allow_null=True)


class PartItemIn(ItemIn):
    """Units of a product that a reservation has."""

    quantity = StrictIntegerField(min_value=1, max_value=MAX_PART_QUANTITY)


def items_field(item: type[ItemIn] = ItemIn, **options: Any) -> BoundedListField:
    """A field with the lines of an order."""
    return BoundedListField(child=item(), max_length=settings.RESERVATION_MAX_LINES, **options)


def part_field(item: type[PartItemIn] = PartItemIn, **options: Any) -> BoundedListField:
    """An optional field with a part of what a reservation has."""
    return BoundedListField(child=item(), max_length=MAX_PART_ITEMS, required=False, **options)


def items_of(entries: Sequence[dict[str, Any]]) -> tuple[Item, ...]:
    """The domain's items from validated entries. A warehouse that is null or empty is none."""
    return tuple(Item(entry["product_id"], entry["quantity"], entry.get("warehouse_id") or None) for entry in entries)


def part_of(body: dict[str, Any]) -> tuple[Item, ...] | None:
    """The items that the body names; None if it names none, which means all."""
    return items_of(body["items"]) if "items" in body else None
