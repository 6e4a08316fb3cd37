"""What other policies would have done with the same orders: the replay over hand-made events."""

from collections import Counter
from dataclasses import replace
from uuid import UUID

import pytest

from reservations.analysis.simulation import replay
from reservations.analysis.simulation.events import Order
from reservations.analysis.simulation.figures import Figures
from reservations.analysis.simulation.replay import Contender
from tests.unit.reservations.analysis.simulation.scene import (
    FIRST,
    KM,
    NEAREST,
    PRIORITY,
    RJ,
    SECOND,
    SITES,
    SP,
    THIRD,
    TO_RJ,
    TO_SP,
    A,
    B,
    contender,
    moved,
    order,
    run,
)
from warehouses.allocation.policies import Policy
from warehouses.allocation.terms import Line, Part
from warehouses.network import Site


def numbers(of: Contender, product_id: UUID = A) -> dict[str, tuple[int, int, int]]:
    """Available, reserved and replenished by warehouse."""
    return {
        key: (level.available, level.reserved, level.replenished) for key, level in of.stock.levels[product_id].items()
    }


def replace_served(site: Site, *regions: str) -> Site:
    return site._replace(served_regions=frozenset(regions))


# --- serving -------------------------------------------------------------------------------------------------------


def test_an_order_takes_its_units_where_the_policy_says_and_not_where_the_books_had_them() -> None:
    tried = contender({SP: 10, RJ: 10})
    run([order(3, to=TO_RJ, at=SP)], tried)
    assert numbers(tried) == {SP: (10, 0, 10), RJ: (7, 3, 10)}
    assert tried.total == Figures(orders=1, parcels=Counter({RJ: 1}), distances=Counter({0.0: 1}))


def test_what_really_happened_takes_the_units_of_the_books() -> None:
    was = contender({SP: 10, RJ: 10}, is_as_it_was=True)
    run([order(3, to=TO_RJ, at=SP)], was)
    assert numbers(was) == {SP: (7, 3, 10), RJ: (10, 0, 10)}
    assert was.total.mean_km == KM


def test_each_contender_has_stock_of_its_own() -> None:
    near, first = contender({SP: 10, RJ: 10}), contender({SP: 10, RJ: 10}, PRIORITY)
    run([order(4, to=TO_RJ)], near, first)
    assert (numbers(near)[RJ], numbers(first)[RJ]) == ((6, 4, 10), (10, 0, 10))
    assert (numbers(near)[SP], numbers(first)[SP]) == ((10, 0, 10), (6, 4, 10))


def test_a_named_warehouse_is_obeyed_by_every_policy() -> None:
    tried = contender({SP: 10, RJ: 10})
    run([order(2, to=TO_RJ)._replace(lines=(Line(A, 2, SP),))], tried)
    assert numbers(tried) == {SP: (8, 2, 10), RJ: (10, 0, 10)}


def test_an_order_that_allows_no_split_is_not_split() -> None:
    rio_only = {B: {SP: 0, RJ: 5}}
    lines = (Line(A, 1, None), Line(B, 1, None))
    split, whole = contender({SP: 5}, others=rio_only), contender({SP: 5}, others=rio_only)
    run([Order(FIRST, TO_SP, lines)], split)
    run([Order(FIRST, TO_SP, lines, allow_split=False)], whole)
    assert (split.total.served, split.total.several, split.total.parcels) == (1, 1, {SP: 1, RJ: 1})
    assert (whole.total.served, whole.total.refused) == (0, {"parcels": 1})


def test_why_an_order_is_not_served_is_told_apart() -> None:
    far_only = {**SITES, RJ: replace_served(SITES[RJ], "north")}
    for stock, policy, sites, reason in (
        ({SP: 2, RJ: 2}, NEAREST, SITES, "stock"),  # 5 are wanted
        ({SP: 3, RJ: 2}, NEAREST, SITES, "parcels"),  # a line is not split
        ({SP: 0, RJ: 9}, NEAREST, far_only, "region"),
        ({SP: 0, RJ: 4}, NEAREST, far_only, "stock"),  # would not be enough either
        ({SP: 3, RJ: 2}, replace(NEAREST, split="never"), SITES, "parcels"),
    ):
        tried = contender(stock, policy, sites=sites)
        before = numbers(tried)
        run([order(5)], tried)
        assert (tried.total.served, tried.total.refused) == (0, {reason: 1}), (stock, policy)
        assert numbers(tried) == before


def test_a_blocked_product_is_not_sold_also_where_it_lies_nowhere() -> None:
    tried = contender({SP: 10})
    tried.stock = replace(tried.stock, blocked_ids={A, B})
    run([order(), order(product_id=B, id_=SECOND)], tried)
    assert tried.total.refused == {"blocked": 2}
    assert numbers(tried) == {SP: (10, 0, 10)}


def test_a_named_warehouse_without_enough_is_a_lack_of_stock_whatever_the_others_have() -> None:
    tried = contender({SP: 1, RJ: 10})
    run([order(2)._replace(lines=(Line(A, 2, SP),))], tried)
    assert tried.total.refused == {"stock": 1}


def test_a_closed_warehouse_sells_nothing() -> None:
    tried = contender({SP: 10})
    tried.stock.levels[A][SP].is_closed = True
    run([order()], tried)
    assert tried.total.refused == {"stock": 1}
    assert tried.stock.shares_taken() == {}


# --- what happens between orders -----------------------------------------------------------------------------------


def test_released_units_go_back_where_the_contender_took_them() -> None:
    tried = contender({SP: 10, RJ: 10})
    run([order(3, to=TO_RJ, at=SP), moved("RELEASE", 3, at=SP, held=-3)], tried)
    assert numbers(tried) == {SP: (10, 0, 10), RJ: (10, 0, 10)}
    assert tried.held == {}


def test_a_part_of_an_order_is_released_and_the_rest_confirmed() -> None:
    tried = contender({SP: 10, RJ: 10})
    run([order(5, to=TO_RJ, at=SP), moved("RELEASE", 2, held=-2)], tried)
    assert numbers(tried)[RJ] == (7, 3, 10)
    run([moved("CONFIRM", 0, held=-3)], tried)
    assert numbers(tried) == {SP: (10, 0, 10), RJ: (7, 0, 10)}
    assert tried.held == {}


def test_a_part_goes_back_to_the_same_warehouse_first() -> None:
    tried = contender({SP: 3, RJ: 3}, Policy())
    run([order(5, to=TO_RJ), moved("RELEASE", 1, at=SP, held=-1)], tried)
    assert numbers(tried) == {SP: (2, 1, 3), RJ: (0, 3, 3)}
    run([moved("RELEASE", 4, at=SP, held=-4)], tried)
    assert numbers(tried) == {SP: (3, 0, 3), RJ: (3, 0, 3)}


def test_what_an_order_before_the_window_held_is_released_where_the_books_say() -> None:
    tried = contender({SP: 10, RJ: 10})
    tried.stock.levels[A][SP].reserved = 4
    run([moved("RELEASE", 3, of=SECOND, held=-3), moved("CONFIRM", 0, of=SECOND, held=-1)], tried)
    assert numbers(tried) == {SP: (13, 0, 10), RJ: (10, 0, 10)}


def test_an_order_that_was_not_served_has_nothing_to_give_back() -> None:
    tried = contender({SP: 10, RJ: 10}, replace(NEAREST, split="never"))
    run([order(11), moved("RELEASE", 5, held=-5), moved("CONFIRM", 0, held=-6), moved("RETURN", 6)], tried)
    assert tried.total.refused == {"parcels": 1}
    assert numbers(tried) == {SP: (10, 0, 10), RJ: (10, 0, 10)}


def test_returned_goods_come_to_the_warehouse_that_really_got_them() -> None:
    tried = contender({SP: 10, RJ: 10})
    run([order(3, to=TO_RJ, at=SP), moved("CONFIRM", 0, held=-3), moved("RETURN", 2, at=SP)], tried)
    assert numbers(tried) == {SP: (12, 0, 10), RJ: (7, 0, 10)}


def test_a_receipt_begins_the_share_anew_and_an_adjustment_corrects_it() -> None:
    tried = contender({SP: 10})
    run([order(4), moved("RECEIPT", 20, of=None)], tried)
    assert numbers(tried) == {SP: (26, 4, 30)}
    run([moved("ADJUSTMENT", -5, of=None), moved("ADJUSTMENT", 1, of=None)], tried)
    assert numbers(tried) == {SP: (22, 4, 26)}
    run([moved("RECEIPT", 7, at=RJ, of=None)], tried)
    assert numbers(tried)[RJ] == (7, 0, 7)


def test_a_correction_of_what_was_sold_meanwhile_takes_what_is_there_and_is_told() -> None:
    tried = contender({SP: 10, RJ: 10})
    run([order(8, at=RJ), moved("ADJUSTMENT", -5, of=None)], tried)
    assert numbers(tried)[SP] == (0, 8, 5)
    assert tried.stock.missing == 3


# --- late payments -------------------------------------------------------------------------------------------------

EXPIRED = (order(4, to=TO_RJ, at=SP), moved("RELEASE", 4, held=-4))
REVIVED = order(4, to=TO_RJ, at=SP, id_=SECOND)._replace(replaces_id=FIRST)


def test_a_late_payment_takes_the_goods_where_they_were_and_is_no_new_order() -> None:
    tried = contender({SP: 10, RJ: 10})
    run([*EXPIRED, REVIVED, moved("CONFIRM", 0, of=SECOND, held=-4)], tried, revived_ids=frozenset({FIRST}))
    assert (tried.total.orders, tried.total.served, tried.late_refused) == (1, 1, 0)
    assert numbers(tried) == {SP: (10, 0, 10), RJ: (6, 0, 10)}
    assert (tried.held, tried.ended) == ({}, {})


def test_a_late_payment_takes_them_elsewhere_or_finds_them_gone() -> None:
    for gone, stock, late_refused in ((7, {SP: (6, 4, 10), RJ: (3, 7, 10)}, 0), (10, {SP: (0, 10, 10)}, 1)):
        tried = contender(dict.fromkeys(stock, 10))
        others = order(gone, to=TO_RJ if len(stock) == 2 else TO_SP, id_=THIRD)
        run([*EXPIRED, others, REVIVED], tried, revived_ids=frozenset({FIRST}))
        assert numbers(tried) == stock
        assert (tried.total.orders, tried.total.served, tried.late_refused) == (2, 2, late_refused)


@pytest.mark.parametrize(
    "policy",
    [
        replace(NEAREST, split="never"),
        NEAREST,  # by line, and the order has one
        replace(NEAREST, split="at_most", most_parcels=1),
    ],
    ids=["never", "by_line", "at_most"],
)
def test_a_late_payment_takes_them_in_more_parcels_than_the_policy_allows(policy: Policy) -> None:
    tried = contender({SP: 3, RJ: 4}, policy)
    others = order(1, to=TO_RJ, id_=THIRD)
    run([*EXPIRED, others, REVIVED], tried, revived_ids=frozenset({FIRST}))
    assert numbers(tried) == {SP: (2, 1, 3), RJ: (0, 4, 4)}  # by the preferences of the policy: Rio first
    assert (tried.late_refused, tried.held[SECOND]) == (0, (Part(A, RJ, 3), Part(A, SP, 1)))
    tried = contender({SP: 3, RJ: 4}, policy)
    run([*EXPIRED, others, order(4, to=TO_RJ)], tried)  # as a new order it is refused
    assert tried.total.refused == {"parcels": 1}


def test_a_late_payment_is_not_served_from_where_its_region_is_not_served() -> None:
    south_only = {**SITES, SP: replace_served(SITES[SP], "south")}
    for rio, stock, late_refused in ((10, {SP: (10, 0, 10), RJ: (6, 4, 10)}, 0), (3, {SP: (10, 0, 10)}, 1)):
        tried = contender({SP: 10, RJ: rio}, sites=south_only)
        run([REVIVED], tried, revived_ids=frozenset({FIRST}))  # São Paulo had served it before the window
        assert numbers(tried) == {RJ: (rio, 0, rio), **stock}
        assert tried.late_refused == late_refused


def test_what_was_given_up_before_the_end_is_not_taken_again() -> None:
    tried = contender({SP: 10, RJ: 10})
    released = [moved("RELEASE", 1, held=-1), moved("RELEASE", 3, held=-3)]
    less = REVIVED._replace(parts=(Part(A, SP, 3),))
    run([EXPIRED[0], *released, less], tried, revived_ids=frozenset({FIRST}))
    assert numbers(tried) == {SP: (10, 0, 10), RJ: (7, 3, 10)}


def test_a_late_payment_for_an_order_that_was_not_served_buys_nothing() -> None:
    tried = contender({SP: 3})
    confirmed = moved("CONFIRM", 0, of=SECOND, held=-4)
    run([*EXPIRED, REVIVED, confirmed, moved("RETURN", 4, of=SECOND)], tried, revived_ids=frozenset({FIRST}))
    assert (tried.total.refused, tried.late_refused) == ({"stock": 1}, 0)
    assert numbers(tried) == {SP: (3, 0, 3)}


def test_a_late_payment_for_an_order_before_the_window_takes_what_the_books_took() -> None:
    tried = contender({SP: 10, RJ: 10})
    run([REVIVED], tried, revived_ids=frozenset({FIRST}))
    assert numbers(tried) == {SP: (6, 4, 10), RJ: (10, 0, 10)}
    assert tried.total.orders == 0


# --- what is reported ----------------------------------------------------------------------------------------------


def test_every_order_is_told() -> None:
    tried, told = contender({SP: 10}), []
    replay.replay(
        [order(), moved("RECEIPT", 1, of=None), order(id_=SECOND)],
        [tried],
        reference=tried,
        on_order=lambda: told.append(tried.total.orders),
    )
    assert told == [1, 2]
