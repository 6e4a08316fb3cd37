"""A simulation as a picture: four panels side by side, a bar for each contender. Drawn without a screen.

The same figures make the same SVG file.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reservations.replay import Figures
from reservations.simulation import Simulation

logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its list of fonts in the middle of the table

AS_IT_WAS, IN_FORCE = "#8a8a8a", "#1764ab"  # as in the charts of docs/
TRIED = ("#c44e2b", "#d9a02f", "#3f8f5b", "#7d5ba6")
WAREHOUSES_SHOWN = 8
HEIGHT = 0.8  # of all bars of a warehouse together; the rest is the gap to the next
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "simulation",
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a `$` in a file's name begins no formula
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(simulation: Simulation, path: Path) -> None:
    """Write the picture, an SVG or a PNG by the path's ending, over what is there. Raises OSError where it cannot."""
    contenders = simulation.contenders
    colors = _colors(simulation)
    totals = [contender.total for contender in contenders]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(15, 4.6), layout="constrained")
        parcels, distances, warehouses, refused = figure.subplots(1, 4, width_ratios=(1, 1.3, 1.5, 1))
        means, counts = [total.parcels_per_order for total in totals], [total.refused.total() for total in totals]
        _bars(parcels, colors, means, form="{:.3f}")
        _frame(parcels, means, title="parcels per order")
        _distances(distances, totals, colors)
        _warehouses(warehouses, totals, colors)
        _bars(refused, colors, counts, form="{:,}")
        _frame(refused, counts, title="orders not served")
        refused.yaxis.set_major_locator(MaxNLocator(integer=True))
        # The first panel has one bar for each contender, in their order. A label that began with _ would not be shown.
        labels = [f" {contender.name}" for contender in contenders]
        figure.legend(parcels.patches, labels, loc="outside lower center", ncols=len(labels))
        figure.suptitle(f"{simulation.orders:,} orders, simulated")
        _settle(figure)
        metadata: dict[str, Any] = {"Date": None} if path.suffix.lower() == ".svg" else {}
        figure.savefig(path, dpi=120, metadata=metadata)


def _settle(figure: Figure) -> None:
    """Lay the panels out once, to round numbers: what the layout finds differs in its last digits from run to run."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(number, 4) for number in axes.get_position().bounds)
        axes.set_position((left, bottom, width, height))


def _colors(simulation: Simulation) -> list[str]:
    tried = iter(TRIED)
    return [
        AS_IT_WAS if contender.is_as_it_was else IN_FORCE if contender is simulation.in_force else next(tried)
        for contender in simulation.contenders
    ]


def _bars(axes: Axes, colors: Sequence[str], values: Sequence[float | None], *, form: str, at: float = 0) -> None:
    """A bar for each contender with its figure above; nothing where there is none."""
    for position, (color, value) in enumerate(zip(colors, values, strict=True)):
        bars = axes.bar(at + position, value or 0, width=0.85, color=color)
        axes.bar_label(bars, ["-" if value is None else form.format(value)], padding=2, fontsize=8)


def _frame(axes: Axes, values: Sequence[float | None], *, title: str) -> None:
    """The title, and a scale from 0 to a little above the highest bar, also where there is none."""
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_ylim(0, 1.1 * max(value or 0 for value in values) or 1)
    axes.yaxis.set_major_formatter("{x:,g}")


def _distances(axes: Axes, totals: Sequence[Figures], colors: Sequence[str]) -> None:
    means, p95s = [total.mean_km for total in totals], [total.p95_km for total in totals]
    middle, gap = (len(colors) - 1) / 2, len(colors) + 1
    _bars(axes, colors, means, form="{:,.0f}")
    _bars(axes, colors, p95s, form="{:,.0f}", at=gap)
    _frame(axes, [*means, *p95s], title="distance per parcel, km")
    axes.set_xticks([middle, gap + middle], ["mean", "95 of 100 are within"])
    axes.tick_params(axis="x", length=0)


def _warehouses(axes: Axes, totals: Sequence[Figures], colors: Sequence[str]) -> None:
    """The share of the parcels that each warehouse gave, the larger ones first, the small ones together."""
    parcels = [total.parcels for total in totals]
    most = {key: max(one[key] for one in parcels) for one in parcels for key in one}
    ids = sorted(most, key=lambda key: (-most[key], key))
    shown, rest = ids[:WAREHOUSES_SHOWN], ids[WAREHOUSES_SHOWN:]
    labels = [*shown, *([f"{len(rest)} others"] if rest else [])]
    for position, (one, color) in enumerate(zip(parcels, colors, strict=True)):
        counts = [*[one[key] for key in shown], *([sum(one[key] for key in rest)] if rest else [])]
        shares = [100 * count / max(1, one.total()) for count in counts]
        thickness = HEIGHT / len(colors)
        places = [row - HEIGHT / 2 + (position + 0.5) * thickness for row in range(len(labels))]
        bars = axes.barh(places, shares, height=thickness * 0.92, color=color)
        axes.bar_label(bars, fmt="{:.0f}", padding=2, fontsize=7)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_title("parcels by warehouse, %")
