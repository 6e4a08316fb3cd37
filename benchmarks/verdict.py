"""What this service set out to show, held against what a run measured: reached, missed or not measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks import allocation, in_process, measure, upkeep
from benchmarks.closed_loop import Turn
from benchmarks.events import Events
from benchmarks.fresh import Fresh
from benchmarks.growth import Growth
from benchmarks.measure import Range
from benchmarks.over_http import (
    BULK,
    BULK_CONNECTIONS,
    COLD,
    EMPTY,
    HOT,
    MAIN_CONNECTIONS,
    ORDER,
    OURS,
    READ,
    SOLD_OUT,
    TEXTBOOK,
    Table,
)
from benchmarks.soak import Soak
from benchmarks.upkeep import Upkeep

Key = tuple[str, str, int]
MANY_CONNECTIONS = 256
SOAK_SECONDS = 600
FRESH_RESERVATIONS = 100_000
MEMORY_BAR_MB = 150
DELAY_BAR_MS = 250
MAX_REFUSED = 0.01  # of a contender's requests; above it, its latencies are those of refusals
MAX_DEAD_SHARE = 0.5  # of a table's rows; each event is a dead row once it is published, until autovacuum comes by


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure, its bar, what is aimed at, and whether the bar was reached: None where this run did not measure it."""

    figure: str
    bar: float
    unit: str = ""
    aim: float | None = None
    wanted: str = ""  # the bar in words, where it is not a floor
    value: float | None = None
    told: str = ""
    is_reached: bool | None = None


def rows(
    *,
    allocations: Sequence[allocation.Figures] | None,
    table: Table | None,
    kept_up: Upkeep | None,
    fresh: Fresh | None,
    verbs: Sequence[in_process.Figures] | None,
    growth: Growth | None,
    soak: Soak | None,
    events: Events | None,
) -> list[Row]:
    """One row for each figure, in the order of the promise; a part that did not run is None."""
    return [
        *(_compared(row, over, under, by, table) for row, over, under, by in _comparisons()),
        _first(fresh),
        _memory(soak),
        _kept_up(kept_up),
        _batches(verbs),
        _allocations(allocations),
        _grown(growth),
        *_of_events(events),
    ]


def compared_keys() -> set[Key]:
    """The contenders over HTTP that the rows compare, by name, scene and connections."""
    return {key for _, over, under, _ in _comparisons() for key in (over, under)}


def _comparisons() -> list[tuple[Row, Key, Key, Callable[[Turn], float]]]:
    def row(figure: str, bar: float, aim: float | None = None) -> Row:
        return Row(figure=figure, bar=bar, aim=aim)

    def at(name: str, scene: str, connections: int = MAIN_CONNECTIONS) -> Key:
        return name, scene, connections

    hot, cold, by_the_book = at(OURS, HOT), at(OURS, COLD), at(TEXTBOOK, HOT)
    empty, bulk, many = at(EMPTY, ORDER), at(OURS, BULK, BULK_CONNECTIONS), at(OURS, HOT, MANY_CONNECTIONS)
    return [
        (row("hot product, 64 connections: ours / bare textbook", 8, 15), hot, by_the_book, _rate),
        (row("spread over 10,000 products: ours / bare textbook", 5, 8), cold, at(TEXTBOOK, COLD), _rate),
        (row("hot: ours / bare empty DRF view", 1, 1.5), hot, empty, _rate),
        (row("p99 hot at 64 connections: bare textbook / ours", 12, 25), by_the_book, hot, _p99),
        (row("lone caller, latency: bare textbook / ours", 1.2, 2), at(TEXTBOOK, HOT, 1), at(OURS, HOT, 1), _p50),
        (row("availability reads: ours / bare empty DRF view", 4, 7), at(OURS, READ), at(EMPTY, READ), _rate),
        (row("sold-out refusals: ours / bare empty DRF view", 3, 5), at(OURS, SOLD_OUT), empty, _rate),
        (row("bulk reserve of 64: orders a second / single at 64 connections", 1.5, 2), bulk, hot, _rate),
        (row("256 connections: rate / rate at 64", 1, 1.2), many, hot, _rate),
        (row("hot / spread, ours", 0.9), hot, cold, _rate),
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


def _first(fresh: Fresh | None) -> Row:
    row = Row(figure="first 100,000 reservations on a new installation / after ANALYZE", bar=0.9, aim=1)
    if fresh is None:
        return row
    judged = _judged(row, fresh.first_to_after_analyze)
    return judged if fresh.reservations >= FRESH_RESERVATIONS else replace(judged, is_reached=None)


def _kept_up(found: Upkeep | None) -> Row:
    """The events are published in any case: a run that waits two minutes for them ends with an error."""
    wanted = f"autovacuum ran, dead rows at most {MAX_DEAD_SHARE:.0%}"
    row = Row(figure="relay and autovacuum kept up with all turns", bar=MAX_DEAD_SHARE, wanted=wanted)
    if found is None:
        return row
    told = (
        f"at most {found.largest_backlog:,} events waited after a turn, everything was done after "
        f"{found.longest_settling_seconds:.1f} s; {found.autovacuums} autovacuums, {found.autoanalyzes} autoanalyzes, "
        f"dead rows at most {found.dead_share:.0%}"
    )
    has_kept_up = found.autovacuums > 0 and found.dead_share <= MAX_DEAD_SHARE
    is_reached = has_kept_up if found.seconds >= upkeep.AUTOVACUUM_SECONDS else None
    return replace(row, value=found.dead_share, told=told, is_reached=is_reached)


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
    row = Row(figure="1 million levels and 1 million holds / 10 thousand", bar=0.85)
    return row if growth is None else _judged(row, growth.large_to_small[in_process.RESERVE_MANY])


def _memory(soak: Soak | None) -> Row:
    wanted = f"flat, under {MEMORY_BAR_MB} MB"
    row = Row(figure="web process memory after 10 minutes of load", bar=MEMORY_BAR_MB, unit=" MB", wanted=wanted)
    if soak is None:
        return row
    told = f"{soak.told} of {soak.seconds:.0f} s; {soak.growth_share:+.1%} in the second half"
    is_reached = soak.is_flat and soak.largest_mb < MEMORY_BAR_MB if soak.seconds >= SOAK_SECONDS else None
    return replace(row, value=soak.largest_mb, told=told, is_reached=is_reached)


def _of_events(events: Events | None) -> list[Row]:
    consumed = Row(figure="orders consumed by one consumer", bar=1_500, unit="/s")
    times = Row(figure="one consumer: in batches / one message in a transaction", bar=5)
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
