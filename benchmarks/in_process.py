"""Contenders that call the domain directly: one process, one thread, one connection, no HTTP."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from statistics import quantiles
from typing import TypeVar
from uuid import UUID

from django.conf import settings

from benchmarks import measure, textbook
from benchmarks.measure import Range
from benchmarks.scene import ACTOR, Scene
from inventory_project import startup
from inventory_project.foundation import batches
from inventory_project.foundation.database import database_now
from reservations import lifecycle
from reservations.models import Reservation
from reservations.requests import Cancel, Confirm, Outcome, Reserve

BATCH_SIZE = 64
ALONE = 4  # batches of one request for each batch of 64 in a turn
RESERVE_MANY, TEXTBOOK = "reserve_many", "textbook"
Request = TypeVar("Request")
Batch = Callable[[], int]  # does the work of one batch; returns how many of its requests were granted


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Something to be measured. `prepare(n)` makes n batches of `batch_size` requests, outside the clock."""

    name: str
    scene: str
    batch_size: int
    batches: int  # in a round
    prepare: Callable[[int], Sequence[Batch]]


@dataclass(frozen=True, slots=True)
class Turn:
    """The seconds that each batch took, and the CPU seconds of this process in all of them."""

    batch_seconds: list[float]
    cpu_seconds: float

    @property
    def batches_per_second(self) -> float:
        return len(self.batch_seconds) / sum(self.batch_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one contender made of one scene; `times_textbook` where it is compared with the textbook."""

    name: str
    scene: str
    batch_size: int
    requests: int
    per_second: Range
    batch_p50_ms: float
    batch_p99_ms: float
    cpu_seconds_per_1000: float
    times_textbook: Range | None


# --- measuring -----------------------------------------------------------------------------------------------------


def run(scenes: Sequence[Scene], *, rounds: int, batches_in_a_turn: int) -> list[Figures]:
    """Measure all contenders in all scenes; a first round warms up and does not count."""
    startup.warm_up()
    fighters = [one for scene in scenes for one in contenders(scene, batches_in_a_turn=batches_in_a_turn)]
    measure.in_turns(fighters, take_turn, rounds=1, title="In process, warming up")
    seen = measure.in_turns(fighters, take_turn, rounds=rounds, title="In process")
    by_the_book = {one.scene: turns for one, turns in zip(fighters, seen, strict=True) if one.name == TEXTBOOK}
    return [
        figures(
            one.name, one.scene, one.batch_size, turns, by_the_book[one.scene] if one.name == RESERVE_MANY else None
        )
        for one, turns in zip(fighters, seen, strict=True)
    ]


def take_turn(contender: Contender) -> Turn:
    """One contender's turn."""
    prepared = contender.prepare(contender.batches)
    granted: list[int] = []
    batch_seconds: list[float] = []
    cpu_began = time.process_time()
    for batch in prepared:
        began = time.perf_counter()
        granted.append(batch())
        batch_seconds.append(time.perf_counter() - began)
    cpu_seconds = time.process_time() - cpu_began
    # A refusal is quicker than a reservation, and would pass for speed.
    assert granted == [contender.batch_size] * contender.batches, f"{contender.name} refused: {granted}"
    return Turn(batch_seconds, cpu_seconds)


def figures(
    name: str, scene: str, batch_size: int, turns: Sequence[Turn], by_the_book: Sequence[Turn] | None = None
) -> Figures:
    """From seconds to figures, compared with the textbook's turns in the same rounds if these are given."""
    rates = [turn.batches_per_second * batch_size for turn in turns]
    milliseconds = [1_000 * seconds for turn in turns for seconds in turn.batch_seconds]
    requests = len(milliseconds) * batch_size
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    return Figures(
        name=name,
        scene=scene,
        batch_size=batch_size,
        requests=requests,
        per_second=Range.of(rates),
        batch_p50_ms=cuts[49],
        batch_p99_ms=cuts[98],
        cpu_seconds_per_1000=1_000 * sum(turn.cpu_seconds for turn in turns) / requests,
        times_textbook=measure.ratio(rates, [turn.batches_per_second for turn in by_the_book]) if by_the_book else None,
    )


# --- contenders ----------------------------------------------------------------------------------------------------


def contenders(scene: Scene, *, batches_in_a_turn: int) -> list[Contender]:
    """Every verb in batches; reserving also alone, both ways."""
    alone = partial(Contender, scene=scene.name, batch_size=1, batches=ALONE * batches_in_a_turn)
    reserve, *others = in_batches(scene, batches_in_a_turn=batches_in_a_turn)
    return [
        reserve,
        alone(name=TEXTBOOK, prepare=partial(_textbook, scene)),
        alone(name=RESERVE_MANY, prepare=partial(_reservations, scene, 1)),
        *others,
    ]


def in_batches(scene: Scene, *, batches_in_a_turn: int) -> list[Contender]:
    """Every verb in batches of 64, reserving first."""
    together = partial(Contender, scene=scene.name, batch_size=BATCH_SIZE, batches=batches_in_a_turn)
    return [
        together(name=RESERVE_MANY, prepare=partial(_reservations, scene, BATCH_SIZE)),
        together(name="confirm_many", prepare=partial(_confirmations, scene)),
        together(name="cancel_many", prepare=partial(_cancellations, scene)),
        together(name="sweep", prepare=partial(_expiries, scene)),
    ]


def held(scene: Scene, count: int = BATCH_SIZE) -> list[UUID]:
    """The ids of new reservations."""
    requests = scene.requests(count)
    return [batches.result_of(answer).hold.id for answer in lifecycle.reserve_many(requests)]


def _granted(verb: Callable[[Sequence[Request]], list[lifecycle.Answer]], requests: Sequence[Request]) -> int:
    return sum(isinstance(answer, Outcome) and not answer.is_replay for answer in verb(requests))


def _reservations(scene: Scene, batch_size: int, count: int) -> list[Batch]:
    return [partial(_granted, lifecycle.reserve_many, scene.requests(batch_size)) for _ in range(count)]


def _textbook(scene: Scene, count: int) -> list[Batch]:
    return [partial(_by_the_book, request) for request in scene.requests(count)]


def _by_the_book(request: Reserve) -> int:
    [item] = request.items
    textbook.reserve(
        order_id=request.order_id,
        product_id=item.product_id,
        quantity=item.quantity,
        ttl_minutes=settings.RESERVATION_TTL_MAX_MINUTES,
    )
    return 1


def _confirmations(scene: Scene, count: int) -> list[Batch]:
    return [
        partial(_granted, lifecycle.confirm_many, [Confirm(reservation_id=id_, actor=ACTOR) for id_ in held(scene)])
        for _ in range(count)
    ]


def _cancellations(scene: Scene, count: int) -> list[Batch]:
    return [
        partial(_granted, lifecycle.cancel_many, [Cancel(reservation_id=id_, actor=ACTOR) for id_ in held(scene)])
        for _ in range(count)
    ]


def _expiries(scene: Scene, count: int) -> list[Batch]:
    for _ in range(count):
        # Waiting for the end of a hold would take a minute at least.
        overdue = database_now() - timedelta(seconds=1)
        Reservation.objects.filter(pk__in=held(scene)).update(expires_at=overdue)
    return [_sweep_once] * count


def _sweep_once() -> int:
    return lifecycle.sweep(size=BATCH_SIZE, should_stop=lambda: True).released
