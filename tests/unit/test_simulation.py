"""What other policies would have done with the same orders: the replay over hand-made events, and its table."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID
from xml.etree import ElementTree

import pytest

from reservations import picture, replay, tables
from reservations.difference_files import DifferenceFile
from reservations.replay import Contender, Difference, Event, Figures, Level, Movement, Order, Stock
from reservations.simulation import Simulation
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
SVG = "http://www.w3.org/2000/svg"


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


def numbers(of: Contender, product_id: UUID = A) -> dict[str, tuple[int, int, int]]:
    """Available, reserved and replenished by warehouse."""
    return {
        key: (level.available, level.reserved, level.replenished) for key, level in of.stock.levels[product_id].items()
    }


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


def replace_served(site: Site, *regions: str) -> Site:
    return site._replace(served_regions=frozenset(regions))


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


# --- figures -------------------------------------------------------------------------------------------------------


def test_the_figures_of_a_hundred_orders_are_exact() -> None:
    tried = contender({SP: 94, RJ: 100})
    orders = [order(id_=UUID(int=100 + i)) for i in range(100)]  # to São Paulo, where the last six find nothing
    run([*orders, order(to="")], tried)
    total = tried.total
    assert (total.orders, total.served, total.parcels, total.unplaced) == (101, 101, {SP: 94, RJ: 7}, 1)
    assert total.distances == {0.0: 94, KM: 6}
    assert total.mean_km == pytest.approx(6 * KM / 100)
    assert (total.p95_km, total.parcels_per_order) == (KM, 1.0)
    assert tried.stock.shares_taken() == {RJ: pytest.approx(0.07), SP: 1.0}
    assert {region: figures.orders for region, figures in tried.by_region.items()} == {"south": 100, "": 1}


def test_95_of_100_are_within_the_distance_of_the_95th() -> None:
    for far, expected in ((4, 10.0), (5, 10.0), (6, 900.0), (100, 900.0)):
        figures = Figures(distances=Counter({900.0: far, 10.0: 100 - far}))
        assert figures.p95_km == expected, far
    assert Figures(distances=Counter({7.5: 1})).p95_km == 7.5


def test_without_an_order_served_there_is_no_mean() -> None:
    figures = Figures(orders=1, refused=Counter({"stock": 1}))
    assert (figures.parcels_per_order, figures.mean_km, figures.p95_km) == (None, None, None)


def test_the_differences_are_counted_against_one_contender() -> None:
    stock = {SP: 5, RJ: 1}
    near, first, whole = contender(stock), contender(stock, PRIORITY), contender(stock, Policy())
    # Both served, from others; both alike; first has 2 left where near has 3; only whole may split a line.
    run([order(to=TO_RJ), order(2), order(3), order(1, to=TO_RJ)], near, first, whole)
    assert [one.total.served for one in (near, first, whole)] == [3, 3, 3]
    assert near.differences.total == 0
    assert (first.differences.moved, first.differences.gained, first.differences.lost) == (1, 1, 1)
    assert (whole.differences.moved, whole.differences.gained, whole.differences.lost) == (0, 0, 0)


def test_every_order_is_told() -> None:
    tried, told = contender({SP: 10}), []
    replay.replay(
        [order(), moved("RECEIPT", 1, of=None), order(id_=SECOND)],
        [tried],
        reference=tried,
        on_order=lambda: told.append(tried.total.orders),
    )
    assert told == [1, 2]


def test_the_list_has_a_row_for_each_product_of_what_is_served_otherwise(tmp_path: Path) -> None:
    stock, others = {SP: 4, RJ: 9}, {B: {SP: 9, RJ: 9}}
    in_force = contender(stock, PRIORITY, others=others, name="in force")
    alike = contender(stock, PRIORITY, others=others, name="alike")
    tried = contender(stock, Policy(preferences=("nearest",), split="at_most", most_parcels=2), others=others)
    path = tmp_path / "list.csv"
    path.write_text("of yesterday")
    with DifferenceFile(path) as listed:
        replay.replay(
            [
                Order("both", TO_RJ, (Line(A, 1, None), Line(B, 2, None))),
                Order("near", "", (Line(B, 1, SP),)),
                Order("=many", TO_SP, (Line(A, 12, None),)),
            ],
            [in_force, alike, tried],
            reference=in_force,
            on_difference=listed.add,
        )
        assert path.read_text() == "of yesterday"
        listed.keep()
    assert list(csv.reader(path.read_text().splitlines())) == [
        ["policies", "order", "postal_code", "product_id", "in_force", "instead"],
        ["tried", "both", TO_RJ, str(A), "1 from wh-sp", "1 from wh-rj"],
        ["tried", "both", TO_RJ, str(B), "2 from wh-sp", "2 from wh-rj"],
        ["tried", "'=many", TO_SP, str(A), "not served: parcels", "8 from wh-rj, 4 from wh-sp"],
    ]
    assert list(tmp_path.iterdir()) == [path]


def test_a_list_that_is_not_kept_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("of yesterday")
    with DifferenceFile(path) as listed:
        listed.add(Difference("tried", order(), (), "stock"))
    assert (list(tmp_path.iterdir()), path.read_text()) == ([path], "of yesterday")


# --- the table -----------------------------------------------------------------------------------------------------


def simulated(names: Sequence[str] = ("nearest",), *, orders: Sequence[Event] = (), since: bool = True) -> Simulation:
    stock = {SP: 5, RJ: 5}
    was = [contender(stock, name="as it was", is_as_it_was=True)] if since else []
    in_force = contender(stock, PRIORITY, name="in force")
    contenders = [*was, in_force, *[contender(stock, name=name) for name in names]]
    replay.replay(orders or [order(2, to=TO_RJ, at=RJ), order(4)], contenders, reference=in_force)
    moment = datetime(2026, 5, 2, 8, 30, 15, 999, tzinfo=UTC) if since else None
    return Simulation(orders=2, contenders=contenders, in_force=in_force, since=moment, until=moment, notes=["A note."])


def test_the_table_has_every_figure_of_every_contender() -> None:
    lines = tables.report(simulated())
    assert lines[:-2] == [
        "2 orders reserved from 2026-05-02T08:30:15Z to 2026-05-02T08:30:15Z, over the stock of that time.",
        "",
        "                                           as it was        in force         nearest",
        "Orders                                             2               2               2",
        "  served                                           2               2               2",
        "  not served                                       0               0               0",
        "    for lack of stock                              0               0               0",
        "    in more parcels only                           0               0               0",
        "    region is not served                           0               0               0",
        "    sales are blocked                              0               0               0",
        "Parcels per order, mean                        1.000           1.000           1.000",
        "Orders in more than one parcel                 0.0 %           0.0 %           0.0 %",
        "Distance per parcel, mean                     0.0 km        359.9 km          0.0 km",
        "  95 of 100 are within                        0.0 km        359.9 km          0.0 km",
        "  parcels of unknown distance                      0               0               0",
        "Parcels from wh-rj                            50.0 %          50.0 %          50.0 %",
        "Parcels from wh-sp                            50.0 %          50.0 %          50.0 %",
        "Shares of stock taken differ by          40.0 points     40.0 points     40.0 points",
        "Orders served unlike in force                      2               -               2",
        "  from other warehouses                            2               -               2",
        "  served, and not in force                         0               -               0",
        "  not served, and in force                         0               -               0",
        "",
        "By region of delivery",
        "                                           as it was        in force         nearest",
        "north: orders                                      1               1               1",
        "  not served                                       0               0               0",
        "  parcels per order, mean                      1.000           1.000           1.000",
        "  distance per parcel, mean                   0.0 km        359.9 km          0.0 km",
        "  95 of 100 are within                        0.0 km        359.9 km          0.0 km",
        "south: orders                                      1               1               1",
        "  not served                                       0               0               0",
        "  parcels per order, mean                      1.000           1.000           1.000",
        "  distance per parcel, mean                   0.0 km        359.9 km          0.0 km",
        "  95 of 100 are within                        0.0 km        359.9 km          0.0 km",
        "",
        "A note.",
    ]
    assert " ".join(lines[-2:]) == (
        "These numbers are of simulated stock, with the postal areas, warehouses and closings of today; orders that "
        "were refused then are not in the books, and so not in here. Nothing was written."
    )


def test_what_a_contender_could_not_follow_is_said() -> None:
    done = simulated()
    for one, late_refused, missing in zip(done.contenders, (0, 1, 2_000), (0, 3_000, 1), strict=True):
        one.late_refused, one.stock.missing = late_refused, missing
    assert tables.report(done)[-6:-2] == [
        "in force: 1 late payment found the goods gone.",
        "in force: corrections took away 3,000 units that had been sold already.",
        "nearest: 2,000 late payments found the goods gone.",
        "nearest: corrections took away 1 unit that had been sold already.",
    ]


def test_the_table_fits_120_columns_however_many_contenders_and_long_names_there_are() -> None:
    names = [f"a-name-that-is-longer-than-any-column-{i}" for i in range(4)]
    lines = tables.report(simulated(names))
    assert max(map(len, lines)) <= 120
    assert len({len(line) for line in lines[3:22]}) == 1  # aligned on the right
    assert lines[2].count("\u2026") == 4


def test_orders_of_a_file_are_in_one_region_and_have_no_past() -> None:
    lines = tables.report(simulated(orders=[order(2), order(1)], since=False))
    assert lines[0] == "2 orders of the file, over what is free today."
    assert "By region of delivery" not in lines
    assert " ".join(lines[-2:]) == (
        "These numbers are of simulated stock: each order takes its units, none comes back and none comes in. "
        "Nothing was written."
    )


def test_the_warehouses_with_few_parcels_stand_in_one_row() -> None:
    figures = Figures(orders=300, parcels=Counter({f"wh-{i:03}": i + 1 for i in range(24)}))
    rows = tables._by_warehouse([figures])
    assert [label for label, _ in rows] == [*[f"Parcels from wh-{i:03}" for i in range(4, 24)], "Parcels from 4 others"]
    assert rows[-1][1] == ["3.3 %"]


# --- the picture ---------------------------------------------------------------------------------------------------


TRIED = picture.TRIED[0]


def texts(path: Path) -> set[str]:
    """What is written in an SVG."""
    tree = ElementTree.parse(path)  # noqa: S314  # a file of our own
    return {"".join(element.itertext()).strip() for element in tree.iter(f"{{{SVG}}}text")}


def test_the_picture_says_what_its_bars_are_and_is_the_same_each_time(tmp_path: Path) -> None:
    done = simulated(["$_nearest", "_x"])
    for name in ("one.svg", "two.svg"):
        picture.draw(done, tmp_path / name)
    assert texts(tmp_path / "one.svg") >= {
        "2 orders, simulated",
        *("parcels per order", "distance per parcel, km", "parcels by warehouse, %", "orders not served"),
        *("as it was", "in force", "$_nearest", "_x"),
        *("mean", "95 of 100 are within", SP, RJ),
        *("1.000", "360", "50", "0"),
    }
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_where_nothing_was_served_there_is_a_picture_too(tmp_path: Path) -> None:
    picture.draw(simulated(orders=[order(99)], since=False), tmp_path / "one.SVG")
    assert texts(tmp_path / "one.SVG") >= {"in force", "nearest", "-", "1"}


def test_the_bars_of_the_picture_are_as_high_as_their_figures(tmp_path: Path) -> None:
    done = simulated(["tried"], since=False)
    in_force, tried = done.contenders
    in_force.by_region = {"": Figures(orders=4, parcels=Counter({SP: 4}), distances=Counter({100.0: 4}))}
    tried.by_region = {"": Figures(orders=4, parcels=Counter({SP: 4, RJ: 4}), distances=Counter({50.0: 8}))}

    picture.draw(done, tmp_path / "one.svg")

    tree = ElementTree.parse(tmp_path / "one.svg")  # noqa: S314  # a file of our own
    bars = [rectangle.attrib for rectangle in tree.iter(f"{{{SVG}}}rect")]
    heights = {
        color: [float(bar["height"]) for bar in bars if bar["fill"] == color] for color in (picture.IN_FORCE, TRIED)
    }
    full = picture.BOTTOM - picture.TOP
    assert heights[picture.IN_FORCE][:3] == [full / 2, full, full]  # parcels per order, mean and 95 of 100
    assert heights[TRIED][:3] == [full, full / 2, full / 2]
    lengths = [float(bar["width"]) for bar in bars if bar["fill"] == TRIED][3:5]
    assert lengths[0] == lengths[1]


def test_a_name_that_xml_cannot_hold_does_not_break_the_picture(tmp_path: Path) -> None:
    picture.draw(simulated(["a<b&c\x07\udcff"]), tmp_path / "one.svg")
    assert "a<b&c??" in texts(tmp_path / "one.svg")


def test_the_small_warehouses_of_many_share_a_bar(tmp_path: Path) -> None:
    done = simulated(since=False)
    for contender in done.contenders:
        contender.by_region = {"": Figures(orders=110, parcels=Counter({f"wh-{i:02}": i for i in range(5, 15)}))}
    picture.draw(done, tmp_path / "one.svg")
    found = texts(tmp_path / "one.svg")
    assert {f"wh-{i:02}" for i in range(7, 15)} | {"2 others", "12"} <= found  # 5 and 6 of 95
    assert not {"wh-05", "wh-06"} & found
