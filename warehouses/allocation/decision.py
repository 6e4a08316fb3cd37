"""Decides which warehouses serve an order, and records the reasons. Pure: it works only on its arguments.

Hard constraints come first: a level must be neither blocked nor closed, its warehouse must serve the delivery region,
and it must have enough stock. A line that names a warehouse is served from there or refused; the units that it takes
are not available to the other lines. For the other lines the search looks for plans (`plans`): sets of warehouses that
can serve all of them together. The warehouses of named lines may help, because they send a parcel anyway. The policy's
`split` says which plans are allowed, and its preferences choose one of them (`preferences`).

These are five steps: sort out the stock, obey the lines that name a warehouse, look for plans, choose one of them, and
share the lines out among its warehouses.

An order is served as a whole or not at all. The same input gives the same answer, in any order of candidates.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple
from uuid import UUID

from warehouses.allocation import record
from warehouses.allocation.plans import POOL, Search, Units, covers, less
from warehouses.allocation.policies import Policy
from warehouses.allocation.preferences import Choice, Option, Plan, choose, ranked
from warehouses.allocation.terms import (
    GIVEN_UP,
    NOT_SERVED,
    NOWHERE,
    Allocation,
    Candidate,
    Decision,
    Delivery,
    Lack,
    Line,
    Part,
    Shortage,
    Stocks,
    Supply,
)

_ShortLine = tuple[Line, int]  # a line, and how many units of it could be served


class _Free(NamedTuple):
    """The lines that name no warehouse, each of another product, and the warehouses that could serve them.

    `wanted` has the quantities of the lines. `used` are the options that serve named lines and may contribute to the
    free lines; it is empty if one warehouse has to serve all free lines.
    """

    lines: list[Line]
    wanted: Units
    options: list[Option]
    used: list[Option]
    policy: Policy


def allocate(
    lines: Sequence[Line],
    stock: Mapping[UUID, Sequence[Candidate]],
    *,
    delivery: Delivery = NOWHERE,
    allow_split: bool = True,
) -> Allocation:
    """Decide which warehouses serve `lines` from `stock`: all of the lines, or none.

    Lines are unique by (product_id, warehouse_id); the candidates of a product are unique by warehouse, with distances
    to the delivery. `allow_split` False forbids a split even if the policy allows it. A blocked product causes no
    shortage. The `available` of a shortage is what could be sold for that line: at the warehouse it names; in all
    warehouses together; or, with a limit on parcels, in the warehouses that come nearest to serving all free lines.
    """
    policy = delivery.policy
    supply = _sort_out(lines, stock)
    lines = [line for line in lines if line.product_id not in supply.blocked_product_ids]
    named = [(line, line.warehouse_id) for line in lines if line.warehouse_id is not None]
    unnamed = [line for line in lines if line.warehouse_id is None]

    # What the named lines take is not available to the others.
    left = {product_id: dict(units) for product_id, units in supply.sellable.items()} if named else supply.sellable
    decisions, short = _obey(named, left)

    used_ids = {warehouse_id for _, warehouse_id in named}
    parcels_left = max(0, policy.most_parcels - len(used_ids)) if policy.most_parcels is not None else None
    may_split = allow_split and policy.split != "never"
    search = Search(
        is_by_line=policy.split == "by_line",
        most=parcels_left if may_split else 1,
        is_fewest_first=policy.preferences[:1] == ("fewest_parcels",),
    )
    if unnamed:
        options = _options(unnamed, left, supply, used_ids)
        used = [option for option in options if option.is_used]
        if not may_split:  # one warehouse has to serve them: any, or a used one where no further parcel is allowed
            options, used = used if parcels_left == 0 else options, []
        free = _Free(unnamed, tuple([line.quantity for line in unnamed]), options, used, policy)
        decision = _serve(free, search)
        if decision:
            decisions.append(decision)
        else:
            short += _short(free, search)

    if short or supply.blocked_product_ids:
        return _refused(lines, short, supply, stock, is_given_up=search.is_given_up)
    kept = record.create(supply, lines, decisions, delivery, search, allow_split=allow_split)
    return Allocation(_merged(decisions), (), (), None, (), search.is_given_up, kept)


def _refused(
    lines: Sequence[Line],
    short: Sequence[_ShortLine],
    supply: Supply,
    stock: Mapping[UUID, Sequence[Candidate]],
    *,
    is_given_up: bool,
) -> Allocation:
    """The answer for an order that cannot be served: which lines are short, and why."""
    shortages = tuple(
        [Shortage(line.product_id, line.warehouse_id, line.quantity, available) for line, available in short]
    )
    return Allocation(
        parts=(),
        shortages=shortages,
        blocked_product_ids=supply.blocked_product_ids,
        lacking=_lacking(lines, shortages, stock) if shortages else None,
        not_serving=_not_serving(shortages, stock),
        is_given_up=is_given_up,
        record={},
    )


def _lacking(lines: Sequence[Line], shortages: Sequence[Shortage], stock: Mapping[UUID, Sequence[Candidate]]) -> Lack:
    """The smallest change that would have made the order possible: more parcels, more served regions, or more stock."""
    named = {(line.product_id, line.warehouse_id): line.quantity for line in lines if line.warehouse_id is not None}

    def units(shortage: Shortage, *, with_not_serving: bool) -> int:
        return sum(
            candidate.available - named.get((shortage.product_id, candidate.place.warehouse_id), 0)
            if shortage.warehouse_id is None
            else candidate.available
            for candidate in stock.get(shortage.product_id, ())
            if not candidate.is_closed
            and (with_not_serving or candidate.place.is_serving)
            and shortage.warehouse_id in (None, candidate.place.warehouse_id)
        )

    if all(units(shortage, with_not_serving=False) >= shortage.requested for shortage in shortages):
        return "parcels"
    if all(units(shortage, with_not_serving=True) >= shortage.requested for shortage in shortages):
        return "region"
    return "stock"


def _not_serving(shortages: Sequence[Shortage], stock: Mapping[UUID, Sequence[Candidate]]) -> tuple[str, ...]:
    found = {
        candidate.place.warehouse_id
        for shortage in shortages
        for candidate in stock.get(shortage.product_id, ())
        if candidate.available and not candidate.place.is_serving and not candidate.is_closed
    }
    return tuple(sorted(found))


def _sort_out(lines: Sequence[Line], stock: Mapping[UUID, Sequence[Candidate]]) -> Supply:
    supply = Supply()
    blocked = []
    for product_id in dict.fromkeys([line.product_id for line in lines]):
        units = supply.sellable[product_id] = {}
        whole = supply.whole[product_id] = {}
        is_product_blocked = False
        for place, available, is_blocked, is_closed, reserved, replenished in stock.get(product_id, ()):
            warehouse_id = place.warehouse_id
            if is_blocked:
                is_product_blocked = True
                supply.ruled_out.append((warehouse_id, product_id, "blocked"))
            elif is_closed:
                supply.ruled_out.append((warehouse_id, product_id, "closed"))
            elif not place.is_serving:
                supply.ruled_out.append((warehouse_id, product_id, NOT_SERVED))
            else:
                units[warehouse_id] = available
                on_hand = available + reserved
                whole[warehouse_id] = on_hand if on_hand > replenished else replenished
                supply.places[warehouse_id] = place
        if is_product_blocked:  # a block is for the whole product, so one blocked level is enough
            blocked.append(product_id)
    supply.blocked_product_ids = tuple(blocked)
    return supply


def _obey(named: Sequence[tuple[Line, str]], left: Stocks) -> tuple[list[Decision], list[_ShortLine]]:
    """Serve each line from the warehouse it names, and take that from `left`."""
    decisions = []
    short = []
    for line, warehouse_id in named:
        units = left[line.product_id]
        available = units.get(warehouse_id, 0)
        if available < line.quantity:
            short.append((line, available))
        else:
            units[warehouse_id] = available - line.quantity
            decisions.append(Decision("named", [Part(line.product_id, warehouse_id, line.quantity)]))
    return decisions, short


def _options(free: Sequence[Line], left: Stocks, supply: Supply, used: set[str]) -> list[Option]:
    """The warehouses with any stock of the free lines' products, in the order of their ids."""
    if len(free) == 1:  # as most orders have, so without the detour over columns
        [line] = free
        stock, whole = left[line.product_id], supply.whole[line.product_id]
        return [
            Option(supply.places[key], key in used, (units,), 1 - units / whole[key])
            for key in sorted(stock)
            if (units := stock[key])
        ]
    ids = sorted(supply.places)
    columns = [[stock.get(key, 0) for key in ids] for stock in [left[line.product_id] for line in free]]
    wholes = [[whole.get(key, 0) for key in ids] for whole in [supply.whole[line.product_id] for line in free]]
    return [
        Option(supply.places[key], key in used, units, 1 - available / whole)
        for key, units, whole in zip(ids, zip(*columns, strict=True), map(sum, zip(*wholes, strict=True)), strict=True)
        if (available := sum(units))
    ]


def _serve(free: _Free, search: Search) -> Decision | None:
    """Look for plans, choose one, and divide the lines among its warehouses; None if the lines cannot be served."""
    plans = search.plans(free.wanted, free.options, free.used)
    if not plans:
        return _serve_unsearched(free, search) if search.is_given_up else None
    choice = choose(plans, free.policy) if plans[0] else Choice((), "fewest_parcels")  # the used ones are enough
    return _shared_out(free, choice)


def _serve_unsearched(free: _Free, search: Search) -> Decision | None:
    """Serve the lines without looking ahead, after a search that was given up before it had found a plan."""
    if search.most is None:
        return _line_by_line(free)
    plan, missing = _nearest_plan(free, search.most)
    return None if any(missing) else _shared_out(free, Choice(plan, GIVEN_UP))


def _shared_out(free: _Free, choice: Choice) -> Decision:
    """Divide the lines among warehouses: all to one if possible, else each line to one, else to as few as possible."""
    members = (*free.used, *choice.plan)
    if len(members) == 1:
        return Decision("one_warehouse", _from_one(free.lines, members[0]), choice)
    in_order = ranked(members, free.policy)
    for option in in_order:
        if covers(option.units, free.wanted):
            return Decision("one_warehouse", _from_one(free.lines, option), choice)
    parts = [part for i, line in enumerate(free.lines) for part in _line_parts(line, i, in_order)]
    return Decision("split_by_line" if len(parts) == len(free.lines) else "split_line", parts, choice)


def _from_one(free: Sequence[Line], option: Option) -> list[Part]:
    return [Part(line.product_id, option.place.warehouse_id, line.quantity) for line in free]


def _line_parts(line: Line, i: int, in_order: Sequence[Option]) -> list[Part]:
    """Serve the i-th line from the first option with enough stock, else from as few options as possible."""
    for option in in_order:
        if option.units[i] >= line.quantity:
            return _from_one([line], option)
    parts = []
    missing = line.quantity
    for option in _fewest(in_order, i, line.quantity):
        taken = min(option.units[i], missing)
        missing -= taken
        parts.append(Part(line.product_id, option.place.warehouse_id, taken))
    return parts


def _fewest(in_order: Sequence[Option], i: int, quantity: int) -> list[Option]:
    """The fewest options that have `quantity` of the i-th line together; among equally few, the most preferred.

    In the order of preference, an option is chosen if the largest of the later ones can still fill the rest.
    """
    sizes = sorted([option.units[i] for option in in_order], reverse=True)
    count = next(n for n, total in enumerate(accumulate(sizes), start=1) if total >= quantity)
    chosen: list[Option] = []
    missing = quantity
    for position, option in enumerate(in_order):
        later = sorted([other.units[i] for other in in_order[position + 1 :]], reverse=True)
        if option.units[i] + sum(later[: count - len(chosen) - 1]) >= missing:
            chosen.append(option)
            missing -= option.units[i]
            if missing <= 0:
                break
    return chosen


def _line_by_line(free: _Free) -> Decision:
    """Serve one line after the other without looking ahead; a chosen warehouse counts as used for the next lines."""
    at_hand = list(free.options)
    parts: list[Part] = []
    for i, line in enumerate(free.lines):
        found = _line_parts(line, i, _enough(at_hand, i, line.quantity, free.policy))
        parts += found
        taken = {part.warehouse_id for part in found}
        at_hand = [
            option._replace(is_used=True) if option.place.warehouse_id in taken else option for option in at_hand
        ]
    strategy = "split_by_line" if len(parts) == len(free.lines) else "split_line"
    return Decision(strategy, parts, Choice((), GIVEN_UP))


def _enough(options: Sequence[Option], i: int, quantity: int, policy: Policy) -> list[Option]:
    """The preferred option with enough for the i-th line; else the largest ones needed and POOL more, ranked."""
    whole: list[Plan] = [(option,) for option in options if option.units[i] >= quantity]
    if whole:
        return list(choose(whole, policy).plan)
    largest = sorted(options, key=lambda option: option.units[i], reverse=True)
    totals = accumulate([option.units[i] for option in largest])
    count = next(n for n, total in enumerate(totals, start=1) if total >= quantity)
    return ranked(largest[: count + POOL], policy)


def _nearest_plan(free: _Free, most: int) -> tuple[Plan, Units]:
    """At most `most` warehouses that, with the used ones, come nearest to serving the lines; and what is still missing.

    They are picked one by one: the one that leaves the fewest lines short, then the fewest units missing; among equals
    the policy decides.
    """
    missing = free.wanted
    for option in free.used:
        missing = less(missing, option.units)
    left = [option for option in free.options if option not in free.used]
    picked: list[Option] = []
    while any(missing) and left and len(picked) < most:
        rests = [less(missing, option.units) for option in left]
        keys = [(sum(map(bool, rest)), sum(rest)) for rest in rests]
        best = min(keys)
        [first] = choose([(option,) for option, key in zip(left, keys, strict=True) if key == best], free.policy).plan
        picked.append(first)
        left.remove(first)
        missing = less(missing, first.units)
    return tuple(picked), missing


def _short(free: _Free, search: Search) -> list[_ShortLine]:
    """The lines that are short, compared with all stock or, with a limit on warehouses, with what those can supply."""
    if search.most is None:
        columns = [[option.units[i] for option in free.options] for i in range(len(free.lines))]
        available = [max(units, default=0) if search.is_by_line else sum(units) for units in columns]
    else:
        _, missing = _nearest_plan(free, search.most)
        available = [want - lacking for want, lacking in zip(free.wanted, missing, strict=True)]
    return [(line, units) for line, units in zip(free.lines, available, strict=True) if units < line.quantity]


def _merged(decisions: Sequence[Decision]) -> tuple[Part, ...]:
    """All parts in key order, with one part where a named and a free line use the same warehouse."""
    parts = [part for decision in decisions for part in decision.parts]
    if len(parts) < 2:
        return tuple(parts)
    units: defaultdict[tuple[UUID, str], int] = defaultdict(int)
    for part in parts:
        units[part.product_id, part.warehouse_id] += part.quantity
    return tuple(Part(*key, quantity) for key, quantity in sorted(units.items()))
