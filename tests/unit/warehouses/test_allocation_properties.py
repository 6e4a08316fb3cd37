"""What holds for every order and every stock; the sizes are small, so that shortages and ties are common."""

import json
from collections import Counter
from collections.abc import Sequence
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from warehouses.allocation import Allocation, Candidate, Line, Place, allocate

PLACES = [Place(f"wh-{i}", "north" if i % 2 else "south", 1 + i % 3) for i in range(5)]
PRODUCTS = [UUID(int=i) for i in range(1, 5)]

Stock = dict[UUID, list[Candidate]]


@st.composite
def stocks(draw: st.DrawFn) -> Stock:
    closed = draw(st.sets(st.sampled_from(PLACES), max_size=2))
    blocked = draw(st.sets(st.sampled_from(PRODUCTS), max_size=1)) if draw(st.integers(0, 4)) == 0 else set()
    return {
        product: [
            Candidate(place, draw(st.integers(0, 12)), product in blocked, place in closed)
            for place in draw(st.lists(st.sampled_from(PLACES), unique=True))
        ]
        for product in draw(st.sets(st.sampled_from(PRODUCTS)))
    }


def orders() -> st.SearchStrategy[list[Line]]:
    warehouse_ids = st.one_of(st.none(), st.none(), st.sampled_from([place.warehouse_id for place in PLACES]))
    line = st.builds(Line, st.sampled_from(PRODUCTS), st.integers(1, 15), warehouse_ids)
    return st.lists(line, min_size=1, max_size=6, unique_by=lambda line: (line.product_id, line.warehouse_id))


def sellable(stock: Stock) -> dict[tuple[UUID, str], int]:
    return {
        (product, candidate.place.warehouse_id): candidate.available
        for product, candidates in stock.items()
        for candidate in candidates
        if not candidate.is_blocked and not candidate.is_closed
    }


def taken(answer: Allocation) -> dict[tuple[UUID, str], int]:
    return {(part.product_id, part.warehouse_id): part.quantity for part in answer.parts}


@given(orders(), stocks(), st.booleans())
def test_the_parts_add_up_to_what_was_asked_or_there_are_none(lines: list[Line], stock: Stock, split: bool) -> None:
    answer = allocate(lines, stock, allow_split=split)
    if not answer.parts:
        assert answer.shortages or answer.blocked_product_ids
        return
    assert not answer.shortages
    assert not answer.blocked_product_ids
    asked: Counter[UUID] = Counter()
    for line in lines:
        asked[line.product_id] += line.quantity
    given_out: Counter[UUID] = Counter()
    for part in answer.parts:
        given_out[part.product_id] += part.quantity
    assert given_out == asked
    for line in lines:
        if line.warehouse_id is not None:
            assert taken(answer)[line.product_id, line.warehouse_id] >= line.quantity


@given(orders(), stocks(), st.booleans())
def test_no_part_exceeds_a_level_or_touches_one_that_may_not_sell(lines: list[Line], stock: Stock, split: bool) -> None:
    available = sellable(stock)
    answer = allocate(lines, stock, allow_split=split)
    for key, quantity in taken(answer).items():
        assert 1 <= quantity <= available[key]


@given(orders(), stocks(), st.booleans())
def test_the_parts_are_unique_and_in_key_order(lines: list[Line], stock: Stock, split: bool) -> None:
    answer = allocate(lines, stock, allow_split=split)
    keys = [(part.product_id, part.warehouse_id) for part in answer.parts]
    assert keys == sorted(set(keys))


@given(orders(), stocks(), st.booleans(), st.randoms())
def test_the_order_of_the_candidates_changes_nothing(
    lines: list[Line], stock: Stock, split: bool, random: Random
) -> None:
    answer = allocate(lines, stock, allow_split=split)
    shuffled = {product: _shuffled(candidates, random) for product, candidates in reversed(stock.items())}
    assert allocate(lines, shuffled, allow_split=split) == answer
    assert allocate(lines, stock, allow_split=split) == answer


def _shuffled(candidates: Sequence[Candidate], random: Random) -> list[Candidate]:
    copied = list(candidates)
    random.shuffle(copied)
    return copied


@given(orders(), stocks(), st.booleans(), st.randoms())
def test_the_order_of_the_lines_changes_no_part(lines: list[Line], stock: Stock, split: bool, random: Random) -> None:
    shuffled = list(lines)
    random.shuffle(shuffled)
    answer = allocate(lines, stock, allow_split=split)
    again = allocate(shuffled, stock, allow_split=split)
    assert again.parts == answer.parts
    assert set(again.shortages) == set(answer.shortages)
    assert set(again.blocked_product_ids) == set(answer.blocked_product_ids)


@given(orders(), stocks(), st.booleans())
def test_one_warehouse_serves_all_free_lines_whenever_one_can(lines: list[Line], stock: Stock, split: bool) -> None:
    answer = allocate(lines, stock, allow_split=split)
    free = [line for line in lines if line.warehouse_id is None]
    if not answer.parts or not free:
        return
    left = sellable(stock)
    for line in lines:
        if line.warehouse_id is not None:
            left[line.product_id, line.warehouse_id] -= line.quantity
    one_can = any(
        all(left.get((line.product_id, place.warehouse_id), 0) >= line.quantity for line in free) for place in PLACES
    )
    strategies = {decision["strategy"] for decision in answer.explanation["chosen"]} - {"named"}
    assert (strategies == {"one_warehouse"}) == one_can
    assert one_can or split
    if one_can:
        [decision] = [d for d in answer.explanation["chosen"] if d["strategy"] == "one_warehouse"]
        assert len({part["warehouse_id"] for part in decision["parts"]}) == 1


@given(orders(), stocks())
def test_splitting_refuses_only_what_all_warehouses_together_lack(lines: list[Line], stock: Stock) -> None:
    answer = allocate(lines, stock, allow_split=True)
    if answer.blocked_product_ids:
        return
    available = sellable(stock)
    short = False
    for line in lines:
        if line.warehouse_id is not None:
            key = line.product_id, line.warehouse_id
            if available.get(key, 0) < line.quantity:
                short = True
            else:
                available[key] -= line.quantity
    for line in lines:
        if line.warehouse_id is None:
            total = sum(units for (product, _), units in available.items() if product == line.product_id)
            short = short or total < line.quantity
    assert bool(answer.shortages) == short


@given(orders(), stocks(), st.booleans())
def test_a_shortage_is_about_a_line_and_says_less_than_was_asked(lines: list[Line], stock: Stock, split: bool) -> None:
    answer = allocate(lines, stock, allow_split=split)
    for shortage in answer.shortages:
        assert Line(shortage.product_id, shortage.requested, shortage.warehouse_id) in lines
        assert 0 <= shortage.available < shortage.requested
        assert shortage.product_id not in answer.blocked_product_ids


@given(orders(), stocks(), st.booleans())
def test_the_explanation_survives_json_and_names_every_part(lines: list[Line], stock: Stock, split: bool) -> None:
    answer = allocate(lines, stock, allow_split=split)
    assert json.loads(json.dumps(answer.explanation)) == answer.explanation
    told: Counter[tuple[UUID, str]] = Counter()
    for decision in answer.explanation["chosen"]:
        for part in decision["parts"]:
            told[UUID(part["product_id"]), part["warehouse_id"]] += part["quantity"]
    assert told == taken(answer)
    assert (answer.explanation["strategy"] == "refused") == (not answer.parts)


@given(st.integers(1, 40), st.lists(st.integers(0, 12), min_size=1, max_size=5))
def test_a_split_line_needs_as_few_warehouses_as_can_be(quantity: int, sizes: list[int]) -> None:
    product = PRODUCTS[0]
    stock = {product: [Candidate(place, size, False, False) for place, size in zip(PLACES, sizes, strict=False)]}
    answer = allocate([Line(product, quantity, None)], stock, allow_split=True)
    if sum(sizes) < quantity:
        assert answer.parts == ()
        return
    fewest = next(n for n in range(1, 6) if sum(sorted(sizes, reverse=True)[:n]) >= quantity)
    assert len(answer.parts) == fewest
