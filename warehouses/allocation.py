"""Which warehouses serve an order: a pure decision over numbers it is handed, and its reasons.

Hard constraints come first: a level must be neither blocked nor closed, and hold enough. A line that names a warehouse
is obeyed or refused, never moved elsewhere, and what it takes is gone for the other lines of the order. The free lines
then take the first of these steps that works:

1. `one_warehouse`  one warehouse serves all of them;
2. `split_by_line`  each line whole, the lines from different warehouses;
3. `split_line`     a line from several warehouses, as few as can be.

Steps 2 and 3 need `allow_split`. Within a step PREFERENCES choose, in their order. An order is served as a whole or
not at all. The same input gives the same answer, in whatever order the candidates come.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from heapq import nlargest
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

EXPLANATION_VERSION = 1
MOST_NUMBERS = 300  # stocks shown in an explanation, and rejections: it is written while the levels are locked


@dataclass(frozen=True, slots=True)
class Place:
    """A warehouse, as far as a choice between warehouses needs to know it."""

    warehouse_id: str
    region: str
    priority: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """One stock level of one product."""

    place: Place
    available: int
    is_blocked: bool
    is_closed: bool


@dataclass(frozen=True, slots=True)
class Line:
    """`quantity` units, at least one, of a product; from `warehouse_id`, or from anywhere when that is None."""

    product_id: UUID
    quantity: int
    warehouse_id: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """What one warehouse gives of one product."""

    product_id: UUID
    warehouse_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """A line that cannot be served, and how many units of it could be."""

    product_id: UUID
    warehouse_id: str | None
    requested: int
    available: int


@dataclass(frozen=True, slots=True)
class Allocation:
    """The answer: either `parts` cover every line exactly, or there are none and the other two say why.

    `parts` has each product and warehouse once, in the order in which rows are locked; `shortages` has every short
    line, named ones first. `explanation` is JSON-ready, and is kept with the reservation.
    """

    parts: tuple[Part, ...]
    shortages: tuple[Shortage, ...]
    blocked_product_ids: tuple[UUID, ...]
    explanation: dict[str, Any]


# --- preferences ---------------------------------------------------------------------------------------------------


class Option(NamedTuple):
    """A warehouse that meets the hard constraints of a step."""

    place: Place
    stock: int  # units of the step's products that can be sold there
    is_used: bool  # a line of the order names it, so a parcel leaves from there anyway


def by_fewest_warehouses(option: Option) -> bool:
    """Where a parcel leaves from anyway first: one warehouse for the whole order, if one can."""
    return not option.is_used


def by_priority(option: Option) -> int:
    """The lower region priority first, compared across regions."""
    return option.place.priority


def by_stock(option: Option) -> int:
    """The fuller warehouse first, so that none runs dry while another is full."""
    return -option.stock


def by_id(option: Option) -> str:
    """The id, so that there is always an answer and always the same one."""
    return option.place.warehouse_id


PREFERENCES: tuple[tuple[str, Callable[[Option], Any]], ...] = (
    ("fewest_warehouses", by_fewest_warehouses),
    ("priority", by_priority),
    ("stock", by_stock),
    ("id", by_id),
)
ONLY_CANDIDATE = "only_candidate"

Ranked = list[tuple[list[Any], Option]]  # an option behind its key, the most preferred first


def _ranked(options: Iterable[Option]) -> Ranked:
    return sorted([([key(option) for _, key in PREFERENCES], option) for option in options])


def _tie_break(ranked: Ranked, taken: int = 1) -> str:
    """The preference that put the last of the `taken` first options before the next one."""
    if len(ranked) <= taken:
        return ONLY_CANDIDATE
    pairs = zip(ranked[taken - 1][0], ranked[taken][0], strict=True)
    return next(name for (name, _), (ours, theirs) in zip(PREFERENCES, pairs, strict=True) if ours != theirs)


# --- the decision --------------------------------------------------------------------------------------------------

Units = dict[UUID, dict[str, int]]  # product, warehouse, units

STRATEGIES = ("named", "one_warehouse", "split_by_line", "split_line")  # from the plainest to the last resort
REFUSED = "refused"


class _Decision(NamedTuple):
    strategy: str
    parts: list[Part]
    tie_break: str | None  # None: a named warehouse leaves nothing to prefer


class _Supply(NamedTuple):
    """The stock of one order's products, sorted out once."""

    places: dict[str, Place]  # every warehouse that may sell one of the products
    sellable: Units
    blocked_product_ids: tuple[UUID, ...]
    ruled_out: list[tuple[str, UUID, str]]  # warehouse, product, why


def allocate(lines: Sequence[Line], stock: Mapping[UUID, Sequence[Candidate]], *, allow_split: bool) -> Allocation:
    """Decide which warehouses serve `lines` from `stock`: all of the lines, or none.

    Lines are unique by (product_id, warehouse_id); the candidates of a product are unique by warehouse. A blocked
    product makes no shortage. The `available` of a shortage is what could be sold for that line: at the warehouse it
    names; otherwise in all warehouses together; without `allow_split`, in the one that comes nearest to serving all
    free lines.
    """
    supply = _sort_out(lines, stock)
    lines = [line for line in lines if line.product_id not in supply.blocked_product_ids]
    named = [(line, line.warehouse_id) for line in lines if line.warehouse_id is not None]
    free = [line for line in lines if line.warehouse_id is None]

    # What the named lines take is gone for the free ones.
    left = {product_id: dict(units) for product_id, units in supply.sellable.items()} if named else supply.sellable
    decisions, shortages = _obey(named, left)
    if free:
        used = {warehouse_id for _, warehouse_id in named}
        chosen, short = _choose(free, left, supply.places, used, allow_split=allow_split)
        decisions += chosen
        shortages += short

    if shortages or supply.blocked_product_ids:
        decisions = []
    return Allocation(
        parts=_merged(decisions),
        shortages=tuple(shortages),
        blocked_product_ids=supply.blocked_product_ids,
        explanation=_explained(supply, lines, left, decisions),
    )


def _sort_out(lines: Sequence[Line], stock: Mapping[UUID, Sequence[Candidate]]) -> _Supply:
    supply = _Supply(places={}, sellable={}, blocked_product_ids=(), ruled_out=[])
    blocked = []
    for product_id in dict.fromkeys([line.product_id for line in lines]):
        units = supply.sellable[product_id] = {}
        is_blocked = False
        for candidate in sorted(stock.get(product_id, ()), key=attrgetter("place.warehouse_id")):
            place = candidate.place
            if candidate.is_blocked:
                is_blocked = True
                supply.ruled_out.append((place.warehouse_id, product_id, "blocked"))
            elif candidate.is_closed:
                supply.ruled_out.append((place.warehouse_id, product_id, "closed"))
            else:
                units[place.warehouse_id] = candidate.available
                supply.places[place.warehouse_id] = place
        if is_blocked:  # a block is the product's: one level that says so speaks for all
            blocked.append(product_id)
    return supply._replace(blocked_product_ids=tuple(blocked))


def _obey(named: Sequence[tuple[Line, str]], left: Units) -> tuple[list[_Decision], list[Shortage]]:
    """Serve each line from the warehouse it names, and take that from `left`."""
    decisions = []
    shortages = []
    for line, warehouse_id in named:
        units = left[line.product_id]
        available = units.get(warehouse_id, 0)
        if available < line.quantity:
            shortages.append(_shortage(line, available))
        else:
            units[warehouse_id] = available - line.quantity
            decisions.append(_Decision("named", [Part(line.product_id, warehouse_id, line.quantity)], None))
    return decisions, shortages


def _choose(
    free: Sequence[Line], left: Units, places: Mapping[str, Place], used: Set[str], *, allow_split: bool
) -> tuple[list[_Decision], list[Shortage]]:
    """Serve lines that name no warehouse, each of another product, by the first step that works."""
    able = _stock_where_all_fit(free, left)
    if able:
        ranked = _ranked([Option(places[key], stock, key in used) for key, stock in able.items()])
        warehouse_id = ranked[0][1].place.warehouse_id
        parts = [Part(line.product_id, warehouse_id, line.quantity) for line in free]
        return [_Decision("one_warehouse", parts, _tie_break(ranked))], []
    if not allow_split:
        return [], _shortages_at_the_nearest(free, left, places, used)
    decisions = []
    shortages = []
    for line in free:
        options = [Option(places[key], stock, key in used) for key, stock in left[line.product_id].items() if stock > 0]
        available = sum(option.stock for option in options)
        if available < line.quantity:
            shortages.append(_shortage(line, available))
        else:
            decisions.append(_serve_line(line, options))
    return decisions, shortages


def _stock_where_all_fit(free: Sequence[Line], left: Units) -> dict[str, int]:
    """The warehouses that could serve every line whole, with their stock of all the lines' products."""
    first, *others = free
    able = {key: stock for key, stock in left[first.product_id].items() if stock >= first.quantity}
    for line in others:
        units = left[line.product_id]
        able = {key: stock + units[key] for key, stock in able.items() if units.get(key, 0) >= line.quantity}
    return able


def _serve_line(line: Line, options: Sequence[Option]) -> _Decision:
    """One line from one warehouse, or from several; `options` have enough together."""
    ranked = _ranked([option for option in options if option.stock >= line.quantity])
    if ranked:
        part = Part(line.product_id, ranked[0][1].place.warehouse_id, line.quantity)
        return _Decision("split_by_line", [part], _tie_break(ranked))

    ranked = _ranked(options)
    chosen = _fewest([option for _, option in ranked], line.quantity)
    parts = []
    missing = line.quantity
    for option in chosen:
        taken = min(option.stock, missing)
        missing -= taken
        parts.append(Part(line.product_id, option.place.warehouse_id, taken))
    is_by_preference = chosen == [option for _, option in ranked[: len(chosen)]]
    return _Decision("split_line", parts, _tie_break(ranked, len(chosen)) if is_by_preference else "fewest_warehouses")


def _fewest(options: Sequence[Option], quantity: int) -> list[Option]:
    """As few of `options` as hold `quantity` together; among equally few, the most preferred.

    Each warehouse more is a parcel more, which costs more than a worse place does: so the number comes first. An option
    is taken, in the order of preference, whenever the largest of the later ones can fill the rest of that number.
    """
    sizes = sorted([option.stock for option in options], reverse=True)
    count = next(n for n, total in enumerate(accumulate(sizes), start=1) if total >= quantity)
    chosen: list[Option] = []
    missing = quantity
    for i, option in enumerate(options):
        later = nlargest(count - len(chosen) - 1, [other.stock for other in options[i + 1 :]])
        if option.stock + sum(later) >= missing:
            chosen.append(option)
            missing -= option.stock
            if missing <= 0:
                break
    return chosen


def _shortages_at_the_nearest(
    free: Sequence[Line], left: Units, places: Mapping[str, Place], used: Set[str]
) -> list[Shortage]:
    """What one warehouse lacks: the one with the fewest short lines, then the fewest missing units."""
    nearest: tuple[int, int, list[Any], list[Shortage]] | None = None
    for key, place in places.items():
        have = [(line, left[line.product_id].get(key, 0)) for line in free]
        shortages = [_shortage(line, units) for line, units in have if units < line.quantity]
        missing = sum(shortage.requested - shortage.available for shortage in shortages)
        stock = sum(units for _, units in have)
        [(preference, _)] = _ranked([Option(place, stock, key in used)])
        candidate = (len(shortages), missing, preference, shortages)
        if nearest is None or candidate < nearest:
            nearest = candidate
    return nearest[3] if nearest else [_shortage(line, 0) for line in free]


def _shortage(line: Line, available: int) -> Shortage:
    return Shortage(line.product_id, line.warehouse_id, line.quantity, available)


def _merged(decisions: Sequence[_Decision]) -> tuple[Part, ...]:
    """All parts in key order; a named and a free line may have met at one warehouse."""
    parts = [part for decision in decisions for part in decision.parts]
    if len(parts) < 2:
        return tuple(parts)
    units: defaultdict[tuple[UUID, str], int] = defaultdict(int)
    for part in parts:
        units[part.product_id, part.warehouse_id] += part.quantity
    return tuple(Part(*key, quantity) for key, quantity in sorted(units.items()))


# --- the explanation -----------------------------------------------------------------------------------------------


def _explained(supply: _Supply, lines: Sequence[Line], left: Units, decisions: Sequence[_Decision]) -> dict[str, Any]:
    """Why these warehouses.

    `strategy` and `tie_break` are those of the decision that had to go furthest; `chosen` has every decision.
    `candidates` are the warehouses that may sell, with what they had. `rejected` says what kept a warehouse from
    serving a line whole: the product is blocked, the warehouse is closed, or its stock is insufficient. MOST_NUMBERS
    bounds both; the preferred warehouses come first, and those that serve are always shown.
    """
    places = sorted(supply.places.values(), key=attrgetter("priority", "warehouse_id"))
    most = max(1, MOST_NUMBERS // len(supply.sellable))
    taken = {part.warehouse_id for decision in decisions for part in decision.parts}
    shown = [place for i, place in enumerate(places) if i < most or place.warehouse_id in taken]
    text = {product_id: str(product_id) for product_id in supply.sellable}
    candidates = [
        {
            "warehouse_id": place.warehouse_id,
            "region": place.region,
            "priority": place.priority,
            "available": {
                text[product_id]: units[place.warehouse_id]
                for product_id, units in supply.sellable.items()
                if place.warehouse_id in units
            },
        }
        for place in shown
    ]
    rejected = [_rejection(*reason) for reason in supply.ruled_out[:MOST_NUMBERS]]
    rejected += chain.from_iterable(_insufficient(line, supply, left, shown) for line in lines)
    furthest = max(decisions, key=lambda decision: STRATEGIES.index(decision.strategy), default=None)
    return {
        "version": EXPLANATION_VERSION,
        "strategy": furthest.strategy if furthest else REFUSED,
        "tie_break": furthest.tie_break if furthest else None,
        "candidates": candidates,
        "candidates_left_out": len(places) - len(shown),
        "rejected": rejected[:MOST_NUMBERS],
        "chosen": [
            {
                "strategy": decision.strategy,
                "tie_break": decision.tie_break,
                "parts": [
                    {"product_id": text[part.product_id], "warehouse_id": part.warehouse_id, "quantity": part.quantity}
                    for part in decision.parts
                ],
            }
            for decision in decisions
        ],
    }


def _insufficient(line: Line, supply: _Supply, left: Units, places: Sequence[Place]) -> list[dict[str, Any]]:
    """The warehouses, of those the line could come from, that cannot serve it whole."""
    if line.warehouse_id is None:
        units, keys = left[line.product_id], [place.warehouse_id for place in places]
    else:
        units, keys = supply.sellable[line.product_id], [key for key in supply.places if key == line.warehouse_id]
    return [
        {
            **_rejection(key, line.product_id, "insufficient"),
            "requested": line.quantity,
            "available": units.get(key, 0),
        }
        for key in keys
        if units.get(key, 0) < line.quantity
    ]


def _rejection(warehouse_id: str, product_id: UUID, reason: str) -> dict[str, Any]:
    return {"warehouse_id": warehouse_id, "product_id": str(product_id), "reason": reason}
