"""Formats a simulation as plain text for a terminal: a column for each contender, at most 120 characters wide."""

from collections.abc import Callable, Sequence
from textwrap import wrap

from inventory_project.foundation import moments
from reservations.analysis.simulation.events import Reason
from reservations.analysis.simulation.figures import Figures
from reservations.analysis.simulation.replay import Contender
from reservations.analysis.simulation.run import Simulation

WIDTH = 120
LABEL_WIDTH = 36
MAX_CONTENDERS = 6  # more columns than these could not be read
MAX_WAREHOUSES = 20
REASONS: dict[Reason, str] = {
    "stock": "for lack of stock",
    "parcels": "in more parcels only",
    "region": "region is not served",
    "blocked": "sales are blocked",
}
Row = tuple[str, list[str]]  # its label, and a cell for each contender
Cell = Callable[[Figures], str]


def lines(simulation: Simulation) -> list[str]:
    """The lines of the whole report."""
    found = [_heading(simulation), "", *_table(simulation, _whole(simulation))]
    regions = sorted({region for contender in simulation.contenders for region in contender.by_region})
    if len(regions) > 1:
        found += ["", "By region of delivery", *_table(simulation, _by_region(simulation, regions))]
    sentences = [*simulation.notes, *_not_followed(simulation), _caveat(simulation)]
    return [*found, "", *[line for sentence in sentences for line in wrap(sentence, WIDTH)]]


def _heading(simulation: Simulation) -> str:
    orders = _count(simulation.orders, "order")
    if simulation.since is None or simulation.until is None:
        return f"{orders} of the file, over what is free today."
    since, until = (moments.utc_text(at.replace(microsecond=0)) for at in (simulation.since, simulation.until))
    return f"{orders} reserved from {since} to {until}, over the stock of that time."


def _table(simulation: Simulation, rows: Sequence[Row]) -> list[str]:
    names = [contender.name for contender in simulation.contenders]
    width = min(max(14, *map(len, names)), (WIDTH - LABEL_WIDTH) // len(names) - 2)
    heads = [name if len(name) <= width else f"{name[: width - 1]}\u2026" for name in names]
    return [
        f"{label:<{LABEL_WIDTH}}{''.join(f'  {cell:>{width}}' for cell in cells)}".rstrip()
        for label, cells in [("", heads), *rows]
    ]


# --- rows ----------------------------------------------------------------------------------------------------------


def _whole(simulation: Simulation) -> list[Row]:
    contenders = simulation.contenders
    totals = [contender.total for contender in contenders]
    return [
        _row("Orders", totals, lambda figures: f"{figures.orders:,}"),
        _row("  served", totals, lambda figures: f"{figures.served:,}"),
        _row("  not served", totals, lambda figures: f"{figures.refused.total():,}"),
        *[_of_reason(reason, totals) for reason in REASONS],
        _row("Parcels per order, mean", totals, _parcels_per_order),
        _row("Orders in more than one parcel", totals, lambda figures: _share(figures.several, figures.served)),
        _row("Distance per parcel, mean", totals, lambda figures: _km(figures.mean_km)),
        _row("  95 of 100 are within", totals, lambda figures: _km(figures.p95_km)),
        _row("  parcels of unknown distance", totals, lambda figures: f"{figures.unplaced:,}"),
        *_by_warehouse(totals),
        ("Shares of stock taken differ by", [_spread(contender) for contender in contenders]),
        *_differences(simulation),
    ]


def _row(label: str, figures: Sequence[Figures], cell: Cell) -> Row:
    return label, [cell(one) for one in figures]


def _of_reason(reason: Reason, totals: Sequence[Figures]) -> Row:
    return _row(f"    {REASONS[reason]}", totals, lambda figures: f"{figures.refused[reason]:,}")


def _by_warehouse(totals: Sequence[Figures]) -> list[Row]:
    """A row for each of the warehouses with the most parcels, in id order, and one row for all others."""
    parcels = {key: max(total.parcels[key] for total in totals) for total in totals for key in total.parcels}
    named = sorted(sorted(parcels, key=lambda key: (-parcels[key], key))[:MAX_WAREHOUSES])
    rows = [
        (_shortened(f"Parcels from {key}"), [_share(total.parcels[key], total.parcels.total()) for total in totals])
        for key in named
    ]
    if len(parcels) > len(named):
        rest = [total.parcels.total() - sum(total.parcels[key] for key in named) for total in totals]
        cells = [_share(units, total.parcels.total()) for units, total in zip(rest, totals, strict=True)]
        rows.append((f"Parcels from {len(parcels) - len(named):,} others", cells))
    return rows


def _differences(simulation: Simulation) -> list[Row]:
    differences = [contender.differences for contender in simulation.contenders]
    compared = [contender is not simulation.in_force for contender in simulation.contenders]

    def cells(counts: Sequence[int]) -> list[str]:
        return [f"{count:,}" if is_other else "-" for count, is_other in zip(counts, compared, strict=True)]

    return [
        ("Orders served unlike in force", cells([each.total for each in differences])),
        ("  from other warehouses", cells([each.moved for each in differences])),
        ("  served, and not in force", cells([each.gained for each in differences])),
        ("  not served, and in force", cells([each.lost for each in differences])),
    ]


def _by_region(simulation: Simulation, regions: Sequence[str]) -> list[Row]:
    rows = []
    for region in regions:
        figures = [contender.by_region.get(region, Figures()) for contender in simulation.contenders]
        name = _shortened(region or "(not known)")
        rows += [
            _row(f"{name}: orders", figures, lambda one: f"{one.orders:,}"),
            _row("  not served", figures, lambda one: f"{one.refused.total():,}"),
            _row("  parcels per order, mean", figures, _parcels_per_order),
            _row("  distance per parcel, mean", figures, lambda one: _km(one.mean_km)),
            _row("  95 of 100 are within", figures, lambda one: _km(one.p95_km)),
        ]
    return rows


# --- cells ---------------------------------------------------------------------------------------------------------


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _shortened(label: str) -> str:
    most = LABEL_WIDTH - len(": orders")
    return label if len(label) <= most else f"{label[: most - 1]}\u2026"


def _parcels_per_order(figures: Figures) -> str:
    return "-" if figures.parcels_per_order is None else f"{figures.parcels_per_order:.3f}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _km(distance_km: float | None) -> str:
    return "-" if distance_km is None else f"{distance_km:,.1f} km"


def _spread(contender: Contender) -> str:
    """The difference between the largest and the smallest share of stock taken, in percentage points."""
    shares = contender.stock.shares_taken().values()
    return f"{100 * (max(shares) - min(shares)):.1f} points" if shares else "-"


# --- what the numbers are not --------------------------------------------------------------------------------------


def _not_followed(simulation: Simulation) -> list[str]:
    """The events that a contender's stock could not follow, one sentence each."""
    sentences = []
    for contender in simulation.contenders:
        if contender.late_refused:
            payments = _count(contender.late_refused, "late payment")
            sentences.append(f"{contender.name}: {payments} found the goods gone.")
        if contender.stock.missing:
            units = _count(contender.stock.missing, "unit")
            sentences.append(f"{contender.name}: corrections removed {units} that had been sold already.")
    return sentences


def _caveat(simulation: Simulation) -> str:
    if simulation.since is None:
        return (
            "These numbers are of simulated stock: each order takes its units, none comes back and none comes in. "
            "Nothing was written."
        )
    return (
        "These numbers are of simulated stock, with the postal areas, warehouses and closings of today; orders that "
        "were refused then are not in the books, and so not in here. Nothing was written."
    )
