"""The rule of every batch: a member that cannot be decided now leaves the batch, and the batch goes on.

A batch ties strangers together, so one row that somebody keeps locked would hold up all of them. After a lock time-out
a batch asks what its members need that is locked (SKIP LOCKED says so without waiting), refuses those members, and
decides the others. What was locked is remembered for some seconds. Meanwhile each batch of this process asks before it
locks, so that nobody waits for the same row a second time.
"""

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from threading import Lock
from typing import TypeVar

from prometheus_client import Counter

from inventory_project.foundation.failures import KeptWaiting, kept_waiting

Member = TypeVar("Member")
Needs = Mapping[Hashable, bool]  # what a member needs (products, reservations, orders), and whether each is locked
Look = Callable[[Sequence[Member]], list[Needs]]  # the needs of each member; it must not wait for a lock

REMEMBERED_SECONDS = 5.0  # since it was last found locked
MAX_REMEMBERED = 10_000

left_out = Counter(
    "inventory_batch_left_out", "Requests and messages that left their batch because a row they need was locked."
)


class Obstacles:
    """What was found locked lately in this process. Safe in any number of threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._until: dict[Hashable, float] = {}

    def __bool__(self) -> bool:
        return bool(self._until)

    def note(self, seen: Iterable[Needs]) -> None:
        """Remember what is locked, and forget what is free again."""
        now = time.monotonic()
        with self._lock:
            for needs in seen:
                for key, is_locked in needs.items():
                    if not is_locked:
                        self._until.pop(key, None)
                    elif len(self._until) < MAX_REMEMBERED:
                        self._until[key] = now + REMEMBERED_SECONDS
            self._until = {key: until for key, until in self._until.items() if until > now}

    def known(self, needs: Needs) -> Needs:
        """Those of the needs that were found locked lately."""
        return {key: is_locked for key, is_locked in needs.items() if key in self._until}


obstacles = Obstacles()


def refusals(seen: Sequence[Needs]) -> dict[int, KeptWaiting]:
    """A refusal for each member that needs something locked, by its position."""
    kept = [i for i, needs in enumerate(seen) if any(needs.values())]
    left_out.inc(len(kept))
    return {i: kept_waiting() for i in kept}
