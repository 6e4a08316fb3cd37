"""What can be sold now, by product and warehouse: read from the counters, and from the database if they lack it.

A read from the database refills the counters, so that the next request finds them there.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection

from inventory_project.foundation import database
from inventory_project.foundation.errors import NotFound, unknown_ids
from stock.counters import copies
from stock.counters.copies import LevelCounter, ProductCounters, Reading
from stock.models import Product
from warehouses import network
from warehouses.allocation import decision
from warehouses.allocation.terms import Candidate, Line
from warehouses.models import Warehouse
from warehouses.network import View

logger = logging.getLogger(__name__)

State = Literal["in_stock", "low_stock", "reserved", "out_of_stock", "blocked"]
Source = Literal["counters", "database"]

VIEW_COLUMNS = (
    "pk", "low_stock_threshold", "is_blocked",
    "levels__warehouse_id", "levels__version", "levels__available", "levels__reserved", "levels__incoming",
    "levels__is_blocked", "levels__is_closed", "levels__replenished",
)  # fmt: skip


# Tuples, because dataclasses take four times as long to create and a bulk read creates thousands.
class WarehouseAvailability(NamedTuple):
    """Units of one product at one warehouse; `available` counts only what may be sold.

    `distance_km` is the distance to the delivery, None if it is not known.
    """

    warehouse_id: str
    available: int
    reserved: int
    incoming: int
    distance_km: float | None = None


class Serving(NamedTuple):
    """A warehouse that would send units to a postal code, and its distance; None if that is not known."""

    warehouse_id: str
    quantity: int
    distance_km: float | None


class ProductAvailability(NamedTuple):
    """Units of one product in all warehouses, as the `source` had them at `as_of` by its clock, or newer.

    `is_sufficient` is None unless a quantity was asked for. `served_by` is None unless a postal code was given: the
    warehouses that would send that quantity (or one unit) there now, empty if none could.
    """

    product_id: UUID
    available: int
    state: State
    incoming: int
    warehouses: list[WarehouseAvailability]
    is_sufficient: bool | None
    served_by: list[Serving] | None
    source: Source
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The arguments of `of_product`; with several ids, those of `of_products`."""

    product_ids: tuple[UUID, ...]
    warehouse_id: str | None = None
    quantity: int | None = None
    postal_code: str = ""


def from_counters(questions: Sequence[Question]) -> list[list[ProductAvailability] | None]:
    """Answer many questions with one look at the counters; None for those that they cannot answer."""
    reading = copies.read_at({id_ for question in questions for id_ in question.product_ids})
    return [None if reading is None else _answered_or_none(question, reading) for question in questions]


def _answered_or_none(question: Question, reading: Reading) -> list[ProductAvailability] | None:
    """None also if the question cannot be answered for another reason, so that it does not fail the others."""
    try:
        return _answered(question, reading)
    except Exception:
        logger.exception("the counters of %s could not be read", question.product_ids[:1])
        return None


def _answered(question: Question, reading: Reading) -> list[ProductAvailability] | None:
    views = [reading.products.get(product_id) for product_id in question.product_ids]
    place = question.warehouse_id
    if any(view is None or (place is not None and place not in view.levels) for view in views):
        return None
    destination = _destination(question.postal_code)
    return [
        _summed(
            view,
            warehouse_id=place,
            quantity=question.quantity,
            destination=destination,
            source="counters",
            at=reading.at,
        )
        for view in views
        if view is not None
    ]


def of_product(
    product_id: UUID, *, warehouse_id: str | None = None, quantity: int | None = None, postal_code: str = ""
) -> ProductAvailability:
    """One product, everywhere or at one warehouse, as an order to the postal code would find it.

    Raises NotFound for the product, Invalid for the warehouse.
    """
    reading = copies.read_at([product_id])
    question = Question(
        product_ids=(product_id,), warehouse_id=warehouse_id, quantity=quantity, postal_code=postal_code
    )
    if reading is not None and (found := _answered(question, reading)):
        return found[0]
    if warehouse_id is not None and not Warehouse.objects.filter(pk=warehouse_id).exists():
        raise unknown_ids(warehouse_ids=[warehouse_id])
    now = database.database_now()
    view = _from_database([product_id], is_warming=reading is not None).get(product_id)
    if view is None:
        raise NotFound(f"There is no product {product_id}.")
    return _summed(
        view,
        warehouse_id=warehouse_id,
        quantity=quantity,
        destination=_destination(postal_code),
        source="database",
        at=now,
    )


def of_products(product_ids: Sequence[UUID], *, postal_code: str = "") -> list[ProductAvailability]:
    """Many products, as orders to the postal code would find each: one answer for each id, in the order asked.

    Raises Invalid (`unknown_ids`) naming every one that does not exist.
    """
    destination = _destination(postal_code)
    asked = list(dict.fromkeys(product_ids))
    reading = copies.read_at(asked)
    found: dict[UUID, ProductAvailability] = {}
    if reading is not None:
        for product_id, view in reading.products.items():
            found[product_id] = _summed(view, destination=destination, source="counters", at=reading.at)
    lacking = [product_id for product_id in asked if product_id not in found]
    if lacking:
        now = database.database_now()
        for product_id, view in _from_database(lacking, is_warming=reading is not None).items():
            found[product_id] = _summed(view, destination=destination, source="database", at=now)
    if unknown := [str(product_id) for product_id in lacking if product_id not in found]:
        raise unknown_ids(product_ids=unknown)
    return [found[product_id] for product_id in product_ids]


def candidates(view: ProductCounters, destination: View) -> list[Candidate]:
    """The levels of a product as candidates for the allocation."""
    return [
        Candidate(
            destination[warehouse_id],
            level.available,
            view.is_blocked,
            not level.is_sellable,
            level.reserved,
            level.replenished,
        )
        for warehouse_id, level in view.levels.items()
    ]


def views_of(product_ids: Collection[UUID]) -> dict[UUID, ProductCounters]:
    """What the counters of these products must say, products without a level included; unknown ones are left out.

    One statement, so one snapshot: the block, the threshold and the levels belong together.
    """
    products = Product.objects.filter(pk__in=product_ids).order_by("pk", "levels__warehouse_id")
    views: dict[UUID, ProductCounters] = {}
    for product_id, threshold, is_blocked, warehouse_id, *numbers in products.values_list(*VIEW_COLUMNS):
        view = views.setdefault(product_id, ProductCounters(product_id, threshold, is_blocked, {}))
        if warehouse_id is not None:  # a product without any level has one row of NULLs
            version, available, reserved, incoming, is_level_blocked, is_level_closed, replenished = numbers
            is_sellable = not (is_level_blocked or is_level_closed)
            view.levels[warehouse_id] = LevelCounter(version, available, reserved, incoming, is_sellable, replenished)
    return views


def _from_database(product_ids: Collection[UUID], *, is_warming: bool) -> dict[UUID, ProductCounters]:
    """`views_of`, and copy the result to the counters. They keep only newer values, so a slow reader does no harm.

    Inside a transaction nothing is copied, because it may have changed rows and still be rolled back.
    """
    views = views_of(product_ids)
    if is_warming and not connection.in_atomic_block:
        copies.publish(views.values(), whole=True)
    return views


def _summed(
    view: ProductCounters,
    *,
    warehouse_id: str | None = None,
    quantity: int | None = None,
    destination: View | None,
    source: Source,
    at: datetime,
) -> ProductAvailability:
    places = []
    available = returning = incoming = 0
    for place in sorted(view.levels) if warehouse_id is None else view.levels.keys() & {warehouse_id}:
        level = view.levels[place]
        distance_km = destination[place].distance_km if destination is not None else None
        places.append(WarehouseAvailability(place, level.sellable, level.reserved, level.incoming, distance_km))
        available += level.sellable
        returning += level.reserved if level.is_sellable else 0
        incoming += level.incoming
    threshold = settings.LOW_STOCK_THRESHOLD if view.threshold is None else view.threshold
    return ProductAvailability(
        product_id=view.product_id,
        available=available,
        state=state_of(is_blocked=view.is_blocked, available=available, returning=returning, threshold=threshold),
        incoming=incoming,
        warehouses=places,
        is_sufficient=None if quantity is None else available >= quantity,
        served_by=_served_by(view, Line(view.product_id, quantity or 1, warehouse_id), destination),
        source=source,
        as_of=at,
    )


def _destination(postal_code: str) -> View | None:
    return network.recent().seen_from(postal_code) if postal_code else None


def _served_by(view: ProductCounters, line: Line, destination: View | None) -> list[Serving] | None:
    if destination is None:
        return None
    stock = {view.product_id: candidates(view, destination)}
    parts = decision.allocate([line], stock, delivery=destination.delivery).parts
    return [Serving(part.warehouse_id, part.quantity, destination[part.warehouse_id].distance_km) for part in parts]


def state_of(*, is_blocked: bool, available: int, returning: int, threshold: int) -> State:
    """One word for a product's totals. `returning` are units on hold that could be sold if they were released."""
    if is_blocked:
        return "blocked"
    if available == 0:
        return "reserved" if returning > 0 else "out_of_stock"
    return "low_stock" if available < threshold else "in_stock"
