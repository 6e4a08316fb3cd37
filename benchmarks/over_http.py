"""Contenders behind HTTP, all asked by the same client: the service, and the bare service's textbook and empty view."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import median
from uuid import UUID

from benchmarks import bare, closed_loop, in_process, measure
from benchmarks.closed_loop import CPUByKind, Turn
from benchmarks.measure import Range
from benchmarks.scene import Scene, add_events_of_the_textbook
from benchmarks.stage import AS_IT_IS, BARE, WITHOUT_GROUP_COMMIT, WITHOUT_REDIS, Stage

EMPTY, TEXTBOOK, OURS = "bare empty view", "bare textbook", "ours"
OURS_WITHOUT_REDIS, OURS_ALONE = "ours without Redis", "ours, no group commit"
HOT, WARM, COLD = "hot", "warm", "cold"
SOLD_OUT, READ, READ_BULK, CONFIRM = "sold out", "read", "read of 20", "confirm"
BULK = "hot, 64 in a call"
ORDER = "order"  # what the empty view is sent where the others reserve or settle
MAIN_CONNECTIONS = 64
BULK_CONNECTIONS = 8  # 512 orders in progress
CONFIRMS_PER_SECOND = 6_000  # prepared for a turn; one that is quicker ends earlier
RESERVATIONS = "/api/inventory/reservations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Something to be measured. `source` makes the file that the script of wrk reads, outside the clock."""

    name: str
    scene: str
    path: str
    script: str
    source: Callable[[], Path]
    expected: int
    connections: int = MAIN_CONNECTIONS
    setup: str = AS_IT_IS
    empty: str = ORDER  # the scene in which the empty view is its measure


@dataclass(frozen=True, slots=True)
class Measured:
    """A contender with its turns, one for each round."""

    contender: Contender
    turns: list[Turn]

    @property
    def rates(self) -> list[float]:
        return [turn.per_second for turn in self.turns]

    @property
    def refused_share(self) -> float:
        refused = sum(turn.refused for turn in self.turns)
        return refused / (refused + sum(turn.as_expected for turn in self.turns))


Table = dict[tuple[str, str, int], Measured]  # by name, scene, connections


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one contender made of one scene; ratios are of the rates within a round."""

    name: str
    scene: str
    connections: int
    as_expected: int
    refused: int
    wrong: int
    unanswered: int
    per_second: Range
    p50_ms: Range
    p99_ms: Range
    cpu_seconds_per_1000: float
    cpu_by_kind_per_1000: CPUByKind
    times_textbook: Range | None
    of_empty: Range | None


# --- measuring -----------------------------------------------------------------------------------------------------


def run(contenders: Sequence[Contender], stage: Stage, *, rounds: int, seconds: float, warm_up_seconds: float) -> Table:
    """Measure all contenders in turns of so many seconds, after a shorter turn of each that does not count."""
    if warm_up_seconds:
        warm_up = partial(take_turn, stage=stage, seconds=warm_up_seconds)
        measure.in_turns(contenders, warm_up, rounds=1, title="Over HTTP, warming up")
    turn = partial(take_turn, stage=stage, seconds=seconds)
    seen = measure.in_turns(contenders, turn, rounds=rounds, title="Over HTTP")
    return {
        (one.name, one.scene, one.connections): Measured(one, turns)
        for one, turns in zip(contenders, seen, strict=True)
    }


def take_turn(contender: Contender, *, stage: Stage, seconds: float) -> Turn:
    """One contender's turn, with nothing else at work."""
    source = contender.source()
    stage.settle()
    turn = closed_loop.run(
        stage.url(contender.path, contender.setup),
        contender.script,
        source,
        connections=contender.connections,
        seconds=seconds,
        token=stage.token,
        expected=contender.expected,
        cpu_by_kind=partial(stage.cpu_seconds, contender.setup),
    )
    if contender.name == TEXTBOOK:
        add_events_of_the_textbook()
    return turn


def figures(table: Table) -> list[Figures]:
    """From turns to figures, in the order measured."""
    return [_of(measured, table) for measured in table.values()]


def _of(measured: Measured, table: Table) -> Figures:
    contender, turns = measured.contender, measured.turns
    by_the_book = table.get((TEXTBOOK, contender.scene, contender.connections))
    empty = table.get((EMPTY, contender.empty, contender.connections))
    is_compared = contender.name not in (EMPTY, TEXTBOOK)
    return Figures(
        name=contender.name,
        scene=contender.scene,
        connections=contender.connections,
        as_expected=sum(turn.as_expected for turn in turns),
        refused=sum(turn.refused for turn in turns),
        wrong=sum(turn.wrong for turn in turns),
        unanswered=sum(turn.unanswered for turn in turns),
        per_second=Range.of(measured.rates),
        p50_ms=Range.of([turn.p50_ms for turn in turns]),
        p99_ms=Range.of([turn.p99_ms for turn in turns]),
        cpu_seconds_per_1000=median(turn.cpu_seconds_per_1000 for turn in turns),
        cpu_by_kind_per_1000={
            kind: median(1_000 * turn.cpu_by_kind[kind] / turn.as_expected for turn in turns)
            for kind in turns[0].cpu_by_kind
        },
        times_textbook=measure.ratio(measured.rates, by_the_book.rates) if is_compared and by_the_book else None,
        of_empty=measure.ratio(measured.rates, empty.rates) if contender.name != EMPTY and empty else None,
    )


# --- contenders ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sources:
    """Files of products for wrk, each with the shares in which its products are wanted."""

    folder: Path
    by_scene: dict[str, Path]

    @classmethod
    def write(cls, folder: Path, *, hot: Scene, warm: Scene, cold: Scene, sold_out: Scene) -> "Sources":
        """One product; a thousand of which few are wanted most, after Zipf; ten thousand wanted alike; one sold out."""
        warm_weights = [1 / rank for rank in range(1, 1 + len(warm.product_ids))]
        weighed = {HOT: (hot, [1.0]), WARM: (warm, warm_weights), COLD: (cold, None), SOLD_OUT: (sold_out, [1.0])}
        by_scene = {}
        for name, (scene, weights) in weighed.items():
            by_scene[name] = folder / f"{name}.products"
            by_scene[name].write_text(shares(scene.product_ids, weights), encoding="ascii")
        return cls(folder, by_scene)

    def of(self, scene: str) -> Callable[[], Path]:
        """The file of a scene, as a contender's source."""
        return partial(self.by_scene.__getitem__, scene)

    def holds(self, scene: Scene, *, seconds: float) -> Path:
        """A file of new reservations, enough for a turn of confirming them."""
        path = self.folder / "reservations"
        batches = math.ceil(CONFIRMS_PER_SECOND * seconds / in_process.BATCH_SIZE)
        ids = [id_ for _ in range(batches) for id_ in in_process.held(scene)]
        path.write_text("".join(f"{id_}\n" for id_ in ids), encoding="ascii")
        return path


def shares(product_ids: Sequence[UUID], weights: Sequence[float] | None = None) -> str:
    """A line for each product: the share of all requests that goes to it and to those above it, and its id.

    Without weights all products are wanted equally often.
    """
    weights = weights or [1.0] * len(product_ids)
    total = sum(weights)
    pairs = zip(accumulate(weights), product_ids, strict=True)
    return "".join(f"{weight / total:.9f} {id_}\n" for weight, id_ in pairs)


def reserving(sources: Sources, connections: int) -> list[Contender]:
    """The empty view, then the textbook and the service with the hot product."""
    post = partial(_reserving, sources=sources, connections=connections)
    return [
        post(EMPTY, ORDER),
        post(TEXTBOOK, HOT),
        post(OURS, HOT),
    ]


def spread(sources: Sources) -> list[Contender]:
    """The textbook and the service where the orders want different products, at 64 connections."""
    return [_reserving(name, scene, sources=sources) for scene in (WARM, COLD) for name in (TEXTBOOK, OURS)]


def _reserving(name: str, scene: str, *, sources: Sources, connections: int = MAIN_CONNECTIONS) -> Contender:
    path = {EMPTY: bare.EMPTY, TEXTBOOK: bare.RESERVATIONS, OURS: RESERVATIONS}[name]
    return Contender(
        name=name,
        scene=scene,
        path=path,
        script="reserve",
        source=sources.of(HOT if scene == ORDER else scene),
        expected=200 if name == EMPTY else 201,
        connections=connections,
        setup=AS_IT_IS if name == OURS else BARE,
    )


def everything_else(sources: Sources, warm: Scene, *, seconds: float) -> list[Contender]:
    """Reserving one by one and in bulk, the sold-out rush, reads and confirming."""
    post = partial(Contender, script="reserve", path=RESERVATIONS)
    alone = partial(post, name=OURS_ALONE, expected=201, setup=WITHOUT_GROUP_COMMIT)
    rush = partial(post, scene=SOLD_OUT, source=sources.of(SOLD_OUT), expected=409)
    read = partial(Contender, scene=READ, script="read", source=sources.of(WARM), expected=200, empty=READ)
    read_bulk = partial(
        Contender, scene=READ_BULK, script="read_bulk", source=sources.of(WARM), expected=200, empty=READ_BULK
    )
    one, many = "/api/inventory/products/PRODUCT/availability", "/api/inventory/availability"
    return [
        alone(scene=HOT, source=sources.of(HOT)),
        alone(scene=COLD, source=sources.of(COLD)),
        Contender(
            name=OURS,
            scene=BULK,
            path=f"{RESERVATIONS}/bulk",
            script="reserve_bulk",
            source=sources.of(HOT),
            expected=201,
            connections=BULK_CONNECTIONS,
            empty="",  # a call of the empty view is not 64 orders
        ),
        rush(name=OURS),
        rush(name=OURS_WITHOUT_REDIS, setup=WITHOUT_REDIS),
        read(name=EMPTY, path=bare.EMPTY, setup=BARE),
        read(name=OURS, path=one),
        read(name=OURS_WITHOUT_REDIS, path=one, setup=WITHOUT_REDIS),
        read_bulk(name=EMPTY, path=bare.EMPTY, setup=BARE),
        read_bulk(name=OURS, path=many),
        read_bulk(name=OURS_WITHOUT_REDIS, path=many, setup=WITHOUT_REDIS),
        Contender(
            name=OURS,
            scene=CONFIRM,
            path=f"{RESERVATIONS}/RESERVATION/confirm",
            script="settle",
            source=partial(sources.holds, warm, seconds=seconds),
            expected=200,
        ),
    ]
