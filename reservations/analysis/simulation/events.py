"""What a replay is fed with: orders, and what has moved between them. Pure."""

from typing import Literal, NamedTuple
from uuid import UUID

from warehouses.allocation.terms import Line, Part

Parts = tuple[Part, ...]
Reason = Literal["stock", "parcels", "region", "blocked"]
Outcome = Parts | Reason  # of an order: what serves it, or why nothing does
REASONS: tuple[Reason, ...] = ("stock", "parcels", "region", "blocked")


class Order(NamedTuple):
    """An order to serve: what it asked for, `lines` unique by product and warehouse.

    `parts`, in key order, is what was held for it; empty for one that is not in the books, to which nothing happens
    later. `replaces_id`: a late payment brought that reservation back as this one; it is no new order.
    """

    id: UUID | str
    postal_code: str
    lines: tuple[Line, ...]
    allow_split: bool = True
    parts: Parts = ()
    replaces_id: UUID | None = None


class Movement(NamedTuple):
    """What happened between orders: a line of the ledger that reserves nothing, in units, signed."""

    kind: str
    product_id: UUID
    warehouse_id: str
    available: int
    reserved: int
    reservation_id: UUID | None = None


Event = Order | Movement
