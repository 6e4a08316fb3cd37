"""Warehouses, products with stock, and requests, for tests; made through the domain, as staff and shops make them."""

from collections.abc import Mapping
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from inventory_project.foundation.database import database_now
from reservations import lifecycle
from reservations.analysis import audit
from reservations.holds import Hold
from reservations.models import Reservation
from reservations.requests import Item, Reserve
from stock import catalogue, documents
from stock.models import Product, StockLevel
from warehouses import network
from warehouses.models import Warehouse

SP, RJ, PR = "wh-sp-001", "wh-rj-001", "wh-pr-001"
ACTOR = "test"
_numbers = count(1)


def warehouse(warehouse_id: str = SP, *, region: str = "southeast", priority: int = 1) -> Warehouse:
    """The warehouse, made if it is not there, and known to this process, as after a first batch."""
    made, is_new = Warehouse.objects.get_or_create(
        pk=warehouse_id, defaults={"name": warehouse_id, "region": region, "priority": priority}
    )
    if is_new:
        network.current()()
    return made


def product(stock: Mapping[str, int] | None = None, *, low_stock_threshold: int | None = None) -> Product:
    """A new product, with these units received at these warehouses (made if need be, each with priority 1)."""
    made, _ = catalogue.put(
        catalogue.ProductRequest(
            product_id=uuid4(),
            sku=f"SKU-{next(_numbers)}-{uuid4().hex[:8]}",
            name="A product",
            low_stock_threshold=low_stock_threshold,
        )
    )
    for warehouse_id, units in (stock or {}).items():
        receive(made.pk, warehouse_id, units)
    return made


def receive(product_id: UUID, warehouse_id: str, units: int) -> None:
    """Book a receipt of the units."""
    warehouse(warehouse_id)
    _book(documents.Kind.RECEIPT, product_id, warehouse_id, units)


def adjust(product_id: UUID, warehouse_id: str, delta: int) -> None:
    """Book a correction by so many units, signed."""
    _book(documents.Kind.ADJUSTMENT, product_id, warehouse_id, delta, reason="counted")


def _book(kind: documents.Kind, product_id: UUID, warehouse_id: str, units: int, *, reason: str = "") -> None:
    documents.book(
        documents.DocumentRequest(
            kind=kind,
            reference=f"{kind.lower()}-{uuid4()}",
            warehouse_id=warehouse_id,
            items=((product_id, units),),
            reason=reason,
            actor=ACTOR,
        )
    )


def reserve_request(product_id: UUID, quantity: int = 1, warehouse_id: str | None = None, **options: Any) -> Reserve:
    """A reservation of one line for a new order."""
    return Reserve(
        **{"order_id": uuid4(), "items": (Item(product_id, quantity, warehouse_id),), "actor": ACTOR, **options}
    )


def hold(product_id: UUID, quantity: int = 1, warehouse_id: str | None = None, **options: Any) -> Hold:
    """A hold that was granted."""
    return lifecycle.one(lifecycle.reserve_many, reserve_request(product_id, quantity, warehouse_id, **options)).hold


def numbers(product_id: UUID, warehouse_id: str = SP) -> tuple[int, int, int]:
    """Available, reserved and incoming of a level, as the database has them."""
    level = StockLevel.objects.get(product_id=product_id, warehouse_id=warehouse_id)
    return level.available, level.reserved, level.incoming


def make_overdue(held: Hold) -> None:
    """Move the end of a hold into the past, past the domain: waiting for it would take a minute at least."""
    Reservation.objects.filter(pk=held.id).update(expires_at=database_now() - timedelta(seconds=1))


def broken_invariants() -> list[str]:
    """The names of the invariants that do not hold; empty when the books are right."""
    return [f"{finding.invariant.name}: {finding.rows}" for finding in audit.run() if finding.count]
