"""Contenders take turns, A B C A B C, so that what else the machine does falls on all of them alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from tqdm import tqdm

One = TypeVar("One")
Seen = TypeVar("Seen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What the rounds made of a figure. The median stands for it, which a neighbour's burst does not move."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Range":
        """The range of one value for each round."""
        return cls(median=median(values), lowest=min(values), highest=max(values))


def in_turns(contenders: Sequence[One], turn: Callable[[One], Seen], *, rounds: int, title: str) -> list[list[Seen]]:
    """What each contender's turns saw: a list of one for each round, in the order of the contenders."""
    seen: list[list[Seen]] = [[] for _ in contenders]
    with tqdm(total=rounds * len(contenders), desc=title, unit="turn", disable=None) as progress:
        for _ in range(rounds):
            for mine, contender in zip(seen, contenders, strict=True):
                mine.append(turn(contender))
                progress.update()
    return seen


def ratio(over: Sequence[float], under: Sequence[float]) -> Range:
    """One contender's values over another's, each divided within its round."""
    return Range.of([one / other for one, other in zip(over, under, strict=True)])
