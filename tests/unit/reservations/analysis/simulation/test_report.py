"""The table at the terminal."""

from collections import Counter

from reservations.analysis.simulation import report
from reservations.analysis.simulation.figures import Figures
from tests.unit.reservations.analysis.simulation.scene import order, simulated


def test_the_table_has_every_figure_of_every_contender() -> None:
    lines = report.lines(simulated())
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
    assert report.lines(done)[-6:-2] == [
        "in force: 1 late payment found the goods gone.",
        "in force: corrections removed 3,000 units that had been sold already.",
        "nearest: 2,000 late payments found the goods gone.",
        "nearest: corrections removed 1 unit that had been sold already.",
    ]


def test_the_table_fits_120_columns_however_many_contenders_and_long_names_there_are() -> None:
    names = [f"a-name-that-is-longer-than-any-column-{i}" for i in range(4)]
    lines = report.lines(simulated(names))
    assert max(map(len, lines)) <= 120
    assert len({len(line) for line in lines[3:22]}) == 1  # aligned on the right
    assert lines[2].count("\u2026") == 4


def test_orders_of_a_file_are_in_one_region_and_have_no_past() -> None:
    lines = report.lines(simulated(orders=[order(2), order(1)], since=False))
    assert lines[0] == "2 orders of the file, over what is free today."
    assert "By region of delivery" not in lines
    assert " ".join(lines[-2:]) == (
        "These numbers are of simulated stock: each order takes its units, none comes back and none comes in. "
        "Nothing was written."
    )


def test_the_warehouses_with_few_parcels_stand_in_one_row() -> None:
    figures = Figures(orders=300, parcels=Counter({f"wh-{i:03}": i + 1 for i in range(24)}))
    rows = report._by_warehouse([figures])
    assert [label for label, _ in rows] == [*[f"Parcels from wh-{i:03}" for i in range(4, 24)], "Parcels from 4 others"]
    assert rows[-1][1] == ["3.3 %"]
