"""Reads the items of an order, in the same way for HTTP requests and messages."""

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


class ItemIn(StrictSerializer):
    """Units of a product, from a named warehouse or from any."""

    product_id = StrictUUIDField()
    quantity = StrictIntegerField(min_value=1, max_value=settings.RESERVATION_MAX_QUANTITY)
    warehouse_id = WarehouseIdField(required=False)


def items_field(item: type[ItemIn] = ItemIn, **options: Any) -> BoundedListField:
    """A field with a list of items, at most as many as a reservation may have."""
    return BoundedListField(child=item(), max_length=settings.RESERVATION_MAX_LINES, **options)


def items_of(entries: Sequence[dict[str, Any]]) -> tuple[Item, ...]:
    """The domain's items from validated entries."""
    return tuple(Item(entry["product_id"], entry["quantity"], entry.get("warehouse_id")) for entry in entries)


def part_of(body: dict[str, Any]) -> tuple[Item, ...] | None:
    """The items that the body names; None if it names none, which means all."""
    return items_of(body["items"]) if "items" in body else None
