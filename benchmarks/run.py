"""One run: build the scenes, measure part after part, audit the books, judge, print."""

import json
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import (
    allocation,
    day,
    events,
    fresh,
    growth,
    in_process,
    machine,
    over_http,
    profiling,
    report,
    scene,
    soak,
    stage,
    verdict,
)
from benchmarks.day import Day
from benchmarks.events import Events
from benchmarks.fresh import Fresh
from benchmarks.growth import Growth
from benchmarks.over_http import Contender
from benchmarks.profiling import Profile
from benchmarks.soak import Soak
from benchmarks.upkeep import Upkeep
from reservations import lifecycle
from reservations.analysis import audit
from stock.counters import sync

ALLOCATION, IN_PROCESS, OVER_HTTP, DAY, EVENTS, FRESH, GROWTH = PARTS = (
    "allocation", "in_process", "http", "day", "events", "fresh", "growth"
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured; `rate` in requests per second. `is_brief`: only the figures of the verdict over HTTP."""

    parts: tuple[str, ...] = PARTS
    is_quick: bool = False
    is_brief: bool = False
    rounds: int = 5
    seconds: float = 3.0
    warm_up_seconds: float = 1.0
    connections: tuple[int, ...] = (1, 8, 64, 256)
    profile_seconds: float = 10.0
    warm_products: int = 1_000
    cold_products: int = 10_000
    allocation_rounds: int = 10
    allocation_seconds: float = 0.5
    verb_rounds: int = 15
    verb_batches: int = 15
    rate: float = 300.0
    day_seconds: float = 60.0
    event_rounds: int = 3
    messages: int = 10_000
    rest_seconds: float = 30.0
    rest_rate: float = 20.0
    fresh_rounds: int = 1
    fresh_reservations: int = verdict.FRESH_RESERVATIONS
    growth_levels: tuple[int, int] = (10_000, 1_000_000)
    growth_rounds: int = 15
    growth_batches: int = 15
    soak_seconds: float = 0.0


QUICK = Scale(
    is_quick=True,
    rounds=1,
    seconds=0.3,
    warm_up_seconds=0.0,
    connections=(1, 64, 256),
    profile_seconds=1.0,
    warm_products=50,
    cold_products=200,
    allocation_rounds=2,
    allocation_seconds=0.05,
    verb_rounds=2,
    verb_batches=2,
    rate=100.0,
    day_seconds=1.0,
    event_rounds=1,
    messages=600,
    rest_seconds=2.0,
    fresh_reservations=500,
    growth_levels=(30, 300),
    growth_rounds=2,
    growth_batches=2,
)


@dataclass(slots=True)
class Found:
    """What the parts that ran have found."""

    allocations: list[allocation.Figures] | None = None
    verbs: list[in_process.Figures] | None = None
    table: over_http.Table | None = None
    upkeep: Upkeep | None = None
    profile: Profile | None = None
    fresh: Fresh | None = None
    day: Day | None = None
    soak: Soak | None = None
    events: Events | None = None
    growth: Growth | None = None
    damage: dict[str, Any] = field(default_factory=dict)

    def wrong_answers(self) -> int:
        """Requests that were answered as they should not be, or not at all."""
        turns = [turn for measured in (self.table or {}).values() for turn in measured.turns]
        told = [*turns, *(self.day.kinds if self.day else ()), *filter(None, (self.soak, self.fresh))]
        return sum(one.wrong + one.unanswered for one in told)


def run(scale: Scale) -> dict[str, Any]:
    """Measure, print the tables and the verdict; everything, JSON-ready."""
    began_at, load, stolen = datetime.now(UTC), machine.load(), machine.stolen_seconds()
    described, found = machine.describe(), Found()
    try:
        _measure(found, scale)
    except Exception:
        print(_tables(found))  # minutes of measuring are not to be lost with the part that failed
        raise
    noise = {"load_before": load, "stolen_cpu_seconds": round(machine.stolen_seconds() - stolen, 2)}
    judged = verdict.rows(
        allocations=found.allocations,
        table=found.table,
        kept_up=found.upkeep,
        fresh=found.fresh,
        verbs=found.verbs,
        growth=found.growth,
        soak=found.soak,
        events=found.events,
    )
    if not scale.is_brief:
        print("\n" + "\n".join(f"{name}: {value}" for name, value in (described | noise).items()) + "\n")
        print(_tables(found))
    print(_conclusion(found, judged, scale))
    return {
        "began_at": began_at.isoformat(),
        "scale": asdict(scale),
        "machine": described,
        "noise": noise,
        "allocation": [asdict(row) for row in found.allocations or ()],
        "in_process": [asdict(row) for row in found.verbs or ()],
        "over_http": [asdict(row) for row in over_http.figures(found.table or {})],
        "upkeep": asdict(found.upkeep) if found.upkeep else None,
        "profile": report.profile_text(found.profile).splitlines() if found.profile else None,
        "fresh": asdict(found.fresh) if found.fresh else None,
        "day": asdict(found.day) if found.day else None,
        "soak": asdict(found.soak) if found.soak else None,
        "events": asdict(found.events) if found.events else None,
        "growth": asdict(found.growth) if found.growth else None,
        "verdict": [asdict(row) for row in judged],
        "wrong_answers": found.wrong_answers(),
        "damage": json.loads(json.dumps(found.damage, default=str)),
    }


def _measure(found: Found, scale: Scale) -> None:
    if ALLOCATION in scale.parts:
        found.allocations = allocation.run(rounds=scale.allocation_rounds, seconds=scale.allocation_seconds)
    if scale.soak_seconds or set(scale.parts) - {ALLOCATION, FRESH, GROWTH}:
        _measure_scenes(found, scale)
        scene.add_events_of_the_textbook()
        events.drain()
        lifecycle.sweep()  # nobody else does, and a run may take longer than a hold lasts
        sync.sync(actor=scene.ACTOR)  # the textbook does not tell the counters
        found.damage = {one.invariant.name: one.rows for one in audit.run(with_counters=True) if one.count}
    if FRESH in scale.parts:
        found.fresh = fresh.run(rounds=scale.fresh_rounds, reservations=scale.fresh_reservations)
    if GROWTH in scale.parts:
        small, large = scale.growth_levels
        found.growth, damage = growth.run(
            small_levels=small, large_levels=large, rounds=scale.growth_rounds, batches_in_a_turn=scale.growth_batches
        )
        found.damage |= damage


def _measure_scenes(found: Found, scale: Scale) -> None:
    """The parts that work on the scenes of this database."""
    hot, warm, cold = scene.build([1, scale.warm_products, scale.cold_products])
    if IN_PROCESS in scale.parts:
        found.verbs = in_process.run([hot, warm], rounds=scale.verb_rounds, batches_in_a_turn=scale.verb_batches)
    if EVENTS in scale.parts:
        found.events = events.run(
            warm,
            rounds=scale.event_rounds,
            messages=scale.messages,
            rest_seconds=scale.rest_seconds,
            rest_per_second=scale.rest_rate,
        )
    if not scale.soak_seconds and not {OVER_HTTP, DAY} & set(scale.parts):
        return
    sold_out = scene.build_sold_out()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inventory-benchmark-")))
        sources = over_http.Sources.write(folder, hot=hot, warm=warm, cold=cold, sold_out=sold_out)
        _measure_served(found, scale, stack.enter_context(stage.build(folder)), sources, warm)


def _measure_served(
    found: Found, scale: Scale, served: stage.Stage, sources: over_http.Sources, warm: scene.Scene
) -> None:
    """The parts that call the service over HTTP."""
    contenders = _contenders(scale, sources, warm)
    if OVER_HTTP in scale.parts:
        found.table = over_http.run(
            contenders, served, rounds=scale.rounds, seconds=scale.seconds, warm_up_seconds=scale.warm_up_seconds
        )
        served.settle()
        found.upkeep = served.watch.result()
        if not scale.is_brief:
            found.profile = _profile(served, sources, seconds=scale.profile_seconds)
    if DAY in scale.parts:
        found.day = day.run(served, warm, rate=scale.rate, seconds=scale.day_seconds)
    if scale.soak_seconds:
        ours = [one for one in contenders if one.name == over_http.OURS and one.connections > 1]
        found.soak = soak.run(served, ours, seconds=scale.soak_seconds)


def _contenders(scale: Scale, sources: over_http.Sources, warm: scene.Scene) -> list[Contender]:
    """Those over HTTP; in a brief run only those that the verdict compares."""
    contenders = [
        *(one for connections in scale.connections for one in over_http.reserving(sources, connections)),
        *over_http.spread(sources),
        *over_http.everything_else(sources, warm, seconds=scale.seconds),
    ]
    if not scale.is_brief:
        return contenders
    compared = verdict.compared_keys()
    return [one for one in contenders if (one.name, one.scene, one.connections) in compared]


def _profile(served: stage.Stage, sources: over_http.Sources, *, seconds: float) -> Profile:
    """Of a web process while it sells the hot product."""
    *_, hot = over_http.reserving(sources, over_http.MAIN_CONNECTIONS)
    pid, *_ = served.web_workers()
    return profiling.run(
        pid,
        lambda load_seconds: over_http.take_turn(hot, stage=served, seconds=load_seconds),
        seconds=seconds,
        folder=served.folder,
    )


def _tables(found: Found) -> str:
    """What was measured, a block for each part."""
    blocks = []
    if found.allocations:
        blocks.append(report.allocation_table(found.allocations))
    if found.verbs:
        blocks.append(report.in_process_table(found.verbs))
    if found.table:
        figures = over_http.figures(found.table)
        blocks += [report.over_http_table(figures), report.cpu_table(figures)]
    if found.profile:
        blocks.append(report.profile_text(found.profile))
    if found.fresh:
        blocks.append(report.fresh_text(found.fresh))
    if found.day:
        blocks.append(report.day_table(found.day))
    if found.soak:
        blocks.append(report.soak_text(found.soak))
    if found.events:
        blocks.append(report.events_table(found.events))
    if found.growth:
        blocks.append(report.growth_table(found.growth))
    return "\n\n".join(blocks) + "\n"


def _conclusion(found: Found, judged: list[verdict.Row], scale: Scale) -> str:
    """The verdict on each figure, in a brief run on those that were measured, and whether all was right."""
    wrong = found.wrong_answers()
    rows = [row for row in judged if row.told] if scale.is_brief else judged
    return "\n".join(
        [
            *(
                ["A quick run, over less than is promised: nothing here is a figure to quote."]
                if scale.is_quick
                else []
            ),
            report.verdict_table(rows),
            f"{wrong:,} requests were answered wrongly or not at all." if wrong else "No answer was wrong.",
            f"The audit found damage: {found.damage}" if found.damage else "The audit found nothing.",
        ]
    )
