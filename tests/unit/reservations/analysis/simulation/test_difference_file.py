"""The list of the orders that other policies would serve otherwise."""

import csv
from pathlib import Path

from reservations.analysis.simulation import replay
from reservations.analysis.simulation.difference_file import DifferenceFile
from reservations.analysis.simulation.events import Order
from reservations.analysis.simulation.figures import Difference
from tests.unit.reservations.analysis.simulation.scene import PRIORITY, RJ, SP, TO_RJ, TO_SP, A, B, contender, order
from warehouses.allocation.policies import Policy
from warehouses.allocation.terms import Line


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
