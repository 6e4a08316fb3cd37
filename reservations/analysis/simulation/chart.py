"""Draws a simulation as an SVG picture: four panels next to each other, with a bar for each contender.

The SVG is written directly, because a few bars do not justify a plotting library of 170 MB in every image. The same
figures give the same file.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from reservations.analysis.simulation.figures import Figures
from reservations.analysis.simulation.run import Simulation

AS_IT_WAS, IN_FORCE = "#8a8a8a", "#1764ab"  # as in the charts of docs/
TRIED = ("#c44e2b", "#d9a02f", "#3f8f5b", "#7d5ba6")
MAX_WAREHOUSES = 8
WIDTH, HEIGHT = 1_400, 620
TOP, BOTTOM = 90, 530  # of the panels; the highest bar fills the panel
PARCELS, DISTANCES, WAREHOUSES, REFUSED = (40, 250), (290, 660), (820, 1_100), (1_150, 1_360)  # left and right
LABEL_CHARACTERS = {"warehouse": 18, "contender": 28}  # that fit next to a bar, and in the legend

Values = Sequence[float | None]


def draw(simulation: Simulation, path: Path) -> None:
    """Write the picture, replacing an existing file. Raises OSError if it cannot be written."""
    colors = _colors(simulation)
    totals = [contender.total for contender in simulation.contenders]
    svg = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH} {HEIGHT}",
            "font-family": "sans-serif",
            "font-size": "12",
        },
    )
    _rectangle(svg, 0, 0, WIDTH, HEIGHT, "#ffffff")
    _text(svg, WIDTH / 2, 28, f"{simulation.orders:,} orders, simulated", size=16)
    _title(svg, PARCELS, "parcels per order")
    _columns(svg, PARCELS, [[total.parcels_per_order for total in totals]], colors, form="{:.3f}")
    _title(svg, DISTANCES, "distance per parcel, km")
    kilometres = [[total.mean_km for total in totals], [total.p95_km for total in totals]]
    _columns(svg, DISTANCES, kilometres, colors, form="{:,.0f}", names=("mean", "95 of 100 are within"))
    _title(svg, WAREHOUSES, "parcels by warehouse, %")
    _warehouses(svg, WAREHOUSES, totals, colors)
    _title(svg, REFUSED, "orders not served")
    _columns(svg, REFUSED, [[total.refused.total() for total in totals]], colors, form="{:,}")
    _legend(svg, [contender.name for contender in simulation.contenders], colors)
    ElementTree.indent(svg)
    path.write_bytes(ElementTree.tostring(svg, encoding="utf-8", xml_declaration=True) + b"\n")


def _colors(simulation: Simulation) -> list[str]:
    tried = iter(TRIED)
    return [
        AS_IT_WAS if contender.is_as_it_was else IN_FORCE if contender is simulation.in_force else next(tried)
        for contender in simulation.contenders
    ]


# --- panels --------------------------------------------------------------------------------------------------------


def _columns(
    svg: Element,
    panel: tuple[int, int],
    groups: Sequence[Values],
    colors: Sequence[str],
    *,
    form: str,
    names: Sequence[str] = (),
) -> None:
    """Draw vertical bars in groups, each with its figure above it, or a dash if there is none."""
    left, right = panel
    highest = max((value or 0 for values in groups for value in values), default=0) or 1
    width = (right - left) / (len(groups) * (len(colors) + 1) - 1)
    for group, values in enumerate(groups):
        start = left + group * (len(colors) + 1) * width
        for position, (color, value) in enumerate(zip(colors, values, strict=True)):
            height = (BOTTOM - TOP) * (value or 0) / highest
            x = start + position * width
            _rectangle(svg, x + 0.08 * width, BOTTOM - height, 0.84 * width, height, color)
            _text(svg, x + width / 2, BOTTOM - height - 4, "-" if value is None else form.format(value), size=10)
        if names:
            _text(svg, start + len(colors) * width / 2, BOTTOM + 18, names[group])
    _rectangle(svg, left, BOTTOM, right - left, 1, "#000000")


def _warehouses(svg: Element, panel: tuple[int, int], totals: Sequence[Figures], colors: Sequence[str]) -> None:
    """Draw each warehouse's share of the parcels, the largest first; small warehouses are combined."""
    left, right = panel
    parcels = [total.parcels for total in totals]
    most = {key: max(one[key] for one in parcels) for one in parcels for key in one}
    ids = sorted(most, key=lambda key: (-most[key], key))
    shown, rest = ids[:MAX_WAREHOUSES], ids[MAX_WAREHOUSES:]
    labels = [*shown, *([f"{len(rest)} others"] if rest else [])]
    shares = [
        [
            100 * count / max(1, one.total())
            for count in [*[one[key] for key in shown], *([sum(one[key] for key in rest)] if rest else [])]
        ]
        for one in parcels
    ]
    highest = max((share for row in shares for share in row), default=0) or 1
    row_height = (BOTTOM - TOP) / max(1, len(labels))
    thickness = 0.8 * row_height / len(colors)
    for row, label in enumerate(labels):
        y = TOP + row * row_height + 0.1 * row_height
        _text(svg, left - 8, y + 0.4 * row_height + 4, _short(label, "warehouse"), anchor="end")
        for position, (color, values) in enumerate(zip(colors, shares, strict=True)):
            length = (right - left - 30) * values[row] / highest
            _rectangle(svg, left, y + position * thickness, length, 0.92 * thickness, color)
            _text(svg, left + length + 4, y + (position + 0.5) * thickness + 3, f"{values[row]:.0f}", "start", size=8)
    _rectangle(svg, left, TOP, 1, BOTTOM - TOP, "#000000")


def _title(svg: Element, panel: tuple[int, int], title: str) -> None:
    _text(svg, sum(panel) / 2, TOP - 28, title, size=14)


def _legend(svg: Element, names: Sequence[str], colors: Sequence[str]) -> None:
    width = (WIDTH - 80) / len(names)
    for position, (name, color) in enumerate(zip(names, colors, strict=True)):
        x = 40 + position * width
        _rectangle(svg, x, HEIGHT - 36, 14, 14, color)
        _text(svg, x + 20, HEIGHT - 24, _short(name, "contender"), "start")


# --- elements ------------------------------------------------------------------------------------------------------


def _short(label: str, kind: str) -> str:
    limit = LABEL_CHARACTERS[kind]
    return label if len(label) <= limit else f"{label[: limit - 1]}\u2026"


def _rectangle(svg: Element, x: float, y: float, width: float, height: float, color: str) -> None:
    numbers = {"x": x, "y": y, "width": width, "height": height}
    SubElement(svg, "rect", {name: f"{value:.1f}" for name, value in numbers.items()} | {"fill": color})


def _text(svg: Element, x: float, y: float, text: str, anchor: str = "middle", *, size: int = 12) -> None:
    """Draw a text. Characters that XML does not allow, as in a file's name, become question marks."""
    element = SubElement(svg, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "font-size": str(size)})
    element.text = "".join(character if character.isprintable() else "?" for character in text)
