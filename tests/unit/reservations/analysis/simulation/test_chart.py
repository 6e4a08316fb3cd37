"""The picture: what its bars say, and that they are as high as their figures."""

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from reservations.analysis.simulation import chart
from reservations.analysis.simulation.figures import Figures
from tests.unit.reservations.analysis.simulation.scene import RJ, SP, order, simulated

SVG = "http://www.w3.org/2000/svg"
TRIED = chart.TRIED[0]


def texts(path: Path) -> set[str]:
    """What is written in an SVG."""
    tree = ElementTree.parse(path)  # noqa: S314  # a file of our own
    return {"".join(element.itertext()).strip() for element in tree.iter(f"{{{SVG}}}text")}


def test_the_picture_says_what_its_bars_are_and_is_the_same_each_time(tmp_path: Path) -> None:
    done = simulated(["$_nearest", "_x"])
    for name in ("one.svg", "two.svg"):
        chart.draw(done, tmp_path / name)
    assert texts(tmp_path / "one.svg") >= {
        "2 orders, simulated",
        *("parcels per order", "distance per parcel, km", "parcels by warehouse, %", "orders not served"),
        *("as it was", "in force", "$_nearest", "_x"),
        *("mean", "95 of 100 are within", SP, RJ),
        *("1.000", "360", "50", "0"),
    }
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_where_nothing_was_served_there_is_a_picture_too(tmp_path: Path) -> None:
    chart.draw(simulated(orders=[order(99)], since=False), tmp_path / "one.SVG")
    assert texts(tmp_path / "one.SVG") >= {"in force", "nearest", "-", "1"}


def test_the_bars_of_the_picture_are_as_high_as_their_figures(tmp_path: Path) -> None:
    done = simulated(["tried"], since=False)
    in_force, tried = done.contenders
    in_force.by_region = {"": Figures(orders=4, parcels=Counter({SP: 4}), distances=Counter({100.0: 4}))}
    tried.by_region = {"": Figures(orders=4, parcels=Counter({SP: 4, RJ: 4}), distances=Counter({50.0: 8}))}

    chart.draw(done, tmp_path / "one.svg")

    tree = ElementTree.parse(tmp_path / "one.svg")  # noqa: S314  # a file of our own
    bars = [rectangle.attrib for rectangle in tree.iter(f"{{{SVG}}}rect")]
    heights = {
        color: [float(bar["height"]) for bar in bars if bar["fill"] == color] for color in (chart.IN_FORCE, TRIED)
    }
    full = chart.BOTTOM - chart.TOP
    assert heights[chart.IN_FORCE][:3] == [full / 2, full, full]  # parcels per order, mean and 95 of 100
    assert heights[TRIED][:3] == [full, full / 2, full / 2]
    lengths = [float(bar["width"]) for bar in bars if bar["fill"] == TRIED][3:5]
    assert lengths[0] == lengths[1]


def test_a_name_that_xml_cannot_hold_does_not_break_the_picture(tmp_path: Path) -> None:
    chart.draw(simulated(["a<b&c\x07\udcff"]), tmp_path / "one.svg")
    assert "a<b&c??" in texts(tmp_path / "one.svg")


def test_the_small_warehouses_of_many_share_a_bar(tmp_path: Path) -> None:
    done = simulated(since=False)
    for contender in done.contenders:
        contender.by_region = {"": Figures(orders=110, parcels=Counter({f"wh-{i:02}": i for i in range(5, 15)}))}
    chart.draw(done, tmp_path / "one.svg")
    found = texts(tmp_path / "one.svg")
    assert {f"wh-{i:02}" for i in range(7, 15)} | {"2 others", "12"} <= found  # 5 and 6 of 95
    assert not {"wh-05", "wh-06"} & found
