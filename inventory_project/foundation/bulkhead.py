"""The rule of every batch: a member that cannot be decided now leaves the batch, and the batch goes on.

A batch ties strangers together, so one row that somebody keeps locked would hold up all of them. A batch therefore
waits briefly for a lock. If it is not free in time, the batch asks what its members need that is locked (SKIP LOCKED
says so without waiting) and starts again. Who needs a row that the same transaction has had at two looks is refused,
and the others are decided. What is kept locked is remembered for some seconds. Meanwhile each batch of this process
asks before it locks, so that nobody waits for the same row again.

A row that many sell from is locked at almost every look, each time by another transaction. Nobody keeps it, so it is
worth the wait. Nor do two batches take each other for an obstacle while both wait for a third: none of them has its
rows for longer than MAX_WAIT_MS.
"""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import NamedTuple, TypeVar

from django.db import connection
from prometheus_client import Counter

from inventory_project.foundation import database
from inventory_project.foundation.failures import KeptWaiting, kept_waiting

Member = TypeVar("Member")
Needs = Mapping[Hashable, int]  # what a member needs (levels, reservations, orders), and who has each locked
Look = Callable[[Sequence[Member]], list[Needs]]  # the needs of each member; it must not wait for a lock

FREE = 0  # otherwise the id of the transaction
UNKNOWN = -1  # locked by a transaction that PostgreSQL does not name
MAX_WAIT_MS = 300  # of a batch for one lock
KEPT_SECONDS = MAX_WAIT_MS / 1_000  # between two looks that find the same transaction
REMEMBERED_SECONDS = 5.0  # since it was last found locked
MAX_REMEMBERED = 10_000

left_out = Counter(
    "inventory_batch_left_out", "Requests and messages that left their batch because a row they need was locked."
)


@contextmanager
def locking() -> Iterator[None]:
    """Send the statements inside together, as `database.pipelined` does. Each waits MAX_WAIT_MS at most for a lock."""
    with database.pipelined():
        if connection.vendor == "postgresql":
            database.execute(f"SET LOCAL lock_timeout = {MAX_WAIT_MS}")
        yield


class _Found(NamedTuple):
    """Who has something locked, since when by this process's looks, and until when this is remembered."""

    holder: int
    since: float
    until: float


class Obstacles:
    """What this process has found locked lately. Safe in any number of threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: dict[Hashable, _Found] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def kept(self, seen: Sequence[Needs], *, has_waited: bool) -> list[Needs]:
        """Those of the needs that one transaction has kept locked for KEPT_SECONDS, by this look and earlier ones.

        What is free or has changed hands is forgotten. `has_waited`: the batch has met a lock that was not free in
        time, so what is locked at this look is remembered.
        """
        now = time.monotonic()
        with self._lock:
            for needs in seen:
                for key, holder in needs.items():
                    self._note(key, holder, now, is_new_noted=has_waited)
            self._found = {key: found for key, found in self._found.items() if found.until > now}
            return [{key: holder for key, holder in needs.items() if self._is_kept(key, now)} for needs in seen]

    def _note(self, key: Hashable, holder: int, now: float, *, is_new_noted: bool) -> None:
        found = self._found.get(key)
        if found is not None and found.holder == holder:
            self._found[key] = found._replace(until=now + REMEMBERED_SECONDS)
            return
        self._found.pop(key, None)
        if is_new_noted and holder != FREE and len(self._found) < MAX_REMEMBERED:
            self._found[key] = _Found(holder, now, now + REMEMBERED_SECONDS)

    def _is_kept(self, key: Hashable, now: float) -> bool:
        found = self._found.get(key)
        return found is not None and now - found.since >= KEPT_SECONDS


obstacles = Obstacles()


def refusals(kept: Sequence[Needs]) -> dict[int, KeptWaiting]:
    """A refusal for each member that needs something which is kept locked, by its position."""
    kept_waiting_at = [i for i, needs in enumerate(kept) if needs]
    left_out.inc(len(kept_waiting_at))
    return {i: kept_waiting() for i in kept_waiting_at}
