"""The rule of every batch: a member that cannot be decided now leaves the batch, and the batch goes on.

A batch has requests of unrelated callers, so one locked row would delay all of them. A batch therefore waits at most
MAX_WAIT_MS for each lock. If a lock is not free by then, the batch rolls back, looks at every row that its members need
(SKIP LOCKED, so without waiting), and starts again. A member is refused if the same transaction has had one of its rows
at two looks, at least KEPT_SECONDS apart; the others are decided. The process remembers for REMEMBERED_SECONDS what it
found locked, and meanwhile each of its batches looks before it locks.

A row that many orders sell from is locked at almost every look, but by another transaction each time. The batch goes on
waiting for it, for `batches.MAX_ROUNDS` at most.
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
KEPT_SECONDS = 1.0  # longer than a batch waits for its locks, decides under them and commits
REMEMBERED_SECONDS = 5.0  # since it was last found locked
MAX_REMEMBERED = 10_000

# PostgreSQL keeps the plans of prepared statements. Those made while the tables were empty would read whole tables
# until the first ANALYZE, and make a batch three times as slow. To the planner what is switched off is merely very
# costly, and it would compile so costly a plan. Without a generic plan it would plan a statement with a list
# again at each execution, because it expects ten values and gets one.
PLANNING = (
    "set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true), "
    "set_config('plan_cache_mode', 'force_generic_plan', true)"
)

left_out = Counter(
    "inventory_batch_left_out", "Requests and messages that left their batch because a row they need was locked."
)


@contextmanager
def first_statements() -> Iterator[None]:
    """Send the first statements of a batch's transaction together, as `database.pipelined` does.

    Until the transaction ends, each wait for a lock takes MAX_WAIT_MS at most; beyond that OperationalError (SQLSTATE
    55P03) is raised. Each statement finds its rows by an index.
    """
    with database.pipelined():
        if connection.vendor == "postgresql":
            database.execute(f"SELECT set_config('lock_timeout', '{MAX_WAIT_MS}', true), {PLANNING}")
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
