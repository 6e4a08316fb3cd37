"""Figures as tables in Markdown, which a terminal shows as well."""

from collections.abc import Sequence

from benchmarks import allocation, in_process, over_http
from benchmarks.day import Day
from benchmarks.events import Events
from benchmarks.fresh import Fresh
from benchmarks.growth import Growth
from benchmarks.measure import Range
from benchmarks.profiling import Profile
from benchmarks.soak import Soak
from benchmarks.verdict import Row


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows below their head, in columns of equal width."""
    cells = [head, *rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def verdict_table(rows: Sequence[Row]) -> str:
    """What was promised, what this run measured, and whether it holds."""
    words = {True: "REACHED", False: "MISSED", None: "NOT MEASURED"}
    return table(
        ("figure", "at least", "aim", "measured", "holds"),
        [
            [
                row.figure,
                row.wanted or f"{row.bar:,g}{row.unit}",
                "" if row.aim is None else f"{row.aim:g}",
                row.told,
                words[row.is_reached],
            ]
            for row in rows
        ],
    )


def over_http_table(figures: Sequence[over_http.Figures]) -> str:
    """What was measured over HTTP; the last column only where answers were not the expected ones."""
    head = (
        "contender", "scene", "connections", "per second", "slowest to fastest", "p50 ms", "p99 ms", "CPU s/1,000",
        "times the textbook", "of the empty view", "other answers",
    )  # fmt: skip
    return table(
        head,
        [
            [
                row.name,
                row.scene,
                str(row.connections),
                f"{row.per_second.median:,.0f}",
                _span(row.per_second),
                f"{row.p50_ms.median:.1f}",
                f"{row.p99_ms.median:.1f}",
                f"{row.cpu_seconds_per_1000:.2f}",
                _ratio(row.times_textbook, digits=1),
                _ratio(row.of_empty, digits=2),
                _others(refused=row.refused, wrong=row.wrong, unanswered=row.unanswered),
            ]
            for row in figures
        ],
    )


def cpu_table(figures: Sequence[over_http.Figures]) -> str:
    """CPU seconds of each kind of process for 1,000 answers, at 64 connections or in calls of 64 orders."""
    shown = [row for row in figures if row.connections == over_http.MAIN_CONNECTIONS or row.scene == over_http.BULK]
    kinds = list(shown[0].cpu_by_kind_per_1000) if shown else []
    return "CPU seconds for 1,000 answers, by kind of process.\n\n" + table(
        ("contender", "scene", *kinds),
        [[row.name, row.scene, *(f"{row.cpu_by_kind_per_1000[kind]:.3f}" for kind in kinds)] for row in shown],
    )


def allocation_table(figures: Sequence[allocation.Figures]) -> str:
    """How many orders were decided; a second is one of CPU time."""
    rows = [[row.name, f"{row.per_second.median:,.0f}", _span(row.per_second)] for row in figures]
    return (
        f"{allocation.WAREHOUSES} warehouses to choose from, a different town each time; nothing but the decision.\n\n"
        + table(("orders", "allocations per second", "slowest to fastest"), rows)
    )


def in_process_table(figures: Sequence[in_process.Figures]) -> str:
    """What was measured of the domain alone."""
    head = (
        "verb", "batch", "scene", "per second", "slowest to fastest", "p50 ms", "p99 ms", "CPU s/1,000",
        "times the textbook",
    )  # fmt: skip
    return table(
        head,
        [
            [
                row.name,
                str(row.batch_size),
                row.scene,
                f"{row.per_second.median:,.0f}",
                _span(row.per_second),
                f"{row.batch_p50_ms:.2f}",
                f"{row.batch_p99_ms:.2f}",
                f"{row.cpu_seconds_per_1000:.3f}",
                _ratio(row.times_textbook, digits=1),
            ]
            for row in figures
        ],
    )


def day_table(day: Day) -> str:
    """The checkout day, and what its client cost."""
    rows = [
        [
            kind.kind,
            f"{kind.as_expected:,}",
            f"{kind.p50_ms:.1f}",
            f"{kind.p99_ms:.1f}",
            f"{kind.longest_ms:.1f}",
            _others(refused=kind.refused, wrong=kind.wrong, unanswered=kind.unanswered),
        ]
        for kind in day.kinds
    ]
    return (
        f"A checkout day, {day.rate:,.0f} requests a second held for {day.seconds:g} s; latency from when each was due."
        f" The client took {day.client_cpu_share:.0%} of a core.\n\n"
        + table(("request", "answered", "p50 ms", "p99 ms", "longest ms", "other answers"), rows)
    )


def events_table(events: Events) -> str:
    """What one consumer and one relay did, and how long an event was on its way."""
    rows = [
        ["orders consumed, in batches", f"{events.consumed.median:,.0f}", _span(events.consumed)],
        [
            "orders consumed, one in a transaction",
            f"{events.consumed_one_by_one.median:,.0f}",
            _span(events.consumed_one_by_one),
        ],
        ["events published", f"{events.published.median:,.0f}", _span(events.published)],
    ]
    return (
        f"{events.messages:,} messages wait for one consumer, and the events of what it did for one relay.\n\n"
        + table(("what", "per second", "slowest to fastest"), rows)
        + f"\n\nAt {events.rest_per_second:g} reservations a second an event is with its listener "
        f"{events.delay_p50_ms:.0f} ms (p50), {events.delay_p99_ms:.0f} ms (p99) after the request."
    )


def growth_table(growth: Growth) -> str:
    """The verbs over small and large books, and what a sync of the large ones' counters took."""
    rows = [
        [
            small.name,
            f"{small.per_second.median:,.0f}",
            f"{large.per_second.median:,.0f}",
            f"{small.batch_p50_ms:.1f}",
            f"{large.batch_p50_ms:.1f}",
            f"{small.batch_p99_ms:.1f}",
            f"{large.batch_p99_ms:.1f}",
            _ratio(growth.large_to_small[small.name], digits=2),
        ]
        for small, large in zip(growth.small, growth.large, strict=True)
    ]
    small_name, large_name = f"{growth.small_levels:,}", f"{growth.large_levels:,}"
    head = (
        "verb, batches of 64", f"per second, {small_name}", f"{large_name}", f"p50 ms, {small_name}", f"{large_name}",
        f"p99 ms, {small_name}", f"{large_name}", "large / small",
    )  # fmt: skip
    sync = growth.sync
    return (
        f"Books of {small_name} and of {large_name} levels, as many ACTIVE reservations in each; the larger database "
        f"has {growth.large_megabytes:,} MB.\n\n"
        + table(head, rows)
        + f"\n\nA sync of {sync.levels:,} levels: {sync.into_empty_redis:.2f} s into an empty Redis, {sync.full:.2f} s "
        f"in full with nothing to repair, {sync.quiet:.2f} s the periodic one with nothing changed."
    )


def soak_text(soak: Soak) -> str:
    """The memory of the largest web process: at the start, in the middle and at the end."""
    return (
        f"The largest web process over {soak.seconds:,.0f} s and {soak.as_expected:,} requests: {soak.told}, "
        f"{soak.largest_mb:.0f} MB at most."
    )


def fresh_text(fresh: Fresh) -> str:
    """The first reservations of an installation, and those after an ANALYZE."""
    return (
        f"A fresh installation, {fresh.reservations:,} reservations over 1,000 products: {fresh.first.median:,.0f} a "
        f"second ({_span(fresh.first)}), then ANALYZE, then as many: {fresh.after_analyze.median:,.0f} "
        f"({_span(fresh.after_analyze)})."
    )


def profile_text(profile: Profile) -> str:
    """Where the time of a web process goes, by group and by function."""
    if profile.problem:
        return f"No profile: {profile.problem}\n"
    head = (
        f"A web process over {profile.seconds:g} s of the hot product at {over_http.MAIN_CONNECTIONS} connections, "
        f"{profile.per_second:,.0f} reservations a second while py-spy looked. Shares of each thread's time."
    )
    threads = list(profile.groups)
    names = list(dict.fromkeys(group for shares in profile.groups.values() for group in shares))
    rows = [[name, *(f"{profile.groups[thread].get(name, 0):.1%}" for thread in threads)] for name in names]
    functions = [[f"{share:.1%}", thread, group, name] for thread, group, name, share in profile.functions]
    return "\n\n".join(
        [
            head,
            table(("group", *threads), rows),
            "Single functions, by the time in themselves.",
            table(("share", "thread", "group", "function"), functions) + "\n",
        ]
    )


def _span(found: Range) -> str:
    return f"{found.lowest:,.0f} to {found.highest:,.0f}"


def _ratio(found: Range | None, *, digits: int) -> str:
    if found is None:
        return ""
    return f"{found.median:.{digits}f} ({found.lowest:.{digits}f} to {found.highest:.{digits}f})"


def _others(*, refused: int, wrong: int, unanswered: int) -> str:
    counts = {"refused": refused, "WRONG": wrong, "UNANSWERED": unanswered}
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
