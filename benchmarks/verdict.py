"""What this service set out to show, held against what a run measured: reached, missed or not measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks import allocation, in_process, measure
from benchmarks.closed_loop import Turn
from benchmarks.events import Events
from benchmarks.growth import Growth
from benchmarks.measure import Range
from benchmarks.over_http import COLD, EMPTY, HOT, MAIN_CONNECTIONS, ORDER, OURS, READ, SOLD_OUT, TEXTBOOK, Table
from benchmarks.soak import Soak

Key = tuple[str, str, int]
SOAK_SECONDS = 600
MEMORY_BAR_MB = 150
DELAY_BAR_MS = 250
MAX_REFUSED = 0.01  # of a contender's requests; above it, its latencies are those of refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure, its bar and whether it was reached; `is_reached` is None where this run did not measure it."""

    figure: str
    bar: float
    unit: str
    wanted: str = ""  # the bar in words, where it is not a floor
    value: float | None = None
    told: str = ""
    is_reached: bool | None = None


def rows(
    *,
    allocations: Sequence[allocation.Figures] | None,
    table: Table | None,
    verbs: Sequence[in_process.Figures] | None,
    growth: Growth | None,
    soak: Soak | None,
    events: Events | None,
) -> list[Row]:
    """One row for each figure, in the order of the promise; a part that did not run is None."""
    return [
        *(_compared(row, over, under, by, table) for row, over, under, by in _comparisons()),
        _batches(verbs),
        _allocations(allocations),
        _grown(growth),
        _memory(soak),
        *_of_events(events),
    ]


def _comparisons() -> list[tuple[Row, Key, Key, Callable[[Turn], float]]]:
    def row(figure: str, bar: float) -> Row:
        return Row(figure=figure, bar=bar, unit="")

    def at(name: str, scene: str, connections: int = MAIN_CONNECTIONS) -> Key:
        return name, scene, connections

    hot, by_the_book = at(OURS, HOT), at(TEXTBOOK, HOT)
    return [
        (row("hot product, 64 connections, over HTTP: ours / textbook", 5), hot, by_the_book, _rate),
        (row("spread over 10,000 products: ours / textbook", 3), at(OURS, COLD), at(TEXTBOOK, COLD), _rate),
        (row("hot / spread, ours", 0.9), hot, at(OURS, COLD), _rate),
        (row("hot, ours / empty DRF view on the same server", 0.5), hot, at(EMPTY, ORDER), _rate),
        (row("p99 hot at 64 connections: textbook / ours", 4), by_the_book, hot, _p99),
        (row("sold-out refusals with the gate / empty DRF view", 0.7), at(OURS, SOLD_OUT), at(EMPTY, ORDER), _rate),
        (row("availability reads from counters / empty DRF view", 0.7), at(OURS, READ), at(EMPTY, READ), _rate),
        (row("lone caller, latency: textbook / ours", 1), at(TEXTBOOK, HOT, 1), at(OURS, HOT, 1), _p50),
    ]


def _rate(turn: Turn) -> float:
    return turn.per_second


def _p50(turn: Turn) -> float:
    return turn.p50_ms


def _p99(turn: Turn) -> float:
    return turn.p99_ms


def _compared(row: Row, over: Key, under: Key, by: Callable[[Turn], float], table: Table | None) -> Row:
    if table is None or over not in table or under not in table:
        return row
    found = measure.ratio([by(turn) for turn in table[over].turns], [by(turn) for turn in table[under].turns])
    judged = _judged(row, found)
    refused = max(table[over].refused_share, table[under].refused_share)
    if refused <= MAX_REFUSED:
        return judged
    return replace(judged, told=f"{judged.told}, but {refused:.1%} of the requests were refused", is_reached=False)


def _judged(row: Row, found: Range) -> Row:
    digits = 0 if row.unit else 2
    told = f"{found.median:,.{digits}f}{row.unit} ({found.lowest:,.{digits}f} to {found.highest:,.{digits}f})"
    return replace(row, value=found.median, told=told, is_reached=found.median >= row.bar)


def _batches(verbs: Sequence[in_process.Figures] | None) -> Row:
    """The scene in which it is slowest."""
    row = Row(figure="reserve_many, batches of 64, one core", bar=4_000, unit="/s")
    if verbs is None:
        return row
    found = [
        one.per_second
        for one in verbs
        if one.name == in_process.RESERVE_MANY and one.batch_size == in_process.BATCH_SIZE
    ]
    return _judged(row, min(found, key=lambda rate: rate.median))


def _allocations(found: Sequence[allocation.Figures] | None) -> Row:
    row = Row(figure=f"allocations among {allocation.WAREHOUSES} warehouses, one core", bar=5_000, unit="/s")
    if found is None:
        return row
    [typical] = [one.per_second for one in found if one.name == allocation.TYPICAL]
    return _judged(row, typical)


def _grown(growth: Growth | None) -> Row:
    row = Row(figure="1 million levels and 1 million holds / 10 thousand", bar=0.85, unit="")
    return row if growth is None else _judged(row, growth.large_to_small[in_process.RESERVE_MANY])


def _memory(soak: Soak | None) -> Row:
    wanted = f"flat, under {MEMORY_BAR_MB} MB"
    row = Row(figure="web worker's memory after 10 minutes of load", bar=MEMORY_BAR_MB, unit=" MB", wanted=wanted)
    if soak is None:
        return row
    told = f"{soak.largest_mb:.0f} MB after {soak.seconds:.0f} s, {soak.growth_share:+.1%} in its second half"
    is_reached = soak.is_flat and soak.largest_mb < MEMORY_BAR_MB if soak.seconds >= SOAK_SECONDS else None
    return replace(row, value=soak.largest_mb, told=told, is_reached=is_reached)


def _of_events(events: Events | None) -> list[Row]:
    consumed = Row(figure="orders consumed by one consumer", bar=1_500, unit="/s")
    times = Row(figure="one consumer: in batches / one message in a transaction", bar=5, unit="")
    published = Row(figure="events published by the relay", bar=3_000, unit="/s")
    delay = Row(
        figure="from request to published event at rest load, p99",
        bar=DELAY_BAR_MS,
        unit=" ms",
        wanted=f"under {DELAY_BAR_MS} ms",
    )
    if events is None:
        return [consumed, times, published, delay]
    return [
        _judged(consumed, events.consumed),
        _judged(times, events.times_one_by_one),
        _judged(published, events.published),
        replace(
            delay,
            value=events.delay_p99_ms,
            told=f"{events.delay_p99_ms:.0f} ms of {events.rest_events:,} events, p50 {events.delay_p50_ms:.0f} ms",
            is_reached=events.delay_p99_ms < DELAY_BAR_MS,
        ),
    ]


def sentence(row: Row) -> str:
    """The row for a person."""
    word = {True: "REACHED", False: "MISSED", None: "NOT MEASURED"}[row.is_reached]
    bar = row.wanted or f"at least {row.bar:,g}{row.unit}"
    return f"{word}: {row.figure}: {f'{row.told}; ' if row.told else ''}{bar}"
