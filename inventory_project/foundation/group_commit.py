"""Group commit: concurrent callers share one transaction. While one batch commits, the next one gathers behind it.

There is no extra thread and no timer. The first caller leads: it does the work for itself and for everyone who is
waiting by then. Afterwards the first of the callers that came meanwhile becomes the next leader. So a lone caller never
waits, and batches grow with the load. A caller is first QUEUED, then TAKEN into a batch, then DONE. The guarantees:

- A caller that gives up while QUEUED is never taken: its refusal means that nothing was done.
- A caller that gives up once TAKEN gets `outcome_unknown`.
- While the work is slow, the number of waiting callers is bounded. Further callers are rejected at once.
- No caller waits without a leader, whatever happens to the work or to the leader's thread.
"""

import copy
import itertools
import os
import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from prometheus_client import Counter, Histogram

from inventory_project.foundation.errors import Refusal, Unavailable

Request = TypeVar("Request")
Result = TypeVar("Result")

batch_size = Histogram(
    "inventory_group_commit_batch_size",
    "Requests that were decided together.",
    ["verb"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
wait_seconds = Histogram(
    "inventory_group_commit_wait_seconds",
    "How long a request waited until its batch began; 0 if no other request was in progress.",
    ["verb"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
turned_away = Counter(
    "inventory_group_commit_turned_away",
    "Requests that were rejected or timed out: queue_full, not_taken (in time), no_answer (in time).",
    ["verb", "reason"],
)

NO_ANSWER = Unavailable(
    "The work on this request was broken off or took too long; repeat the request to learn the outcome.",
    code="outcome_unknown",
)
_all: "WeakSet[GroupCommit[Any, Any]]" = WeakSet()  # of this process; a fork resets them in the child


class _Caller(Generic[Request, Result]):
    """One request in progress. It is QUEUED while it is in the queue, and DONE once its answer is set."""

    __slots__ = ("answer", "followers", "gate", "is_done", "request", "since", "waited")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.answer: Result | Exception = NO_ANSWER  # until the work sets the real one
        self.followers: list[_Caller[Request, Result]] = []  # the rest of the batch that this caller leads
        self.gate = Lock()  # held while waiting; released once, with the lead or with the answer
        self.is_done = False
        self.since = time.perf_counter()
        self.waited = 0.0


class GroupCommit(Generic[Request, Result]):
    """Gathers the callers of one verb into batches. `call` is safe in any number of threads, and after a fork.

    `work` gets the requests in the order of their arrival and returns an answer or a refusal for each. A batch has at
    most `max_batch` requests, whose `weight` adds up to `max_weight`; a heavier request is on its own. `max_waiting`
    bounds how many callers wait, QUEUED or TAKEN, once a batch takes longer than `slow_seconds`. A short hiccup rejects
    nobody. A thread calls `release_resources` before it waits, and the leader calls it after its work, so that no
    waiting thread keeps a resource such as a database connection.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Request]], Sequence[Result | Refusal]],
        *,
        max_batch: int,
        max_weight: int,
        weight: Callable[[Request], int],
        max_waiting: int,
        patience_seconds: float,
        work_seconds: float,
        slow_seconds: float = 0.0,
        release_resources: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._work, self._release_resources = work, release_resources
        self._max_batch, self._max_waiting = max_batch, max_waiting
        self._max_weight, self._weight = max_weight, weight
        self._patience_seconds, self._work_seconds, self._slow_seconds = patience_seconds, work_seconds, slow_seconds
        self._batch_size, self._wait_seconds = batch_size.labels(name), wait_seconds.labels(name)
        self.reset()
        _all.add(self)

    def reset(self) -> None:
        """Start with no callers. A forked child must do so: it has neither its parent's callers nor their locks."""
        self._lock = Lock()  # guards the queue, the taking of batches and the lead
        self._queue: list[_Caller[Request, Result]] = []
        self._leader: _Caller[Request, Result] | None = None
        self._began, self._took = time.perf_counter(), 0.0  # the current batch's start, the previous one's length

    def call(self, request: Request) -> Result:
        """Return the result of this request. Raises its refusal, or the error with which its whole batch failed.

        Unavailable `overloaded`: nothing was done. Too many callers are waiting, or `patience_seconds` have passed.
        Unavailable `outcome_unknown`: the request was taken, but its batch did not end within `work_seconds`.
        """
        caller: _Caller[Request, Result] = _Caller(request)
        try:
            if not self._join(caller):
                self._release_resources()
                self._wait(caller)
            if not caller.is_done:
                self._lead(caller)
        except BaseException:
            self._leave(caller)
            raise
        self._wait_seconds.observe(caller.waited)
        if isinstance(caller.answer, Exception):
            raise _own(caller.answer)
        return caller.answer

    def _join(self, caller: _Caller[Request, Result]) -> bool:
        """Make the caller the leader (True) or QUEUED (False). Raises Unavailable if too many callers are waiting."""
        with self._lock:
            if self._leader is None:
                self._leader = caller
                return True
            waiting = len(self._queue) + len(self._leader.followers)
            if waiting < self._max_waiting or not self._is_slow():
                caller.gate.acquire()
                self._queue.append(caller)
                return False
        turned_away.labels(self.name, "queue_full").inc()
        raise Unavailable("Too many requests are waiting; nothing was done.")

    def _is_slow(self) -> bool:
        return max(self._took, time.perf_counter() - self._began) > self._slow_seconds

    def _wait(self, caller: _Caller[Request, Result]) -> None:
        """Wait until the caller is DONE or leads. Raises Unavailable when this takes too long."""
        if caller.gate.acquire(timeout=self._patience_seconds):
            return
        with self._lock:  # the same lock as for taking a batch: a caller is either withdrawn or taken, never both
            if self._leader is caller:
                return
            is_queued = caller in self._queue
            if is_queued:
                self._queue.remove(caller)
        if is_queued:
            turned_away.labels(self.name, "not_taken").inc()
            raise Unavailable("The requests before this one take too long; nothing was done.")
        if not caller.gate.acquire(timeout=self._work_seconds):
            turned_away.labels(self.name, "no_answer").inc()
            raise _own(NO_ANSWER)

    def _lead(self, leader: _Caller[Request, Result]) -> None:
        """Do the work for all waiting callers, then pass on the lead. Log lines of it have the leader's request id."""
        batch = self._take(leader)
        try:
            answers = self._work([caller.request for caller in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"{self.name}: the work gave {len(answers)} answers to {len(batch)} requests.")
            for caller, answer in zip(batch, answers, strict=True):
                caller.answer = answer
        except Exception as error:
            for follower in leader.followers:
                follower.answer = error
            raise
        finally:
            self._release_resources()  # before the next leader needs them
            self._pass_on(leader)
        self._batch_size.observe(len(batch))

    def _take(self, leader: _Caller[Request, Result]) -> list[_Caller[Request, Result]]:
        with self._lock:
            number = self._number_that_fits(leader)
            leader.followers = self._queue[:number]
            del self._queue[:number]
            self._began = time.perf_counter()
        batch = [leader, *leader.followers]
        for caller in batch:
            caller.waited = self._began - caller.since
        return batch

    def _number_that_fits(self, leader: _Caller[Request, Result]) -> int:
        """How many of the queue, from its front, share a batch with the leader."""
        candidates = self._queue[: self._max_batch - 1]
        weights = [self._weight(caller.request) for caller in (leader, *candidates)]
        return sum(total <= self._max_weight for total in list(itertools.accumulate(weights))[1:])

    def _pass_on(self, leader: _Caller[Request, Result]) -> None:
        """Make the first caller in the queue the next leader, then wake this batch. Safe to call twice.

        The order matters: the next batch runs while the callers of this one write their responses.
        """
        with self._lock:
            if self._leader is leader:
                self._leader = self._queue.pop(0) if self._queue else None
                # If no caller waits, the next batch may be much later, and this one's length says nothing about it.
                self._took = time.perf_counter() - self._began if self._leader is not None else 0.0
                if self._leader is not None:
                    self._leader.gate.release()
        for follower in leader.followers:
            follower.is_done = True
            if follower.gate.locked():
                follower.gate.release()

    def _leave(self, caller: _Caller[Request, Result]) -> None:
        """Clean up after an exception in the caller's thread: it leaves the queue, and no caller waits for it."""
        with self._lock:
            if caller in self._queue:
                self._queue.remove(caller)
        self._pass_on(caller)


def _own(error: Exception) -> Exception:
    """A copy of the error for this thread only, because raising an exception writes a traceback into it."""
    try:
        mine = copy.copy(error)
    except Exception:  # its class cannot be rebuilt from `args`
        mine = RuntimeError(f"{type(error).__name__}: {error}")
    mine.__cause__ = error if error.__traceback__ else error.__cause__
    return mine


def _reset_all() -> None:
    for gatherer in _all:
        gatherer.reset()


os.register_at_fork(after_in_child=_reset_all)
