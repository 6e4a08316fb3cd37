"""Memory under load: does a web process, after many requests of every kind, need more than after the first ones?"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from tqdm import tqdm

from benchmarks import machine, over_http
from benchmarks.closed_loop import Turn
from benchmarks.over_http import Contender
from benchmarks.stage import Stage

TURN_SECONDS = 5.0
FLAT_SHARE = 0.03  # how much more the last quarter may need than the second


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What the web processes had in RAM, each sample that of the largest of them; `as_expected` of all requests.

    The first sample is from before the first request, the others from after each turn.
    """

    seconds: float
    as_expected: int
    wrong: int
    unanswered: int
    samples_mb: list[float]
    largest_mb: float
    growth_share: float  # from the second quarter of the samples to the last one
    is_flat: bool

    @property
    def told(self) -> str:
        """The memory at the start, in the middle and at the end."""
        first, *_, last = self.samples_mb
        middle = self.samples_mb[len(self.samples_mb) // 2]
        return f"{first:.0f} MB at the start, {middle:.0f} in the middle, {last:.0f} at the end"


def run(stage: Stage, contenders: Sequence[Contender], *, seconds: float) -> Soak:
    """Go round the contenders for so long, and look at the memory after each turn."""
    turn_seconds = min(TURN_SECONDS, seconds / 8)
    began = time.monotonic()
    turns: list[Turn] = []
    samples = [_largest_mb(stage)]
    with tqdm(total=round(seconds), desc="Soaking", unit="s", disable=None) as progress:
        while time.monotonic() < began + seconds:
            contender = contenders[len(turns) % len(contenders)]
            turns.append(over_http.take_turn(contender, stage=stage, seconds=turn_seconds))
            samples.append(_largest_mb(stage))
            progress.update(round(time.monotonic() - began) - progress.n)
    quarter = max(1, len(samples) // 4)
    growth = fmean(samples[-quarter:]) / fmean(samples[quarter : 2 * quarter] or samples) - 1
    return Soak(
        seconds=seconds,
        as_expected=sum(turn.as_expected for turn in turns),
        wrong=sum(turn.wrong for turn in turns),
        unanswered=sum(turn.unanswered for turn in turns),
        samples_mb=[round(sample, 1) for sample in samples],
        largest_mb=max(samples),
        growth_share=growth,
        is_flat=growth <= FLAT_SHARE,
    )


def _largest_mb(stage: Stage) -> float:
    return max(machine.resident_mb(pid) for pid in stage.web_workers())
