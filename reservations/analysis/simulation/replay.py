"""Replays orders with other policies over stock in memory, to see what each contender would have done. Pure.

Every contender has its own stock and gets the same events in the same order. It takes and returns units at the
warehouses that it chose itself. Receipts and corrections are the same for all contenders.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from uuid import UUID

from reservations import reviving
from reservations.analysis.simulation.events import Event, Movement, Order, Outcome, Parts
from reservations.analysis.simulation.figures import Difference, Differences, Figures
from stock import replenishment
from stock.models import StockMovement
from warehouses.allocation import decision
from warehouses.allocation.terms import Allocation, Candidate, Line, Part
from warehouses.network import Network, View

Kind = StockMovement.Kind

# --- stock ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Level:
    """The numbers of a stock level that the allocation needs, in units."""

    available: int
    reserved: int = 0
    replenished: int = 0
    is_closed: bool = False


@dataclass(slots=True)
class Stock:
    """The levels by product and warehouse. `missing`: units that a correction removed after they were sold."""

    levels: dict[UUID, dict[str, Level]]
    blocked_ids: Set[UUID] = frozenset()
    missing: int = 0

    def copy(self) -> "Stock":
        """An independent copy."""
        levels = {
            product_id: {
                warehouse_id: Level(level.available, level.reserved, level.replenished, level.is_closed)
                for warehouse_id, level in by_warehouse.items()
            }
            for product_id, by_warehouse in self.levels.items()
        }
        return Stock(levels, self.blocked_ids)

    def candidates(self, product_id: UUID, view: View) -> list[Candidate]:
        """The product's levels as candidates, seen from a delivery."""
        is_blocked = product_id in self.blocked_ids
        return [
            Candidate(
                view[warehouse_id], level.available, is_blocked, level.is_closed, level.reserved, level.replenished
            )
            for warehouse_id, level in self.levels.get(product_id, {}).items()
        ]

    def candidates_of(self, lines: Iterable[Line], view: View) -> dict[UUID, list[Candidate]]:
        """The candidates for each product of these lines."""
        return {line.product_id: self.candidates(line.product_id, view) for line in lines}

    def post(
        self, product_id: UUID, warehouse_id: str, *, kind: str | None = None, available: int = 0, reserved: int = 0
    ) -> None:
        """Change a level. A number stays at zero if it would fall below; available units below zero are `missing`."""
        level = self.levels.setdefault(product_id, {}).setdefault(warehouse_id, Level(0))
        level.available += available
        level.reserved += reserved
        if level.available < 0:
            self.missing -= level.available
            level.available = 0
        level.reserved = max(0, level.reserved)
        level.replenished = replenishment.replenished_after(level, kind=kind, available=available)

    def take(self, parts: Parts) -> None:
        """Hold the units of these parts."""
        for part in parts:
            self.post(part.product_id, part.warehouse_id, available=-part.quantity, reserved=part.quantity)

    def shares_taken(self) -> dict[str, float]:
        """By warehouse the share, 0 to 1, of what it had after the last replenishments that is sold or held.

        Without closed levels, and without warehouses that had nothing.
        """
        whole: Counter[str] = Counter()
        left: Counter[str] = Counter()
        for by_warehouse in self.levels.values():
            for warehouse_id, level in by_warehouse.items():
                if not level.is_closed:
                    whole[warehouse_id] += max(level.replenished, level.available + level.reserved)
                    left[warehouse_id] += level.available
        return {key: 1 - left[key] / units for key, units in sorted(whole.items()) if units}


def no_progress(*_: object) -> None:
    """A callback that does nothing."""


# --- the replay ----------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Contender:
    """One way to serve the orders: by the policies of its network, or, with `is_as_it_was`, as it really happened.

    `late_refused` counts late payments whose goods were sold out; their orders still count as served.
    """

    name: str
    network: Network
    stock: Stock
    is_as_it_was: bool = False
    by_region: dict[str, Figures] = field(default_factory=dict)
    differences: Differences = field(default_factory=Differences)
    late_refused: int = 0
    held: dict[UUID | str, Parts] = field(default_factory=dict)
    ended: dict[UUID | str, Parts] = field(default_factory=dict)
    unserved: set[UUID | str] = field(default_factory=set)

    @property
    def total(self) -> Figures:
        """The figures of all regions together."""
        figures = Figures()
        for part in self.by_region.values():
            figures.merge(part)
        return figures


def replay(
    events: Iterable[Event],
    contenders: Sequence[Contender],
    *,
    reference: Contender,
    revived_ids: Set[UUID] = frozenset(),
    on_order: Callable[[], object] = no_progress,
    on_difference: Callable[[Difference], object] = no_progress,
) -> None:
    """Give each event to each contender, in order; their figures are complete afterwards.

    The others are compared with `reference`, which is one of them. `revived_ids` are the reservations that a later
    Order replaces. `on_difference` is called for each order that another contender served differently, `on_order` after
    each order.
    """
    position = contenders.index(reference)
    for event in events:
        if isinstance(event, Movement):
            for contender in contenders:
                _follow(contender, event, revived_ids)
        elif event.replaces_id is not None:
            for contender in contenders:
                _revive(contender, event, event.replaces_id)
        else:
            outcomes = [_serve(contender, event) for contender in contenders]
            for contender, outcome in zip(contenders, outcomes, strict=True):
                if contender.differences.add(outcome, outcomes[position]):
                    on_difference(Difference(contender.name, event, outcome, outcomes[position]))
            on_order()


def _serve(contender: Contender, order: Order) -> Outcome:
    view = contender.network.seen_from(order.postal_code)
    outcome = order.parts if contender.is_as_it_was else _decide(contender.stock, order, view)
    contender.by_region.setdefault(view.delivery.region, Figures()).add(outcome, view)
    _take(contender, order, outcome)
    return outcome


def _take(contender: Contender, order: Order, outcome: Outcome) -> None:
    if isinstance(outcome, str):
        if order.parts:
            contender.unserved.add(order.id)
        return
    contender.stock.take(outcome)
    if order.parts:
        contender.held[order.id] = outcome


def _decide(stock: Stock, order: Order, view: View) -> Outcome:
    answer = decision.allocate(
        order.lines, stock.candidates_of(order.lines, view), delivery=view.delivery, allow_split=order.allow_split
    )
    return _outcome(stock, order.lines, answer)


def _outcome(stock: Stock, lines: Sequence[Line], answer: Allocation) -> Outcome:
    if answer.parts:
        return answer.parts
    if answer.blocked_product_ids or any(line.product_id in stock.blocked_ids for line in lines):
        return "blocked"
    return answer.lacking or "stock"


def _follow(contender: Contender, movement: Movement, revived_ids: Set[UUID]) -> None:
    """Apply a movement to the contender's stock: at the warehouses of its own parts, else where it happened."""
    kind, product_id, warehouse_id, available, reserved, reservation_id = movement
    if reservation_id in contender.unserved:
        return  # it holds nothing of that order
    held = contender.held.get(reservation_id) if reservation_id else None
    if held is None or reservation_id is None or kind == Kind.RETURN:
        contender.stock.post(product_id, warehouse_id, kind=kind, available=available, reserved=reserved)
        return
    given, left = _split(held, product_id, warehouse_id, units=-reserved)
    for part in given:
        contender.stock.post(
            product_id, part.warehouse_id, available=part.quantity if available else 0, reserved=-part.quantity
        )
    if available and reservation_id in revived_ids:
        contender.ended[reservation_id] = (*contender.ended.get(reservation_id, ()), *given)
    if left:
        contender.held[reservation_id] = left
    else:
        del contender.held[reservation_id]


def _split(held: Parts, product_id: UUID, warehouse_id: str, *, units: int) -> tuple[list[Part], Parts]:
    """Take units of the product out of the parts, from that warehouse first. Returns them and the remaining parts."""
    given = []
    left = []
    for part in sorted(held, key=lambda part: part.warehouse_id != warehouse_id):
        taken = min(units, part.quantity) if part.product_id == product_id else 0
        units -= taken
        if taken:
            given.append(part._replace(quantity=taken))
        if taken < part.quantity:
            left.append(part._replace(quantity=part.quantity - taken))
    return given, tuple(sorted(left))


def _revive(contender: Contender, order: Order, replaced_id: UUID) -> None:
    """Serve an order again after a late payment, at the same warehouses or at others, as the service does."""
    if replaced_id in contender.unserved:
        contender.unserved.add(order.id)
        return
    given = contender.ended.pop(replaced_id, ())
    outcome = order.parts if contender.is_as_it_was else _decide_again(contender, order, _at_the_end(given, order))
    contender.late_refused += isinstance(outcome, str)
    _take(contender, order, outcome)


def _decide_again(contender: Contender, order: Order, same: Parts) -> Outcome:
    view = contender.network.seen_from(order.postal_code)
    lines = [Line(part.product_id, part.quantity, part.warehouse_id) for part in same]
    decision, _ = reviving.allocate_again(lines, contender.stock.candidates_of(lines, view), view.delivery)
    return _outcome(contender.stock, lines, decision)


def _at_the_end(given: Parts, order: Order) -> Parts:
    """The parts to take again, out of what the contender released of the replaced order; the last released first.

    Units that were released before the hold's end came first and are not taken again. If the contender did not hold
    enough, these are the parts that the service took.
    """
    wanted: Counter[UUID] = Counter()
    for part in order.parts:
        wanted[part.product_id] += part.quantity
    again: Counter[tuple[UUID, str]] = Counter()
    for part in reversed(given):
        units = min(wanted[part.product_id], part.quantity)
        wanted[part.product_id] -= units
        again[part.product_id, part.warehouse_id] += units
    if wanted.total():
        return order.parts
    return tuple(Part(*key, units) for key, units in sorted(again.items()) if units)
