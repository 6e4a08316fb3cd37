"""The input of a replay: orders, and the movements between them. Pure."""

from typing import Literal, NamedTuple
from uuid import UUID

from warehouses.allocation.terms import Line, Part

Parts = tuple[Part, ...]
Reason = Literal["stock", "parcels", "region", "blocked"]
Outcome = Parts | Reason  # of an order: the parts that serve it, or why it is not served
REASONS: tuple[Reason, ...] = ("stock", "parcels", "region", "blocked")


class Order(NamedTuple):
    """An order to serve: what it asked for, `lines` unique by product and warehouse.

    `parts`, in key order, is what was held for it; empty for an order of a file, which has no later movements.
    `replaces_id`: a late payment revived that reservation as this one, so it is not a new order.
    """

    id: UUID | str
    postal_code: str
    lines: tuple[Line, ...]
    allow_split: bool = True
    parts: Parts = ()
    replaces_id: UUID | None = None


class Movement(NamedTuple):
    """A movement of the ledger between orders, in signed units; never one that reserves."""

    kind: str
    product_id: UUID
    warehouse_id: str
    available: int
    reserved: int
    reservation_id: UUID | None = None


Event = Order | Movement
