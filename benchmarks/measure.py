"""Runs contenders in turns, A B C A B C, so that what else the machine does falls on all of them alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

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
class Round:
    """One contender's turn: the seconds that each batch took, and the CPU seconds of this process in all of them."""

    batch_seconds: list[float]
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Series:
    """All turns of one contender."""

    contender: Contender
    rounds: list[Round] = field(default_factory=list)


def run(contenders: Sequence[Contender], *, rounds: int) -> list[Series]:
    """Measure all contenders in turns; a first round warms up and does not count."""
    series = [Series(contender) for contender in contenders]
    with tqdm(total=(rounds + 1) * len(series), desc="Measuring", unit="turn", disable=None) as progress:
        for n in range(rounds + 1):
            for one in series:
                turn = _turn(one.contender)
                if n > 0:
                    one.rounds.append(turn)
                progress.update()
    return series


def _turn(contender: Contender) -> Round:
    batches = contender.prepare(contender.batches)
    granted: list[int] = []
    batch_seconds: list[float] = []
    cpu_began = time.process_time()
    for batch in batches:
        began = time.perf_counter()
        granted.append(batch())
        batch_seconds.append(time.perf_counter() - began)
    cpu_seconds = time.process_time() - cpu_began
    # A refusal is quicker than a reservation, and would pass for speed.
    assert granted == [contender.batch_size] * contender.batches, f"{contender.name} refused: {granted}"
    return Round(batch_seconds, cpu_seconds)
