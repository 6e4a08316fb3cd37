"""Runs a simulation: replays the orders of the last days or of a file with other policies, without changing any stock.

The policies in force are always one of the contenders. For past orders, what really happened is another one.
"""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import NamedTuple

from inventory_project.foundation import database
from inventory_project.foundation.errors import Conflict, Invalid
from reservations.analysis.simulation import history, replay
from reservations.analysis.simulation.events import Order
from reservations.analysis.simulation.figures import Difference
from reservations.analysis.simulation.order_file import OrderFile
from reservations.analysis.simulation.replay import Contender, Stock
from reservations.models import Reservation
from warehouses import network, postal_areas
from warehouses.allocation.policies import Policy
from warehouses.network import Network

AS_IT_WAS = "as it was"
IN_FORCE = "in force"
MAX_DAYS = 365
MAX_ORDERS = 1_000_000  # a day of a very large shop, and minutes of work

Policies = Mapping[str, Policy]


class Progress(NamedTuple):
    """Callbacks of a simulation: once with the number of orders, after each order, and for each difference."""

    on_total: Callable[[int], object] = replay.no_progress
    on_order: Callable[[], object] = replay.no_progress
    on_difference: Callable[[Difference], object] = replay.no_progress


NO_PROGRESS = Progress()


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


def of_days(days: int, tried: Mapping[str, Policies], *, progress: Progress = NO_PROGRESS) -> Simulation | None:
    """Replay the orders of the last `days` (1 to MAX_DAYS) times 24 hours by the database's clock; see `of_past`."""
    return of_past(database.database_now() - timedelta(days=days), tried, progress=progress)


def of_past(since: datetime, tried: Mapping[str, Policies], *, progress: Progress = NO_PROGRESS) -> Simulation | None:
    """Replay the orders granted from that moment on over the stock of that time, with each of the policies.

    None if there was no order. Raises Invalid for more than MAX_ORDERS orders, and Conflict without a warehouse.
    """
    with history.snapshot():
        until = database.database_now()
        granted = Reservation.objects.filter(created_at__gte=since)
        orders = granted.filter(replaces=None).count()
        if not orders:
            return None
        if orders > MAX_ORDERS:
            raise Invalid(
                f"{orders:,} orders were reserved since then; at most {MAX_ORDERS:,} can be replayed. "
                "Choose fewer days."
            )
        simulation = _simulation(orders, history.stock_at(since), tried, since=since, until=until)
        progress.on_total(orders)
        replay.replay(
            map(itemgetter(2), heapq.merge(history.orders(since), history.movements(since), key=itemgetter(0, 1))),
            simulation.contenders,
            reference=simulation.in_force,
            revived_ids=set(granted.exclude(replaces=None).values_list("replaces_id", flat=True)),
            on_order=progress.on_order,
            on_difference=progress.on_difference,
        )
    return simulation


def of_file(file: OrderFile, tried: Mapping[str, Policies], *, progress: Progress = NO_PROGRESS) -> Simulation:
    """Serve the orders of the file from today's stock, with each of the policies.

    Raises Invalid for products and warehouses that do not exist, and Conflict if there is no warehouse at all.
    """
    with history.snapshot():
        stock = history.stock_today(file)
        simulation = _simulation(len(file.orders), stock, tried)
        _check_warehouses(file, simulation.in_force.network)
    progress.on_total(simulation.orders)
    orders = (Order(name, order.postal_code, order.lines) for name, order in file.orders.items())
    replay.replay(
        orders,
        simulation.contenders,
        reference=simulation.in_force,
        on_order=progress.on_order,
        on_difference=progress.on_difference,
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
    """Set up the contenders, before the first order."""
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


def _check_warehouses(file: OrderFile, now: Network) -> None:
    problems: dict[int, list[str]] = {}
    for warehouse_id, lines in file.warehouse_lines.items():
        if warehouse_id not in now.sites:
            for line in lines:
                problems.setdefault(line, []).append(f"there is no warehouse {warehouse_id}.")
    if problems:
        raise file.refusal(problems)
