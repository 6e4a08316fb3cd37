"""What holds for every order, stock and policy; the sizes are small, so that shortages and ties are common."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from random import Random
from typing import NamedTuple, TypeVar
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from warehouses.allocation import explanation, policies
from warehouses.allocation.decision import allocate
from warehouses.allocation.policies import PREFERENCES, SPLITS, Policy
from warehouses.allocation.preferences import Place, by_distance
from warehouses.allocation.terms import Allocation, Candidate, Delivery, Line

IDS = [f"wh-{i}" for i in range(6)]
PRODUCTS = [UUID(int=i) for i in range(1, 4)]
WHOLE = 64  # after the last replenishment

Stock = dict[UUID, list[Candidate]]
Levels = dict[tuple[UUID, str], int]
Item = TypeVar("Item")


class Order(NamedTuple):
    """Everything that a decision goes by."""

    lines: list[Line]
    stock: Stock
    policy: Policy
    allow_split: bool

    def allocated(self) -> Allocation:
        delivery = Delivery(policy=self.policy, area="BR 01")
        return allocate(self.lines, self.stock, delivery=delivery, allow_split=self.allow_split)


# --- what is drawn -------------------------------------------------------------------------------------------------

# Hypothesis draws the seed alone. Its own choices lean to the smallest, and nine orders of ten would be refused.


def drawn_policy(random: Random) -> Policy:
    order = tuple(random.sample(PREFERENCES, random.randint(1, 4)))
    split = random.choice(SPLITS)
    if split == "fewest_parcels":
        order = ("fewest_parcels", *[name for name in order if name != "fewest_parcels"])
    policy = Policy(
        preferences=order,
        tolerance_km=random.choice([0.0, 50.0, 300.0, 20_000.0]),
        split=split,
        most_parcels=random.randint(1, 3) if split == "at_most" else None,
    )
    assert policies.problems(policy) == {}
    return policy


def drawn_stock(random: Random, *, richest: int) -> Stock:
    """Up to six warehouses: equally far, nearly, of unknown distance; some are closed or do not serve the region."""
    distances = [None, 0.0, 10.0, 60.0, 61.0, 100.0, 300.0, 900.0]
    places = [
        Place(key, "north", random.randint(1, 2), random.choice(distances), random.random() < 0.95)
        for key in IDS[: random.choice([1, 3, 4, 5, 6, 6])]
    ]
    closed = {place for place in places if random.random() < 0.05}
    blocked = {product for product in PRODUCTS if random.random() < 0.03}
    return {
        product: [
            Candidate(
                place,
                random.randint(0, richest),
                is_blocked=product in blocked and random.random() < 0.5,
                is_closed=place in closed,
                reserved=random.randint(0, 3),
                replenished=WHOLE,
            )
            for place in places
            if random.random() < 0.8
        ]
        for product in PRODUCTS
    }


def drawn_lines(random: Random, *, most: int) -> list[Line]:
    """Up to three lines that name no warehouse, and up to two that name one."""
    free_lines = [Line(product, random.randint(1, most), None) for product in PRODUCTS[: random.randint(0, 3)]]
    keys = [(random.choice(PRODUCTS), random.choice(IDS)) for _ in range(random.choice([0, 0, 0, 1, 2]))]
    lines = free_lines + [Line(product, random.randint(1, 2), key) for product, key in sorted(set(keys))]
    return random.sample(lines, len(lines)) if lines else drawn_lines(random, most=most)


def drawn_order(seed: int) -> Order:
    random = Random(seed)  # noqa: S311  # no secret
    richest = random.choice([3, 8, 16])
    lines = drawn_lines(random, most=random.choice([1, richest // 2, richest, 2 * richest]))
    return Order(lines, drawn_stock(random, richest=richest), drawn_policy(random), random.random() < 0.9)


orders = st.integers(0, 2**32).map(drawn_order)
EXAMPLES = settings(max_examples=300, deadline=None)


# --- what the rules say, worked out the long way -------------------------------------------------------------------


def sellable(stock: Stock) -> Levels:
    return {
        (product, candidate.place.warehouse_id): candidate.available
        for product, candidates in stock.items()
        for candidate in candidates
        if not candidate.is_blocked and not candidate.is_closed and candidate.place.is_serving
    }


def free(order: Order) -> list[Line]:
    return [line for line in order.lines if line.warehouse_id is None]


def named(order: Order) -> dict[tuple[UUID, str], int]:
    return {(line.product_id, line.warehouse_id): line.quantity for line in order.lines if line.warehouse_id}


def taken(answer: Allocation) -> Levels:
    return {(part.product_id, part.warehouse_id): part.quantity for part in answer.parts}


def taken_freely(order: Order, answer: Allocation) -> Levels:
    """What the lines got that named no warehouse."""
    freely = Counter(taken(answer))
    freely.subtract(named(order))
    assert min(freely.values()) >= 0
    return {key: units for key, units in freely.items() if units}


def is_unservable_by_name(order: Order) -> bool:
    """A blocked product, or a line whose warehouse has not enough."""
    wanted = {line.product_id for line in order.lines}
    available = sellable(order.stock)
    return any(c.is_blocked for product in wanted for c in order.stock[product]) or any(
        available.get(key, 0) < units for key, units in named(order).items()
    )


class Reference:
    """The plans that the policy allows for the free lines, and the one that its preferences leave."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.free = free(order)
        self.left = sellable(order.stock)
        for key, units in named(order).items():
            self.left[key] -= units
        self.used = frozenset(warehouse_id for _, warehouse_id in named(order))
        self.places = {c.place.warehouse_id: c.place for candidates in order.stock.values() for c in candidates}
        self.is_one = order.policy.split == "never" or not order.allow_split

    def gives(self, line: Line, warehouse_id: str) -> int:
        units = self.left.get((line.product_id, warehouse_id), 0)
        return units if self.order.policy.split != "by_line" or units >= line.quantity else 0

    def serves(self, members: frozenset[str]) -> bool:
        return all(sum(self.gives(line, key) for key in members) >= line.quantity for line in self.free)

    def plans(self) -> list[frozenset[str]]:
        """All sets of warehouses besides the used ones that are enough, and none of which can be left out."""
        most = self.order.policy.most_parcels
        allowed = len(IDS) if most is None else max(0, most - len(self.used))
        if self.is_one:
            return [
                members
                for members in map(frozenset, ([key] for key in IDS))
                if self.serves(members) and (allowed or members <= self.used)
            ]
        others = [key for key in IDS if key not in self.used]
        enough = [
            members
            for size in range(min(allowed, len(others)) + 1)
            for members in map(frozenset, combinations(others, size))
            if self.serves(members | self.used)
        ]
        return [members for members in enough if not any(fewer < members for fewer in enough)]

    def score(self, name: str, key: str) -> float:
        place = self.places[key]
        if name == "fewest_parcels":
            return 0 if key in self.used else 1
        if name == "nearest":
            return float("inf") if place.distance_km is None else place.distance_km
        if name == "priority":
            return place.priority
        levels = [(line.product_id, key) for line in self.free if (line.product_id, key) in self.left]
        return 1 - sum(self.left[level] for level in levels) / (WHOLE * len(levels))

    def total(self, name: str, plan: frozenset[str]) -> float:
        """Added up in the order in which the search adds, so that roundings are the same."""
        return sum(self.score(name, key) for key in sorted(plan, key=lambda key: by_distance(self.places[key])))

    def best(self) -> frozenset[str] | None:
        plans = self.plans()
        for name in self.order.policy.preferences:
            scores = {plan: self.total(name, plan) for plan in plans}
            tolerance = self.order.policy.tolerance_km if name == "nearest" else 0
            plans = [plan for plan in plans if scores[plan] <= min(scores.values()) + tolerance]
        is_near = "nearest" in self.order.policy.preferences
        return min(plans, key=lambda plan: (is_near and self.total("nearest", plan), sorted(plan)), default=None)


# --- what is given -------------------------------------------------------------------------------------------------


@EXAMPLES
@given(orders)
def test_the_parts_add_up_to_what_was_asked_or_there_are_none(order: Order) -> None:
    answer = order.allocated()
    assert bool(answer.parts) == bool(answer.record)
    if not answer.parts:
        assert answer.shortages or answer.blocked_product_ids
        return
    assert (answer.shortages, answer.blocked_product_ids, answer.not_serving) == ((), (), ())
    asked: Counter[UUID] = Counter()
    for line in order.lines:
        asked[line.product_id] += line.quantity
    given_out: Counter[UUID] = Counter()
    for part in answer.parts:
        given_out[part.product_id] += part.quantity
    assert given_out == asked


@EXAMPLES
@given(orders)
def test_no_part_exceeds_a_level_or_touches_one_that_may_not_sell(order: Order) -> None:
    available = sellable(order.stock)
    for key, quantity in taken(order.allocated()).items():
        assert 1 <= quantity <= available[key]


@EXAMPLES
@given(orders)
def test_the_parts_are_unique_and_in_key_order(order: Order) -> None:
    keys = [(part.product_id, part.warehouse_id) for part in order.allocated().parts]
    assert keys == sorted(set(keys))


@EXAMPLES
@given(orders, st.randoms())
def test_neither_the_order_of_the_candidates_nor_that_of_the_products_changes_anything(
    order: Order, random: Random
) -> None:
    shuffled = {product: _shuffled(candidates, random) for product, candidates in reversed(order.stock.items())}
    assert order._replace(stock=shuffled).allocated() == order.allocated() == order.allocated()


@EXAMPLES
@given(orders, st.randoms())
def test_the_order_of_the_lines_changes_no_part(order: Order, random: Random) -> None:
    answer = order.allocated()
    again = order._replace(lines=_shuffled(order.lines, random)).allocated()
    assert again.parts == answer.parts
    assert sorted(map(str, again.shortages)) == sorted(map(str, answer.shortages))
    assert set(again.blocked_product_ids) == set(answer.blocked_product_ids)
    assert again.not_serving == answer.not_serving


def _shuffled(items: Sequence[Item], random: Random) -> list[Item]:
    copied = list(items)
    random.shuffle(copied)
    return copied


@EXAMPLES
@given(orders, st.randoms())
def test_more_stock_never_makes_an_order_unservable(order: Order, random: Random) -> None:
    if not order.allocated().parts:
        return
    product, more = random.choice(PRODUCTS), random.randint(1, 15)
    levels = list(order.stock[product])
    open_ones = [i for i, level in enumerate(levels) if not level.is_blocked and not level.is_closed]
    if open_ones and random.random() < 0.7:
        i = random.choice(open_ones)
        levels[i] = levels[i]._replace(available=levels[i].available + more)
    else:
        place = Place("wh-new", "north", 1, random.choice([None, 5.0, 900.0]))
        levels.append(Candidate(place, more, is_blocked=False, is_closed=False))
    assert order._replace(stock={**order.stock, product: levels}).allocated().parts


# --- what the split rules allow ------------------------------------------------------------------------------------


@EXAMPLES
@given(orders)
def test_a_line_that_names_a_warehouse_is_obeyed_or_the_order_refused(order: Order) -> None:
    answer = order.allocated()
    if answer.parts:
        got = taken(answer)
        assert all(got[key] >= units for key, units in named(order).items())
    if is_unservable_by_name(order):
        assert not answer.parts


@EXAMPLES
@given(orders)
def test_an_order_is_served_whenever_the_policy_has_a_plan_for_it(order: Order) -> None:
    is_servable = not is_unservable_by_name(order)
    if is_servable and free(order):
        is_servable = Reference(order).best() is not None
    assert bool(order.allocated().parts) == is_servable


@EXAMPLES
@given(orders)
def test_without_a_split_one_warehouse_serves_all_free_lines(order: Order) -> None:
    never = order._replace(policy=Policy(split="never"))
    for one in (order._replace(allow_split=False), never):
        answer = one.allocated()
        if answer.parts and free(one):
            assert len({warehouse_id for _, warehouse_id in taken_freely(one, answer)}) == 1


@EXAMPLES
@given(orders)
def test_by_line_no_line_is_split(order: Order) -> None:
    by_line = order._replace(policy=Policy(split="by_line"))
    answer = by_line.allocated()
    if answer.parts:
        got = taken_freely(by_line, answer)
        assert sorted(product for product, _ in got) == sorted(line.product_id for line in free(by_line))


@EXAMPLES
@given(orders, st.integers(1, 3))
def test_at_most_so_many_warehouses_have_a_part_unless_more_were_named(order: Order, most: int) -> None:
    at_most = order._replace(policy=Policy(split="at_most", most_parcels=most))
    answer = at_most.allocated()
    used = {warehouse_id for _, warehouse_id in named(at_most)}
    assert len({part.warehouse_id for part in answer.parts}) <= max(most, len(used))


@EXAMPLES
@given(orders)
def test_fewest_parcels_are_as_few_as_any_set_of_warehouses_needs(order: Order) -> None:
    fewest = order._replace(policy=Policy(), allow_split=True)
    answer = fewest.allocated()
    if answer.parts:
        reference = Reference(fewest)
        others = min(len(members) for members in reference.plans())
        assert len({part.warehouse_id for part in answer.parts}) == len(reference.used) + others


# --- what the preferences choose -----------------------------------------------------------------------------------


@settings(EXAMPLES, max_examples=600)
@given(orders)
def test_the_plan_is_the_one_that_the_preferences_leave_and_each_of_its_warehouses_gives_something(
    order: Order,
) -> None:
    answer = order.allocated()
    if answer.parts and free(order):
        reference = Reference(order)
        best = reference.best()
        assert best is not None
        giving = frozenset(warehouse_id for _, warehouse_id in taken_freely(order, answer))
        if reference.is_one:
            assert giving == best
        else:
            assert giving - reference.used == best


@EXAMPLES
@given(orders)
def test_one_warehouse_serves_all_free_lines_whenever_one_of_the_plan_can(order: Order) -> None:
    answer = order.allocated()
    if not answer.parts or not free(order):
        return
    reference = Reference(order)
    best = reference.best()
    assert best is not None
    members = best if reference.is_one else best | reference.used
    [decision] = [d for d in explanation.explain(answer.record)["chosen"] if d["strategy"] != "named"]
    giving = {part["warehouse_id"] for part in decision["parts"]}
    one_can = any(reference.serves(frozenset([key])) for key in members)
    assert (decision["strategy"] == "one_warehouse") == one_can == (len(giving) == 1)


# --- what is told --------------------------------------------------------------------------------------------------


@EXAMPLES
@given(orders)
def test_a_shortage_is_about_a_line_and_says_less_than_was_asked(order: Order) -> None:
    answer = order.allocated()
    for shortage in answer.shortages:
        assert Line(shortage.product_id, shortage.requested, shortage.warehouse_id) in order.lines
        assert 0 <= shortage.available < shortage.requested
        assert shortage.product_id not in answer.blocked_product_ids
    assert len(set(answer.shortages)) == len(answer.shortages)


@EXAMPLES
@given(orders)
def test_the_record_survives_json_and_names_every_part(order: Order) -> None:
    answer = order.allocated()
    if not answer.parts:
        return
    kept = json.loads(json.dumps(answer.record, allow_nan=False))
    assert kept == answer.record
    full = explanation.explain(kept)
    told: Counter[tuple[UUID, str]] = Counter()
    for decision in full["chosen"]:
        for part in decision["parts"]:
            told[UUID(part["product_id"]), part["warehouse_id"]] += part["quantity"]
            assert part["warehouse_id"] in full["sentence"]
    assert told == taken(answer)
    assert {part.warehouse_id for part in answer.parts} <= {one["warehouse_id"] for one in full["candidates"]}


@given(st.integers(1, 40), st.lists(st.integers(0, 12), min_size=1, max_size=6))
def test_a_split_line_needs_as_few_warehouses_as_can_be(quantity: int, sizes: list[int]) -> None:
    product = PRODUCTS[0]
    places = [Place(key, "north", 1) for key in IDS]
    stock = {product: [Candidate(place, size, False, False) for place, size in zip(places, sizes, strict=False)]}
    answer = allocate([Line(product, quantity, None)], stock)
    if sum(sizes) < quantity:
        assert answer.parts == ()
        return
    fewest = next(n for n in range(1, 7) if sum(sorted(sizes, reverse=True)[:n]) >= quantity)
    assert len(answer.parts) == fewest
