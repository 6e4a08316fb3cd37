"""Two warehouses, two products, orders and movements made by hand, for what the simulation is to do with them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from reservations.analysis.simulation import replay
from reservations.analysis.simulation.events import Event, Movement, Order
from reservations.analysis.simulation.replay import Contender, Level, Stock
from reservations.analysis.simulation.run import Simulation
from warehouses.allocation.geography import Area, Point, PostalAreas
from warehouses.allocation.policies import Policy
from warehouses.allocation.terms import Line, Part
from warehouses.network import UNVERSIONED, Network, Site

A, B = UUID(int=1), UUID(int=2)
FIRST, SECOND, THIRD = UUID(int=11), UUID(int=12), UUID(int=13)
SP, RJ = "wh-sp", "wh-rj"
SAO_PAULO, RIO = Point(-23.55, -46.63), Point(-22.90, -43.18)  # 359.9 km apart
TO_SP, TO_RJ = "01310-100", "20040-020"
SITES = {SP: Site(SP, "southeast", 1, SAO_PAULO, frozenset()), RJ: Site(RJ, "southeast", 2, RIO, frozenset())}
AREAS = [Area("BR", "0", SAO_PAULO, "São Paulo", "south", False), Area("BR", "2", RIO, "Rio", "north", False)]
NEAREST = Policy(preferences=("nearest",), split="by_line")
PRIORITY = Policy(preferences=("priority",), split="by_line")
KM = 359.9


def contender(
    stock: Mapping[str, int],
    policy: Policy = NEAREST,
    *,
    others: Mapping[UUID, Mapping[str, int]] | None = None,
    name: str = "tried",
    sites: Mapping[str, Site] = SITES,
    is_as_it_was: bool = False,
) -> Contender:
    """Stock of product A by warehouse, and of other products."""
    levels = {
        product_id: {key: Level(units, 0, units) for key, units in by_warehouse.items()}
        for product_id, by_warehouse in {A: stock, **(others or {})}.items()
    }
    network = Network(UNVERSIONED, dict(sites), PostalAreas(AREAS, home="BR"), {"": policy})
    return Contender(name, network, Stock(levels), is_as_it_was=is_as_it_was)


def order(units: int = 1, *, to: str = TO_SP, at: str = SP, id_: UUID = FIRST, product_id: UUID = A) -> Order:
    """An order for free units that the books held at one warehouse."""
    return Order(id_, to, (Line(product_id, units, None),), True, (Part(product_id, at, units),))


def moved(
    kind: str, units: int, *, at: str = SP, of: UUID | None = FIRST, product_id: UUID = A, held: int = 0
) -> Movement:
    return Movement(kind, product_id, at, units, held, of)


def run(events: Sequence[Event], *contenders: Contender, revived_ids: frozenset[UUID] = frozenset()) -> None:
    replay.replay(events, contenders, reference=contenders[0], revived_ids=revived_ids)


def simulated(names: Sequence[str] = ("nearest",), *, orders: Sequence[Event] = (), since: bool = True) -> Simulation:
    stock = {SP: 5, RJ: 5}
    was = [contender(stock, name="as it was", is_as_it_was=True)] if since else []
    in_force = contender(stock, PRIORITY, name="in force")
    contenders = [*was, in_force, *[contender(stock, name=name) for name in names]]
    replay.replay(orders or [order(2, to=TO_RJ, at=RJ), order(4)], contenders, reference=in_force)
    moment = datetime(2026, 5, 2, 8, 30, 15, 999, tzinfo=UTC) if since else None
    return Simulation(orders=2, contenders=contenders, in_force=in_force, since=moment, until=moment, notes=["A note."])
