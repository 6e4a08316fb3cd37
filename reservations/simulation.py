"""Other policies tried on orders: those of the last days, or those of a file, replayed without touching any stock.

Everything is read in one snapshot that only reads, so no sale waits for it and nothing can be written; but as long as
it is open PostgreSQL keeps every version of a row that has been replaced since. The policies in force are always among
the contenders; of past orders also what really happened.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Sum

from inventory_project.foundation import database
from inventory_project.foundation.errors import Conflict, Invalid
from reservations import replay
from reservations.models import Reservation, ReservationItem
from reservations.order_files import OrderFile
from reservations.replay import Contender, Difference, Event, Level, Movement, Order, Stock
from stock.models import Product, StockLevel, StockMovement
from warehouses import network, postal_areas
from warehouses.allocation import record
from warehouses.allocation.policies import Policy
from warehouses.allocation.terms import Part
from warehouses.network import Network

Kind = StockMovement.Kind

AS_IT_WAS = "as it was"
IN_FORCE = "in force"
DAYS_MAX = 365
ORDERS_MAX = 1_000_000  # a day of a very large shop, and minutes of work
ROWS_AT_ONCE = 500  # the orders of one fetch are replayed before the next, the worst of them in 20 ms a contender
IDLE_SECONDS = 60  # that the session may stay without a fetch: a process that is frozen must not keep it for ever

# What lies at a level when the window begins cannot be undone where a receipt began anew since. So of these levels:
# what has happened between the last receipt before and the beginning, besides corrections; and the corrections.
SINCE_THE_LAST_RECEIPT = """
SELECT m.product_id, m.warehouse_id, MAX(CASE WHEN l.at IS NULL THEN 0 ELSE 1 END),
       SUM(CASE WHEN m.kind = 'ADJUSTMENT' OR m.created_at = l.at THEN 0
                ELSE m.available_delta + m.reserved_delta END),
       SUM(CASE WHEN m.kind = 'ADJUSTMENT' THEN m.available_delta ELSE 0 END)
FROM stock_movement m
JOIN (SELECT DISTINCT product_id, warehouse_id FROM stock_movement
      WHERE kind = 'RECEIPT' AND available_delta > 0 AND created_at >= %s) n
  ON n.product_id = m.product_id AND n.warehouse_id = m.warehouse_id
LEFT JOIN (SELECT product_id, warehouse_id, MAX(created_at) AS at FROM stock_movement
           WHERE kind = 'RECEIPT' AND available_delta > 0 AND created_at < %s
           GROUP BY product_id, warehouse_id) l
  ON l.product_id = m.product_id AND l.warehouse_id = m.warehouse_id
WHERE m.created_at < %s AND (l.at IS NULL OR m.created_at >= l.at)
GROUP BY m.product_id, m.warehouse_id
"""
Policies = Mapping[str, Policy]
Place = tuple[UUID, str]


class Told(NamedTuple):
    """What a simulation tells meanwhile: the number of orders at first, then each order and what came out otherwise."""

    on_total: Callable[[int], object] = replay.ignore
    on_order: Callable[[], object] = replay.ignore
    on_difference: Callable[[Difference], object] = replay.ignore


SILENT = Told()


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What each contender did with the orders. `in_force`, one of them, is what the others are compared with.

    `since` and `until` bound the past that was replayed; None where the orders were a file's. `notes` are sentences
    about policies that cannot have an effect.
    """

    orders: int
    contenders: list[Contender]
    in_force: Contender
    since: datetime | None = None
    until: datetime | None = None
    notes: list[str]


def of_days(days: int, tried: Mapping[str, Policies], *, told: Told = SILENT) -> Simulation | None:
    """The orders of the last `days` (1 to DAYS_MAX) times 24 hours by the database's clock; see `of_past`."""
    return of_past(database.database_now() - timedelta(days=days), tried, told=told)


def of_past(since: datetime, tried: Mapping[str, Policies], *, told: Told = SILENT) -> Simulation | None:
    """The orders granted from that moment on, over the stock of that time; also served by the policies to be tried.

    None where there was no order. Raises Invalid where there were more than ORDERS_MAX, Conflict without a warehouse.
    """
    with _snapshot():
        until = database.database_now()
        granted = Reservation.objects.filter(created_at__gte=since)
        orders = granted.filter(replaces=None).count()
        if not orders:
            return None
        if orders > ORDERS_MAX:
            raise Invalid(
                f"{orders:,} orders were reserved since then; at most {ORDERS_MAX:,} can be replayed. "
                "Choose fewer days."
            )
        simulation = _simulation(orders, _stock_at(since), tried, since=since, until=until)
        told.on_total(orders)
        replay.replay(
            map(itemgetter(2), heapq.merge(_orders(since), _movements(since), key=itemgetter(0, 1))),
            simulation.contenders,
            reference=simulation.in_force,
            revived_ids=set(granted.exclude(replaces=None).values_list("replaces_id", flat=True)),
            on_order=told.on_order,
            on_difference=told.on_difference,
        )
    return simulation


def of_file(file: OrderFile, tried: Mapping[str, Policies], *, told: Told = SILENT) -> Simulation:
    """The orders of the file, each taking its units from what is free today; also served by the policies to be tried.

    Raises Invalid for products and warehouses that do not exist, Conflict where there is no warehouse.
    """
    with _snapshot():
        stock = _stock_today(file)
        simulation = _simulation(len(file.orders), stock, tried)
        _check_warehouses(file, simulation.in_force.network)
    told.on_total(simulation.orders)
    orders = (Order(name, order.postal_code, order.lines) for name, order in file.orders.items())
    replay.replay(
        orders,
        simulation.contenders,
        reference=simulation.in_force,
        on_order=told.on_order,
        on_difference=told.on_difference,
    )
    return simulation


def _simulation(
    orders: int,
    stock: Stock,
    tried: Mapping[str, Policies],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Simulation:
    """Everything in its place before the first order."""
    now = network.current()()
    if not now.sites:
        raise Conflict("There are no warehouses: nothing to simulate.")
    in_force = Contender(IN_FORCE, now, stock.copy())
    others = [
        Contender(name, Network(now.version, now.sites, now.areas, dict(policies)), stock.copy())
        for name, policies in tried.items()
    ]
    as_it_was = [Contender(AS_IT_WAS, now, stock, is_as_it_was=True)] if since else []
    return Simulation(
        orders=orders,
        contenders=[*as_it_was, in_force, *others],
        in_force=in_force,
        since=since,
        until=until,
        notes=_notes(tried),
    )


def _notes(tried: Mapping[str, Policies]) -> list[str]:
    known = {"", *postal_areas.known_regions()}
    return [
        f"{name}: no postal area is in the region {region}, so its policy there serves no order."
        for name, policies in tried.items()
        for region in sorted(policies.keys() - known)
    ]


@contextmanager
def _snapshot() -> Iterator[None]:
    """One state of the database for everything that is read inside, and nothing can be written.

    SQLite does without: there even a transaction that only reads would keep writers out.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        yield


# --- stock ---------------------------------------------------------------------------------------------------------


def _ordered_product_ids(since: datetime) -> QuerySet[ReservationItem, Any]:
    return ReservationItem.objects.filter(reservation__created_at__gte=since).values("product_id")


def _stock_at(since: datetime) -> Stock:
    """What lay at the levels of the ordered products at that moment: today's numbers without what has moved since.

    No product counts as blocked: an order was granted, so it was not at its moment. Warehouses that are closed today
    count as closed.
    """
    product_ids = _ordered_product_ids(since)
    moved = {
        (product_id, warehouse_id): numbers
        for product_id, warehouse_id, *numbers in StockMovement.objects.filter(
            created_at__gte=since, product_id__in=product_ids
        )
        .values_list("product_id", "warehouse_id")
        .annotate(
            available=Sum("available_delta"),
            reserved=Sum("reserved_delta"),
            adjusted=Sum("available_delta", filter=Q(kind=Kind.ADJUSTMENT), default=0),
            receipts=Count("id", filter=Q(kind=Kind.RECEIPT, available_delta__gt=0)),
        )
        .iterator(chunk_size=ROWS_AT_ONCE)
    }
    earlier = _since_the_last_receipt(since)
    levels: dict[UUID, dict[str, Level]] = {}
    for product_id, warehouse_id, level in _levels(StockLevel.objects.filter(product_id__in=product_ids)):
        available, reserved, adjusted, receipts = moved.get((product_id, warehouse_id), (0, 0, 0, 0))
        level.available -= available
        level.reserved -= reserved
        if receipts:
            is_received, changed, corrected = earlier.get((product_id, warehouse_id), (False, 0, 0))
            # All that was on hand after the last receipt before: what has changed since is undone, corrections stay.
            level.replenished = level.available + level.reserved - changed if is_received else max(0, corrected)
        else:
            level.replenished = max(0, level.replenished - adjusted)
        levels.setdefault(product_id, {})[warehouse_id] = level
    return Stock(levels)


def _since_the_last_receipt(since: datetime) -> dict[Place, tuple[bool, int, int]]:
    """Of levels with a receipt since then: whether one came before, what moved after that one, what was corrected."""
    places = database.fields_of(StockMovement, ("product", "warehouse"))
    moment = connection.ops.adapt_datetimefield_value(since)
    rows = database.select(places, SINCE_THE_LAST_RECEIPT, [moment] * 3, list)()
    return {
        (product_id, warehouse_id): (bool(is_received), int(changed), int(corrected))
        for product_id, warehouse_id, is_received, changed, corrected in rows
    }


def _levels(levels: QuerySet[StockLevel]) -> Iterator[tuple[UUID, str, Level]]:
    rows = levels.values_list("product_id", "warehouse_id", "available", "reserved", "replenished", "is_closed")
    for row in rows.iterator(chunk_size=ROWS_AT_ONCE):
        yield row[0], row[1], Level(*row[2:])


def _stock_today(file: OrderFile) -> Stock:
    """What lies there of the file's products, blocked and closed as today. Raises Invalid for unknown products."""
    product_ids = sorted(file.product_lines)
    known: dict[UUID, bool] = {}
    levels: dict[UUID, dict[str, Level]] = {}
    for start in range(0, len(product_ids), ROWS_AT_ONCE):
        chunk = product_ids[start : start + ROWS_AT_ONCE]
        known.update(Product.objects.filter(pk__in=chunk).values_list("id", "is_blocked"))
        for product_id, warehouse_id, level in _levels(StockLevel.objects.filter(product_id__in=chunk)):
            levels.setdefault(product_id, {})[warehouse_id] = level
    problems: dict[int, list[str]] = {}
    for product_id in product_ids:
        if product_id not in known:
            for line in file.product_lines[product_id]:
                problems.setdefault(line, []).append(f"there is no product {product_id}.")
    if problems:
        raise file.refusal(problems)
    return Stock(levels, {product_id for product_id, is_blocked in known.items() if is_blocked})


def _check_warehouses(file: OrderFile, now: Network) -> None:
    problems: dict[int, list[str]] = {}
    for warehouse_id, lines in file.warehouse_lines.items():
        if warehouse_id not in now.sites:
            for line in lines:
                problems.setdefault(line, []).append(f"there is no warehouse {warehouse_id}.")
    if problems:
        raise file.refusal(problems)


# --- the past, in order of time ------------------------------------------------------------------------------------

Timed = tuple[datetime, int, Event]  # of what happened at the same moment, orders come first


def _orders(since: datetime) -> Iterator[Timed]:
    """The reservations from that moment on; of a batch in the order in which they were decided."""
    rows = (
        ReservationItem.objects.filter(reservation__created_at__gte=since)
        .order_by("reservation__created_at", "reservation_id")
        .values_list(
            "reservation__created_at",
            "reservation_id",
            "reservation__delivery_postal_code",
            "reservation__replaces_id",
            "reservation__allocation__version",
            "reservation__allocation__products",
            "reservation__allocation__lines",
            "reservation__allocation__allow_split",
            "product_id",
            "warehouse_id",
            "quantity",
        )
        .iterator(chunk_size=ROWS_AT_ONCE)
    )
    for (moment, reservation_id), held in groupby(rows, key=itemgetter(0, 1)):
        lines = list(held)
        _, _, postal_code, replaces_id, *kept = lines[0][:8]
        parts = tuple(sorted(Part(*line[8:]) for line in lines))
        asked, allow_split = record.asked(kept, parts)
        yield moment, 0, Order(reservation_id, postal_code, asked, allow_split, parts, replaces_id)


def _movements(since: datetime) -> Iterator[Timed]:
    """What moved at the ordered products besides the reservations, from that moment on."""
    reservation_id = ReservationItem.objects.filter(pk=OuterRef("line_id")).values("reservation_id")[:1]
    rows = (
        StockMovement.objects.filter(created_at__gte=since, product_id__in=_ordered_product_ids(since))
        .exclude(kind=Kind.RESERVE)
        .order_by("created_at", "id")
        .values_list(
            "created_at",
            "kind",
            "product_id",
            "warehouse_id",
            "available_delta",
            "reserved_delta",
            Subquery(reservation_id),
        )
        .iterator(chunk_size=ROWS_AT_ONCE)
    )
    for moment, *movement in rows:
        yield moment, 1, Movement(*movement)
