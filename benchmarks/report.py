"""From seconds to figures, and from figures to a table, a verdict and JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks.in_process import BATCH_SIZE, TEXTBOOK
from benchmarks.measure import Round, Series

BAR_PER_SECOND = 2_000  # reservations, in batches of 64, in one process


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one contender made of one scene.

    `per_second` is that of the median round, which a neighbour's burst on the machine does not move. Each ratio is to
    the textbook's turn in the same round, and the median of them stands first.
    """

    name: str
    scene: str
    batch_size: int
    requests: int
    per_second: float
    per_second_slowest_round: float
    per_second_fastest_round: float
    batch_p50_ms: float
    batch_p99_ms: float
    cpu_seconds_per_1000: float
    ratio: float | None
    ratio_lowest: float | None
    ratio_highest: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The slowest scene of `reserve_many` in batches of 64, held against the bar."""

    per_second: float
    bar_per_second: int
    is_met: bool


def figures(series: Sequence[Series]) -> list[Figures]:
    """One for each series, in their order."""
    by_the_book = {one.contender.scene: one for one in series if one.contender.name == TEXTBOOK}
    return [_of(one, by_the_book[one.contender.scene]) for one in series]


def _of(series: Series, textbook: Series) -> Figures:
    contender = series.contender
    rates = [_rate(turn, contender.batch_size) for turn in series.rounds]
    milliseconds = [1_000 * seconds for turn in series.rounds for seconds in turn.batch_seconds]
    requests = len(milliseconds) * contender.batch_size
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    ratios = []
    if contender.name == "reserve_many":
        ratios = [ours / _rate(turn, 1) for ours, turn in zip(rates, textbook.rounds, strict=True)]
    return Figures(
        name=contender.name,
        scene=contender.scene,
        batch_size=contender.batch_size,
        requests=requests,
        per_second=median(rates),
        per_second_slowest_round=min(rates),
        per_second_fastest_round=max(rates),
        batch_p50_ms=cuts[49],
        batch_p99_ms=cuts[98],
        cpu_seconds_per_1000=1_000 * sum(turn.cpu_seconds for turn in series.rounds) / requests,
        ratio=median(ratios) if ratios else None,
        ratio_lowest=min(ratios, default=None),
        ratio_highest=max(ratios, default=None),
    )


def _rate(turn: Round, batch_size: int) -> float:
    return len(turn.batch_seconds) * batch_size / sum(turn.batch_seconds)


def verdict(rows: Sequence[Figures]) -> Verdict:
    """Whether the slowest scene reaches the bar."""
    slowest = min(row.per_second for row in rows if row.name == "reserve_many" and row.batch_size == BATCH_SIZE)
    return Verdict(per_second=slowest, bar_per_second=BAR_PER_SECOND, is_met=slowest >= BAR_PER_SECOND)


def sentence(judged: Verdict) -> str:
    """The verdict for a person."""
    return (
        f"{'REACHED' if judged.is_met else 'MISSED'}: {judged.per_second:,.0f} reservations/s in batches of "
        f"{BATCH_SIZE} where it is slowest; the bar is {judged.bar_per_second:,}/s."
    )


def table(rows: Sequence[Figures]) -> str:
    """A Markdown table, which a terminal shows as well."""
    head = ("verb", "batch", "scene", "per second", "slowest to fastest round", "p50 ms", "p99 ms", "CPU s/1,000")
    cells = [[*head, "times the textbook"]]
    for row in rows:
        cells.append(
            [
                row.name,
                str(row.batch_size),
                row.scene,
                f"{row.per_second:,.0f}",
                f"{row.per_second_slowest_round:,.0f} to {row.per_second_fastest_round:,.0f}",
                f"{row.batch_p50_ms:.2f}",
                f"{row.batch_p99_ms:.2f}",
                f"{row.cpu_seconds_per_1000:.3f}",
                _times(row),
            ]
        )
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _times(row: Figures) -> str:
    if row.ratio is None:
        return ""
    return f"{row.ratio:.1f} ({row.ratio_lowest:.1f} to {row.ratio_highest:.1f})"
