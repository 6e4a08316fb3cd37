"""The rule of every batch: a member that cannot be decided now leaves the batch, and the batch goes on.

A batch ties strangers together, so one row that somebody keeps locked would hold up all of them. After a lock time-out
a batch asks what its members need that is locked (SKIP LOCKED says so without waiting), refuses those members, and
decides the others. What was locked is remembered for some seconds. Meanwhile each batch of this process asks before it
locks, so that nobody waits for the same row a second time.

A row that many sell from is locked at almost every look, each time by another transaction. Nobody keeps it, so it is
worth the wait. Only a row that the same transaction has at two looks is kept.
"""

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from threading import Lock
from typing import TypeVar

from prometheus_client import Counter

from inventory_project.foundation.failures import KeptWaiting, kept_waiting

Member = TypeVar("Member")
Needs = Mapping[Hashable, int]  # what a member needs (levels, reservations, orders), and who has each locked
Look = Callable[[Sequence[Member]], list[Needs]]  # the needs of each member; it must not wait for a lock

FREE = 0  # otherwise the id of the transaction
UNKNOWN = -1  # locked by a transaction that PostgreSQL does not name
REMEMBERED_SECONDS = 5.0  # since it was last found locked
MAX_REMEMBERED = 10_000
LOOK_AGAIN_SECONDS = 0.05  # after the first look; a batch keeps its rows locked for less

left_out = Counter(
    "inventory_batch_left_out", "Requests and messages that left their batch because a row they need was locked."
)


class Obstacles:
    """What was found locked lately in this process, and by whom. Safe in any number of threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: dict[Hashable, tuple[int, float]] = {}  # by whom it is locked, and until when this is remembered

    def __bool__(self) -> bool:
        return bool(self._found)

    def note(self, seen: Iterable[Needs]) -> None:
        """Remember what is locked, and forget what is free again."""
        now = time.monotonic()
        with self._lock:
            for needs in seen:
                for key, holder in needs.items():
                    if holder == FREE:
                        self._found.pop(key, None)
                    elif key in self._found or len(self._found) < MAX_REMEMBERED:
                        self._found[key] = (holder, now + REMEMBERED_SECONDS)
            self._found = {key: (holder, until) for key, (holder, until) in self._found.items() if until > now}

    def kept(self, seen: Sequence[Needs]) -> list[Needs]:
        """Those of the needs that the transaction of an earlier look still has locked. The others are forgotten."""
        kept: list[Needs] = [
            {key: holder for key, holder in needs.items() if self._has_kept(holder, key)} for needs in seen
        ]
        self.note([{key: kept_.get(key, FREE) for key in needs} for needs, kept_ in zip(seen, kept, strict=True)])
        return kept

    def _has_kept(self, holder: int, key: Hashable) -> bool:
        return holder != FREE and self._found.get(key, (FREE, 0.0))[0] == holder


obstacles = Obstacles()


def refusals(kept: Sequence[Needs]) -> dict[int, KeptWaiting]:
    """A refusal for each member that needs something which is kept locked, by its position."""
    kept_waiting_at = [i for i, needs in enumerate(kept) if needs]
    left_out.inc(len(kept_waiting_at))
    return {i: kept_waiting() for i in kept_waiting_at}
