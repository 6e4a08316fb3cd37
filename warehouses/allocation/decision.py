"""Which warehouses serve an order: a pure decision over numbers it is handed, and a record of what it went by.

Hard constraints come first: a level must be neither blocked nor closed, its warehouse must serve the region that the
goods go to, and it must hold enough. A line that names a warehouse is obeyed or refused, never moved elsewhere, and
what it takes is gone for the other lines. For these a plan is looked for (`plans`): a set of warehouses that
can serve all of them together, with those that named lines come from, since a parcel leaves from there anyway. The
policy's `split` says which plans are allowed, and its preferences choose among them (`preferences`).

An order is served as a whole or not at all. The same input gives the same answer, in whatever order candidates come.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from uuid import UUID

from warehouses.allocation import record
from warehouses.allocation.plans import POOL, Search, Units, covers, holders, less
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


def allocate(
    lines: Sequence[Line],
    stock: Mapping[UUID, Sequence[Candidate]],
    *,
    delivery: Delivery = NOWHERE,
    allow_split: bool = True,
) -> Allocation:
    """Decide which warehouses serve `lines` from `stock`: all of the lines, or none.

    Lines are unique by (product_id, warehouse_id); the candidates of a product are unique by warehouse, and their
    places are seen from the delivery. `allow_split` False forbids what the policy may allow. A blocked product makes
    no shortage. The `available` of a shortage is what could be sold for that line: at the warehouse it names; in all
    warehouses together; or in as many as may serve the order, those that come nearest to serving all free lines.
    """
    supply = _sort_out(lines, stock)
    lines = [line for line in lines if line.product_id not in supply.blocked_product_ids]
    named = [(line, line.warehouse_id) for line in lines if line.warehouse_id is not None]
    free = [line for line in lines if line.warehouse_id is None]

    # What the named lines take is gone for the free ones.
    left = {product_id: dict(units) for product_id, units in supply.sellable.items()} if named else supply.sellable
    decisions, shortages = _obey(named, left)
    search = _search(delivery.policy, used=len({warehouse_id for _, warehouse_id in named}))
    if free:
        options = _options(free, left, supply, {warehouse_id for _, warehouse_id in named})
        decision, short = _serve(free, options, delivery.policy, search, allow_split=allow_split)
        decisions += decision
        shortages += short

    if shortages or supply.blocked_product_ids:
        return Allocation(
            parts=(),
            shortages=tuple(shortages),
            blocked_product_ids=supply.blocked_product_ids,
            lacking=_lacking(lines, shortages, stock) if shortages else None,
            not_serving=_not_serving(shortages, stock),
            is_given_up=search.is_given_up,
            record={},
        )
    kept = record.create(supply, lines, decisions, delivery, search, allow_split=allow_split)
    return Allocation(_merged(decisions), (), (), None, (), search.is_given_up, kept)


def _lacking(lines: Sequence[Line], shortages: Sequence[Shortage], stock: Mapping[UUID, Sequence[Candidate]]) -> Lack:
    """What would have had to be otherwise, the least first: more parcels, other served regions, more stock."""
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
        if is_product_blocked:  # a block is the product's: one level that says so speaks for all
            blocked.append(product_id)
    supply.blocked_product_ids = tuple(blocked)
    return supply


def _obey(named: Sequence[tuple[Line, str]], left: Stocks) -> tuple[list[Decision], list[Shortage]]:
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
            decisions.append(Decision("named", [Part(line.product_id, warehouse_id, line.quantity)]))
    return decisions, shortages


def _search(policy: Policy, *, used: int) -> Search:
    """The search that the policy allows, where parcels leave from so many warehouses anyway."""
    return Search(
        is_by_line=policy.split == "by_line",
        most=max(0, policy.most_parcels - used) if policy.most_parcels is not None else None,
        is_fewest_first=policy.preferences[:1] == ("fewest_parcels",),
    )


def _options(free: Sequence[Line], left: Stocks, supply: Supply, used: set[str]) -> list[Option]:
    """The warehouses that have anything of the free lines' products, in the order of their ids."""
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


def _serve(
    free: Sequence[Line], options: Sequence[Option], policy: Policy, search: Search, *, allow_split: bool
) -> tuple[list[Decision], list[Shortage]]:
    """Serve lines that name no warehouse, each of another product: one decision, or shortages."""
    wanted = tuple([line.quantity for line in free])
    used = [option for option in options if option.is_used]
    if not allow_split or policy.split == "never":
        allowed = used if search.most == 0 else options  # to forbid a split must not allow one more parcel
        able = holders(allowed, wanted)
        if not able:
            return [], _nearly_served(free, wanted, allowed, policy, most=1)[1]
        choice = choose(able, policy)
        return [_shared_out(free, wanted, choice.plan, choice, policy)], []
    plans = search.plans(wanted, options, used)
    if plans == [()]:
        return [_shared_out(free, wanted, used, Choice((), "fewest_parcels"), policy)], []
    if plans:
        choice = choose(plans, policy)
        return [_shared_out(free, wanted, (*used, *choice.plan), choice, policy)], []
    if search.most is None:
        at_best = [_at_best(i, options, is_by_line=search.is_by_line) for i in range(len(free))]
        if not covers(at_best, wanted):
            return [], _shortages(free, at_best)
        return [_line_by_line(free, options, policy)], []  # only the search for the best way was given up
    plan, short = _nearly_served(free, wanted, options, policy, most=search.most, used=used)
    if short:
        return [], short
    return [_shared_out(free, wanted, (*used, *plan), Choice(tuple(plan), GIVEN_UP), policy)], []


def _at_best(i: int, options: Sequence[Option], *, is_by_line: bool) -> int:
    """What the i-th line could be given."""
    stocks = [option.units[i] for option in options]
    return max(stocks, default=0) if is_by_line else sum(stocks)


def _shared_out(
    free: Sequence[Line], wanted: Units, members: Sequence[Option], choice: Choice, policy: Policy
) -> Decision:
    """The lines among warehouses that can serve them: all to one, else each line to one, else to as few as can be."""
    if len(members) == 1:
        return Decision("one_warehouse", _from_one(free, members[0]), choice)
    in_order = ranked(members, policy)
    for option in in_order:
        if covers(option.units, wanted):
            return Decision("one_warehouse", _from_one(free, option), choice)
    parts = [part for i, line in enumerate(free) for part in _line_parts(line, i, in_order)]
    return Decision("split_by_line" if len(parts) == len(free) else "split_line", parts, choice)


def _from_one(free: Sequence[Line], option: Option) -> list[Part]:
    return [Part(line.product_id, option.place.warehouse_id, line.quantity) for line in free]


def _line_parts(line: Line, i: int, in_order: Sequence[Option]) -> list[Part]:
    """The i-th line from the first that has it whole, or from as few as can be; together they have it."""
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
    """As few as hold `quantity` of the i-th line together; among equally few, the most preferred.

    One is taken, in the order of preference, whenever the largest of the later ones can fill the rest of that number.
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


def _line_by_line(free: Sequence[Line], options: Sequence[Option], policy: Policy) -> Decision:
    """One line after the other, without looking ahead: a warehouse that serves one is used for the next ones."""
    at_hand = list(options)
    parts: list[Part] = []
    for i, line in enumerate(free):
        found = _line_parts(line, i, _enough(at_hand, i, line.quantity, policy))
        parts += found
        taken = {part.warehouse_id for part in found}
        at_hand = [
            option._replace(is_used=True) if option.place.warehouse_id in taken else option for option in at_hand
        ]
    strategy = "split_by_line" if len(parts) == len(free) else "split_line"
    return Decision(strategy, parts, Choice((), GIVEN_UP))


def _enough(options: Sequence[Option], i: int, quantity: int, policy: Policy) -> list[Option]:
    """The preferred one that has the i-th line whole; else as many of the largest as must be and POOL more, ranked."""
    whole: list[Plan] = [(option,) for option in options if option.units[i] >= quantity]
    if whole:
        return list(choose(whole, policy).plan)
    largest = sorted(options, key=lambda option: option.units[i], reverse=True)
    totals = accumulate([option.units[i] for option in largest])
    count = next(n for n, total in enumerate(totals, start=1) if total >= quantity)
    return ranked(largest[: count + POOL], policy)


def _nearly_served(
    free: Sequence[Line],
    wanted: Units,
    options: Sequence[Option],
    policy: Policy,
    *,
    most: int,
    used: Sequence[Option] = (),
) -> tuple[list[Option], list[Shortage]]:
    """`most` warehouses that come nearest to serving the lines with the used ones, and what is short then.

    They are picked one after the other, each to leave the fewest lines short, then the fewest units missing; the policy
    says which of equal ones.
    """
    missing = wanted
    for option in used:
        missing = less(missing, option.units)
    left = [option for option in options if option not in used]
    picked: list[Option] = []
    while any(missing) and left and len(picked) < most:
        rests = [less(missing, option.units) for option in left]
        keys = [(sum(map(bool, rest)), sum(rest)) for rest in rests]
        best = min(keys)
        [first] = choose([(option,) for option, key in zip(left, keys, strict=True) if key == best], policy).plan
        picked.append(first)
        left.remove(first)
        missing = less(missing, first.units)
    return picked, _shortages(free, [want - lacking for want, lacking in zip(wanted, missing, strict=True)])


def _shortages(free: Sequence[Line], available: Sequence[int]) -> list[Shortage]:
    return [_shortage(line, units) for line, units in zip(free, available, strict=True) if units < line.quantity]


def _shortage(line: Line, available: int) -> Shortage:
    return Shortage(line.product_id, line.warehouse_id, line.quantity, available)


def _merged(decisions: Sequence[Decision]) -> tuple[Part, ...]:
    """All parts in key order; a named and a free line may have met at one warehouse."""
    parts = [part for decision in decisions for part in decision.parts]
    if len(parts) < 2:
        return tuple(parts)
    units: defaultdict[tuple[UUID, str], int] = defaultdict(int)
    for part in parts:
        units[part.product_id, part.warehouse_id] += part.quantity
    return tuple(Part(*key, quantity) for key, quantity in sorted(units.items()))
