"""Gathers concurrent requests into batches: group commit for the verbs, one look at the counters for the reads.

Requests come on the event loop, and a thread works on one batch at a time. While it does, the next batch gathers. No
timer waits for more requests: a lone request is worked on at once, and batches grow with the load. A request is first
QUEUED, then TAKEN into a batch, then DONE. The guarantees:

- A request that is refused while QUEUED is never taken: its refusal means that nothing was done.
- A request that is given up once TAKEN gets `outcome_unknown`.
- The number of waiting requests is bounded. Further requests are refused at once.
- No request waits without anything working on the queue, whatever happens to the work.

All of this changes on the loop's thread only, so there are no locks. A request is TAKEN before the thread gets it.
"""

import asyncio
import contextvars
import copy
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Generic, TypeVar

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


class _Pending(Generic[Request, Result]):
    """One request in progress, and the context that its log lines belong to."""

    __slots__ = ("answer", "context", "request", "since")

    def __init__(self, request: Request, answer: "asyncio.Future[Result | Exception]") -> None:
        self.request = request
        self.answer = answer
        self.context = contextvars.copy_context()
        self.since = time.perf_counter()


class Gatherer(Generic[Request, Result]):
    """Gathers the requests of one kind into batches. `call`, `ask` and `ask_many` belong to one event loop.

    `work` runs in a thread of its own. It gets the requests in the order of their arrival and returns an answer or a
    refusal for each. A batch has at most `max_batch` requests, whose `weight` adds up to `max_weight`; a heavier
    request is on its own. `max_waiting` bounds how many requests are QUEUED. `executor`, if it is given, runs the work.
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
        executor: Executor | None = None,
    ) -> None:
        self.name = name
        self.executor = executor or ThreadPoolExecutor(1, thread_name_prefix=name)
        self._work = work
        self._max_batch, self._max_weight, self._weight = max_batch, max_weight, weight
        self._max_waiting = max_waiting
        self._patience_seconds, self._work_seconds = patience_seconds, work_seconds
        self._batch_size, self._wait_seconds = batch_size.labels(name), wait_seconds.labels(name)
        self._queue: deque[_Pending[Request, Result]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None

    async def call(self, request: Request) -> Result:
        """Return the result of this request. Raises its refusal, or the error with which its whole batch failed.

        Unavailable `overloaded`: nothing was done. Too many requests are waiting, or `patience_seconds` have passed.
        Unavailable `outcome_unknown`: the request was taken, but its batch did not end within `work_seconds`.
        """
        answer = await self._join(request)
        if isinstance(answer, Exception):
            raise _copy_for_one(answer)
        return answer

    async def ask(self, request: Request) -> Result | Exception:
        """Return the result, or the refusal or error as a value. Callers may share it: do not raise or change it."""
        return await self._join(request)

    async def ask_many(self, requests: Sequence[Request]) -> list[Result | Exception]:
        """Return for each of the requests, in their order, its result, or its refusal or error as a value."""
        return await asyncio.gather(*[self._join(request) for request in requests])

    def _join(self, request: Request) -> "asyncio.Future[Result | Exception]":
        """Put the request into the queue, or refuse it if the queue is full."""
        loop = self._loop
        if loop is None or loop.is_closed():
            loop = self._loop = asyncio.get_running_loop()  # it asks the system for the process's id each time
        pending: _Pending[Request, Result] = _Pending(request, loop.create_future())
        if len(self._queue) >= self._max_waiting:
            turned_away.labels(self.name, "queue_full").inc()
            _tell(pending, Unavailable("Too many requests are waiting; nothing was done."))
        else:
            self._queue.append(pending)
            self._start(loop)
        return pending.answer

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have a driver and a timer while there is a queue."""
        if self._driver is None:
            self._driver = loop.create_task(self._drive())
            self._driver.add_done_callback(self._replace)
        if self._patience is None:
            self._patience = loop.call_later(self._patience_seconds, self._refuse_those_who_waited_too_long, loop)

    def _replace(self, driver: "asyncio.Task[None]") -> None:
        """Start another driver if there is a queue: this one failed, or was cancelled, maybe before its first step."""
        self._driver = None
        if self._queue:
            self._start(driver.get_loop())

    def _refuse_those_who_waited_too_long(self, loop: asyncio.AbstractEventLoop) -> None:
        self._patience = None
        now = time.perf_counter()
        while self._queue and now - self._queue[0].since >= self._patience_seconds:
            pending = self._queue.popleft()
            if _tell(pending, Unavailable("The requests before this one take too long; nothing was done.")):
                turned_away.labels(self.name, "not_taken").inc()
        if self._queue:
            left = self._patience_seconds - (now - self._queue[0].since)
            self._patience = loop.call_later(left, self._refuse_those_who_waited_too_long, loop)

    async def _drive(self) -> None:
        """Work on one batch after the other until the queue is empty."""
        loop = asyncio.get_running_loop()
        while batch := self._take():
            await self._decide(batch, loop)

    def _take(self) -> list[_Pending[Request, Result]]:
        """Take the next batch from the front of the queue. Requests that nobody waits for any more are dropped."""
        batch: list[_Pending[Request, Result]] = []
        weight = 0
        while self._queue and len(batch) < self._max_batch:
            pending = self._queue[0]
            if not pending.answer.done():
                weight += self._weight(pending.request)
                if batch and weight > self._max_weight:
                    break
                batch.append(pending)
            self._queue.popleft()
        return batch

    async def _decide(self, batch: list[_Pending[Request, Result]], loop: asyncio.AbstractEventLoop) -> None:
        """Have the batch worked on and tell the answers. The log lines of the work have the first request's id."""
        began = time.perf_counter()
        for pending in batch:
            self._wait_seconds.observe(began - pending.since)
        deadline = loop.call_later(self._work_seconds, self._give_up, batch)
        requests = [pending.request for pending in batch]
        try:
            answers = await loop.run_in_executor(self.executor, batch[0].context.run, self._answers, requests)
            for pending, answer in zip(batch, answers, strict=True):
                _tell(pending, answer)
        except Exception as error:
            for pending in batch:
                _tell(pending, error)
        finally:
            deadline.cancel()
            for pending in batch:
                _tell(pending, NO_ANSWER)  # only those without an answer: the driver was cancelled
        self._batch_size.observe(len(batch))

    def _answers(self, requests: Sequence[Request]) -> Sequence[Result | Refusal]:
        """Do the work, in the thread. What the event loop cannot receive becomes a RuntimeError.

        SystemExit and KeyboardInterrupt would end the loop. StopIteration gets lost on its way to it in older Pythons.
        """
        try:
            answers = self._work(requests)
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, StopIteration):
                raise
            raise RuntimeError(f"{self.name}: the work ended with {error!r}.") from error
        if len(answers) != len(requests):
            raise RuntimeError(f"{self.name}: the work gave {len(answers)} answers to {len(requests)} requests.")
        return answers

    def _give_up(self, batch: list[_Pending[Request, Result]]) -> None:
        """Answer the callers of a batch that takes too long. The work goes on, and the next batch waits for it."""
        for pending in batch:
            if _tell(pending, NO_ANSWER):
                turned_away.labels(self.name, "no_answer").inc()


def _tell(pending: _Pending[Request, Result], answer: Result | Exception) -> bool:
    """Set the request's answer. Returns False if it has one already, or if its caller has left."""
    if pending.answer.done():
        return False
    pending.answer.set_result(answer)
    return True


def _copy_for_one(error: Exception) -> Exception:
    """A copy of the error for one caller only, because raising an exception writes a traceback into it."""
    try:
        mine = copy.copy(error)
    except Exception:  # its class cannot be rebuilt from `args`
        mine = RuntimeError(f"{type(error).__name__}: {error}")
    mine.__cause__ = error if error.__traceback__ else error.__cause__
    return mine
