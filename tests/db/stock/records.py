"""What tests look at: every row of the books, the ledger, and the events recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.apps import apps

from inventory_project.foundation.messaging.models import OutboxEvent
from stock.models import StockMovement

APPS = ("warehouses", "stock", "reservations", "messaging")


def rows() -> dict[str, list[dict[str, Any]]]:
    """Every row of every table that the domain writes."""
    return {
        model._meta.db_table: list(model._default_manager.order_by("pk").values())
        for label in APPS
        for model in apps.get_app_config(label).get_models()
    }


@contextmanager
def no_trace() -> Iterator[None]:
    """Nothing that is done inside may leave, change or remove a row anywhere."""
    before = rows()
    yield
    assert rows() == before


def events(*, after: int = 0) -> list[tuple[str, str, str | None, dict[str, Any]]]:
    """Type, subject, occasion and data of the events recorded since the one numbered `after`, in their order."""
    return list(
        OutboxEvent.objects.filter(pk__gt=after).order_by("id").values_list("type", "subject", "occasion", "data")
    )


def event_types(*, after: int = 0) -> list[str]:
    """The types alone."""
    return [event[0] for event in events(after=after)]


def last_event() -> int:
    """The number of the newest event, to hand to `events`."""
    return OutboxEvent.objects.order_by("id").values_list("id", flat=True).last() or 0


def movements(product_id: UUID) -> list[tuple[str, str, int, int, str]]:
    """The product's ledger, oldest first: kind, warehouse, what it did to available and to reserved, reference."""
    return list(
        StockMovement.objects.filter(product_id=product_id)
        .order_by("id")
        .values_list("kind", "warehouse_id", "available_delta", "reserved_delta", "reference")
    )
