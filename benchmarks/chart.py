"""The chart of docs/concepts/performance.md: how rate and p99 follow the number of callers, from the JSON of a run."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "benchmarks"  # the same figures make the same file
mpl.rcParams["svg.fonttype"] = "none"  # text stays text

import matplotlib.pyplot as plt  # noqa: E402  # after the choice of what draws

LINES = (("bare empty view", "order", "#8a8a8a"), ("ours", "hot", "#1764ab"), ("bare textbook", "hot", "#c44e2b"))
LABELS = {
    "bare empty view": "bare empty DRF view",
    "ours": "this service, one product",
    "bare textbook": "bare textbook, one product",
}


def draw(results: Path, output: Path) -> None:
    """Write the SVG. Raises KeyError when the run did not measure over HTTP."""
    rows: list[dict[str, Any]] = json.loads(results.read_text(encoding="utf-8"))["over_http"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, scene, color in LINES:
        points = sorted((row for row in rows if (row["name"], row["scene"]) == (name, scene)), key=_connections)
        for axes, value in ((left, "per_second"), (right, "p99_ms")):
            axes.plot(
                [_connections(row) for row in points],
                [row[value]["median"] for row in points],
                marker="o",
                color=color,
                label=LABELS[name],
            )
    right.set_yscale("log")
    for axes, title in ((left, "answers per second"), (right, "p99 latency, ms")):
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({_connections(row) for row in rows}))
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_minor_formatter("")
        axes.set_xlabel("connections")
        axes.set_title(title)
        axes.grid(visible=True, alpha=0.3)
    left.set_ylim(bottom=0)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(LINES))
    figure.savefig(output, metadata={"Date": None})
    plt.close(figure)


def _connections(row: dict[str, Any]) -> int:
    return int(row["connections"])
