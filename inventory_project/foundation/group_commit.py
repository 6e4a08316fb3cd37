"""Concurrent callers share one piece of work: while one batch commits, the callers of the next gather behind it.

No thread of its own and no timer. The first caller leads: it does the work for itself and for all who wait by then, and
makes the first of those who came meanwhile the next leader. So a lone caller waits for nobody, and the busier it gets,
the larger the batches are. A caller is QUEUED, TAKEN into a batch, then DONE. What it promises:

- who gives up while QUEUED is never taken: its refusal means that nothing was done;
- who gives up once TAKEN hears that the outcome is not known;
- while the work is slow, no more than a bounded number wait, and who comes then is sent away at once;
- nobody waits without a leader, whatever the work or the leader's thread dies of.
"""

import copy
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
    "How long a request waited until its batch began; 0 for the one that was alone.",
    ["verb"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
turned_away = Counter(
    "inventory_group_commit_turned_away",
    "Requests whose caller was sent away: queue_full, not_taken (in time), no_answer (in time).",
    ["verb", "reason"],
)

NO_ANSWER = Unavailable(
    "The work on this request was broken off or took too long; repeat the request to learn the outcome.",
    code="outcome_unknown",
)
_all: "WeakSet[GroupCommit[Any, Any]]" = WeakSet()  # of this process, to begin anew after a fork


class _Caller(Generic[Request, Result]):
    """One request under way. QUEUED is who stands in the queue; DONE is who has been told."""

    __slots__ = ("answer", "followers", "gate", "is_done", "request", "since", "waited")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.answer: Result | Exception = NO_ANSWER  # until the work has given one
        self.followers: list[_Caller[Request, Result]] = []  # the rest of the batch that this caller leads
        self.gate = Lock()  # held while waiting; opened once with the lead, or once with the answer
        self.is_done = False
        self.since = time.perf_counter()
        self.waited = 0.0


class GroupCommit(Generic[Request, Result]):
    """Gathers the callers of one verb; `call` is safe in any number of threads, and after a fork.

    `work` takes requests in the order of their arrival and gives an answer or a refusal for each. `max_waiting` bounds
    those who wait, QUEUED or TAKEN, once a batch takes longer than `slow_seconds`: a moment's hiccup sends nobody away.
    `let_go` is called by a thread before it waits, and by the leader after its work: it gives back what nobody should
    keep while waiting, such as a database connection.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Request]], Sequence[Result | Refusal]],
        *,
        max_batch: int,
        max_waiting: int,
        patience_seconds: float,
        work_seconds: float,
        slow_seconds: float = 0.0,
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._work, self._let_go = work, let_go
        self._max_batch, self._max_waiting = max_batch, max_waiting
        self._patience_seconds, self._work_seconds, self._slow_seconds = patience_seconds, work_seconds, slow_seconds
        self._batch_size, self._wait_seconds = batch_size.labels(name), wait_seconds.labels(name)
        self.reset()
        _all.add(self)

    def reset(self) -> None:
        """Nobody is here: how a process begins. Its parent's callers, and the locks they held, are not in a child."""
        self._lock = Lock()  # decides who is QUEUED, who is taken and who leads
        self._queue: list[_Caller[Request, Result]] = []
        self._leader: _Caller[Request, Result] | None = None
        self._began, self._took = time.perf_counter(), 0.0  # the batch in hand, and the one before it

    def call(self, request: Request) -> Result:
        """The result of this request. Raises its refusal, or what the whole batch failed with.

        Unavailable `overloaded`: nothing was done, for too many wait already or this one waited for `patience_seconds`.
        Unavailable `outcome_unknown`: it was taken, and the batch has not ended within `work_seconds`.
        """
        caller: _Caller[Request, Result] = _Caller(request)
        try:
            if not self._join(caller):
                self._let_go()
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
        """Whether the caller leads at once; otherwise it is QUEUED."""
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
        """Until the caller is DONE or leads."""
        if caller.gate.acquire(timeout=self._patience_seconds):
            return
        with self._lock:  # under which a batch is taken too: a caller is either withdrawn or taken, and never both
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
        """Do the work for all who wait, and pass on the lead. What is logged meanwhile has the leader's request id."""
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
            self._let_go()  # before the next leader needs it
            self._pass_on(leader)
        self._batch_size.observe(len(batch))

    def _take(self, leader: _Caller[Request, Result]) -> list[_Caller[Request, Result]]:
        with self._lock:
            leader.followers = self._queue[: self._max_batch - 1]
            del self._queue[: self._max_batch - 1]
            self._began = time.perf_counter()
        batch = [leader, *leader.followers]
        for caller in batch:
            caller.waited = self._began - caller.since
        return batch

    def _pass_on(self, leader: _Caller[Request, Result]) -> None:
        """Make the first in the queue the next leader, then tell the batch. May be repeated.

        In this order, so that the next batch is at work while this one's callers write their responses.
        """
        with self._lock:
            if self._leader is leader:
                self._leader = self._queue.pop(0) if self._queue else None
                # With nobody behind it, how long a batch took says nothing about the next one, whenever that comes.
                self._took = time.perf_counter() - self._began if self._leader is not None else 0.0
                if self._leader is not None:
                    self._leader.gate.release()
        for follower in leader.followers:
            follower.is_done = True
            if follower.gate.locked():
                follower.gate.release()

    def _leave(self, caller: _Caller[Request, Result]) -> None:
        """However the caller's thread was stopped: it is not in the queue, and nobody waits for it."""
        with self._lock:
            if caller in self._queue:
                self._queue.remove(caller)
        self._pass_on(caller)


def _own(error: Exception) -> Exception:
    """A copy that this thread alone raises, for raising writes the thread's traceback into the exception."""
    try:
        mine = copy.copy(error)
    except Exception:  # its class is not made from what it keeps in `args`
        mine = RuntimeError(f"{type(error).__name__}: {error}")
    mine.__cause__ = error if error.__traceback__ else error.__cause__
    return mine


def _reset_all() -> None:
    for gatherer in _all:
        gatherer.reset()


os.register_at_fork(after_in_child=_reset_all)
