"""Requests gather behind a batch at work; one that is refused was never taken, and none is left waiting."""

import asyncio
import concurrent.futures
import functools
import gc
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from random import Random
from typing import Any, ParamSpec, TypeVar

import pytest
import uvloop
from prometheus_client import REGISTRY
from structlog.contextvars import bind_contextvars, get_contextvars

from inventory_project.foundation import gathering
from inventory_project.foundation.errors import Conflict, Unavailable
from inventory_project.foundation.gathering import Gatherer

Call = asyncio.Task[int]
Params = ParamSpec("Params")
Result = TypeVar("Result")
SOON = 5  # seconds; for what happens at once unless the test fails
OPTIONS: dict[str, Any] = {
    "max_batch": 8,
    "max_weight": 1_000_000,
    "weight": lambda _request: 1,
    "max_waiting": 100,
    "patience_seconds": SOON,
    "work_seconds": SOON,
}


class Work:
    """Ten times each request; stands still until the test lets a batch go on, and remembers what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: list[threading.Thread] = []
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, requests: Sequence[int]) -> list[int]:
        self.batches.append(list(requests))
        self.threads.append(threading.current_thread())
        self.begun.release()
        assert self.go_on.acquire(timeout=SOON)
        return [request * 10 for request in requests]

    async def has_begun(self) -> None:
        """Until one more batch is at work."""
        assert await asyncio.to_thread(self.begun.acquire, timeout=SOON)


class Clock:
    """The clock of the Gatherer and of its event loop, which stands still unless the test moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def perf_counter(self) -> float:
        return self.now

    async def forward(self, seconds: float) -> None:
        self.now += seconds
        await settle()


@pytest.fixture(autouse=True, scope="module")
def _collections_are_quick() -> Iterator[None]:
    """They look only at what these tests make."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(gathering, "time", clock)
    monkeypatch.setattr(asyncio.BaseEventLoop, "time", lambda _loop: clock.now)
    return clock


def on_a_loop(test: Callable[Params, Coroutine[Any, Any, None]]) -> Callable[Params, None]:
    """The test on an event loop that has nothing to report in the end, such as a task that failed unnoticed."""

    @functools.wraps(test)
    def run(*arguments: Params.args, **options: Params.kwargs) -> None:
        asyncio.run(without_reports(test(*arguments, **options)))

    return run


async def without_reports(story: Coroutine[Any, Any, None]) -> None:
    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, report: reports.append(report))
    await story
    gc.collect()  # an error that nobody has looked at is reported when it goes
    assert reports == []


def gatherer_of(
    work: Callable[[Sequence[int]], Sequence[Any]], *, kind: type[Gatherer[int, int]] = Gatherer, **options: Any
) -> Gatherer[int, int]:
    return kind("test", work, **OPTIONS | options)


async def settle() -> None:
    """Until everything has happened that waits for nothing else."""
    for _ in range(10):
        await asyncio.sleep(0)


async def come(gatherer: Gatherer[int, int], *requests: int) -> list[Call]:
    """Callers that come one after the other. Each is QUEUED or refused."""
    calls = [asyncio.create_task(gatherer.call(request)) for request in requests]
    await asyncio.sleep(0)
    return calls


async def lead(gatherer: Gatherer[int, int], work: Work, request: int = 0) -> Call:
    """A caller that found nobody there and is at work now."""
    [first] = await come(gatherer, request)
    await work.has_begun()
    return first


async def end_of_work(gatherer: Gatherer[int, int]) -> None:
    """Until its thread is idle, and everything that follows from the end of its work has happened."""
    await asyncio.get_running_loop().run_in_executor(gatherer.executor, int)
    await settle()


async def answers(*calls: asyncio.Task[Result]) -> list[Result]:
    return [await call for call in calls]


async def refusal_of(call: asyncio.Future[Any]) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        await call
    return caught.value


def outcome(call: asyncio.Future[Any]) -> object:
    """The answer, the code or the name of the error, or that there is none yet."""
    if not call.done():
        return "waiting"
    if call.cancelled():
        return "left"
    error = call.exception()
    if error is None:
        return call.result()
    return getattr(error, "code", type(error).__name__)


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"inventory_group_commit_{name}", {"verb": "test", **labels}) or 0.0


# --- who is in a batch -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("clock")
@on_a_loop
async def test_a_lone_caller_waits_for_nobody_and_for_no_timer(work: Work) -> None:
    first = await lead(gatherer_of(work), work, 4)
    work.go_on.release()
    assert await first == 40
    assert work.batches == [[4]]


@on_a_loop
async def test_callers_that_come_while_a_batch_is_at_work_are_the_next_one_in_the_order_of_their_arrival(
    work: Work,
) -> None:
    gatherer = gatherer_of(work)
    first = await lead(gatherer, work, 1)
    others = await come(gatherer, 5, 3, 4, 2)
    work.go_on.release(2)
    assert await answers(first, *others) == [10, 50, 30, 40, 20]
    assert work.batches == [[1], [5, 3, 4, 2]]


@on_a_loop
async def test_callers_that_come_in_one_turn_of_the_loop_share_the_first_batch(work: Work) -> None:
    work.go_on.release()
    assert await answers(*await come(gatherer_of(work), 1, 2, 3)) == [10, 20, 30]
    assert work.batches == [[1, 2, 3]]


@on_a_loop
async def test_a_batch_has_no_more_than_max_batch_and_the_rest_is_the_one_after_it(work: Work) -> None:
    gatherer = gatherer_of(work, max_batch=3)
    calls = [await lead(gatherer, work, 1), *await come(gatherer, 2, 3, 4, 5, 6)]
    work.go_on.release(3)
    assert await answers(*calls) == [10, 20, 30, 40, 50, 60]
    assert work.batches == [[1], [2, 3, 4], [5, 6]]


@on_a_loop
async def test_a_batch_has_no_more_than_max_weight_and_a_heavier_request_is_on_its_own(work: Work) -> None:
    gatherer = gatherer_of(work, max_weight=10, weight=lambda request: request)
    calls = [await lead(gatherer, work, 1), *await come(gatherer, 4, 6, 1, 20, 3)]
    work.go_on.release(5)
    assert await answers(*calls) == [10, 40, 60, 10, 200, 30]
    assert work.batches == [[1], [4, 6], [1], [20], [3]]


@on_a_loop
async def test_all_batches_are_the_work_of_one_thread_that_has_the_name_of_the_verb(work: Work) -> None:
    gatherer = gatherer_of(work)
    calls = [await lead(gatherer, work), *await come(gatherer, 1, 2)]
    work.go_on.release(2)
    await answers(*calls)
    assert len(set(work.threads)) == 1
    assert work.threads[0].name == "test_0"


@on_a_loop
async def test_an_executor_that_is_given_does_the_work(work: Work) -> None:
    work.go_on.release()
    with ThreadPoolExecutor(1, thread_name_prefix="given") as executor:
        assert await gatherer_of(work, executor=executor).call(1) == 10
    assert [thread.name for thread in work.threads] == ["given_0"]


caller: ContextVar[str] = ContextVar("caller", default="nobody")


@on_a_loop
async def test_the_work_has_the_log_context_of_the_first_request_and_changes_that_of_nobody(work: Work) -> None:
    logged: list[tuple[str, object]] = []

    def log(requests: Sequence[int]) -> list[int]:
        logged.append((caller.get(), get_contextvars().get("request_id")))
        caller.set("the work")
        return work(requests)

    async def call_as(name: str, request: int) -> str:
        caller.set(name)
        bind_contextvars(request_id=f"request of {name}")
        await gatherer.call(request)
        return caller.get()

    gatherer = gatherer_of(log)
    calls = [asyncio.create_task(call_as("ana", 1))]
    await work.has_begun()
    calls += [asyncio.create_task(call_as(name, request)) for name, request in (("bia", 2), ("caio", 3))]
    await asyncio.sleep(0)
    work.go_on.release(2)
    assert await answers(*calls) == ["ana", "bia", "caio"]
    assert work.batches == [[1], [2, 3]]
    assert logged == [("ana", "request of ana"), ("bia", "request of bia")]
    assert caller.get() == "nobody"


# --- refusals and failures -------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_refusal_among_the_answers_is_raised_for_its_own_caller_only(work: Work) -> None:
    def refuse_odd(requests: Sequence[int]) -> list[int | Conflict]:
        return [Conflict("odd", code="odd", n=answer) if answer % 20 else answer for answer in work(requests)]

    gatherer = gatherer_of(refuse_odd)
    first = await lead(gatherer, work)
    even, odd, even_too = await come(gatherer, 2, 3, 4)
    work.go_on.release(2)
    assert await answers(first, even, even_too) == [0, 20, 40]
    with pytest.raises(Conflict) as refusal:
        await odd
    assert (refusal.value.detail, refusal.value.code, refusal.value.extra) == ("odd", "odd", {"n": 30})


@on_a_loop
async def test_one_refusal_given_to_several_is_raised_for_each_as_its_own(work: Work) -> None:
    shared = Conflict("sold out", code="insufficient_stock", shortages=[1])

    def refuse_all(requests: Sequence[int]) -> list[Conflict]:
        work(requests)
        return [shared] * len(requests)

    gatherer = gatherer_of(refuse_all)
    calls = [await lead(gatherer, work), *await come(gatherer, 1, 2)]
    work.go_on.release(2)
    refusals = await asyncio.gather(*calls, return_exceptions=True)
    assert len({id(refusal) for refusal in [*refusals, shared]}) == 4
    assert [vars(refusal) for refusal in refusals] == [vars(shared)] * 3
    assert shared.__traceback__ is None


def failing(work: Work, error: BaseException) -> Callable[[Sequence[int]], list[int]]:
    """Work whose second batch fails with the error."""

    def fail(requests: Sequence[int]) -> list[int]:
        answers = work(requests)
        if len(work.batches) == 2:
            raise error
        return answers

    return fail


async def fail_a_batch_of_three(error: BaseException) -> list[BaseException]:
    """What its three callers get. Those before and after them are answered."""
    work = Work()
    gatherer = gatherer_of(failing(work, error), max_batch=3)
    first = await lead(gatherer, work)
    *failed, behind = await come(gatherer, 1, 2, 3, 4)
    work.go_on.release(3)
    assert await answers(first, behind) == [0, 40]
    assert work.batches == [[0], [1, 2, 3], [4]]
    work.go_on.release()
    assert await gatherer.call(5) == 50
    errors = await asyncio.gather(*failed, return_exceptions=True)
    assert len({id(met) for met in [*errors, error]}) == 4
    return [met for met in errors if isinstance(met, BaseException)]


@on_a_loop
async def test_an_error_of_the_work_reaches_all_callers_of_its_batch_and_no_others() -> None:
    error = Unavailable("The database is too busy; nothing was changed.", code="database_unavailable")
    met = await fail_a_batch_of_three(error)
    assert len(met) == 3
    for each in met:
        assert isinstance(each, Unavailable)
        assert (each.detail, each.code, each.__cause__) == (error.detail, error.code, error)


def raise_again_and_again(error: BaseException) -> None:
    for _ in range(3):
        with pytest.raises(type(error)):
            raise error


@on_a_loop
async def test_an_error_is_raised_for_each_caller_as_its_own_so_that_no_stack_trace_grows() -> None:
    error = ValueError("a defect", 7)
    met = await fail_a_batch_of_three(error)
    lines = len(traceback.format_exception(error))
    for each in met:
        assert isinstance(each, ValueError)
        assert each.args == ("a defect", 7)
        raise_again_and_again(each)
    assert len(traceback.format_exception(error)) == lines


class Peculiar(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@on_a_loop
async def test_an_error_that_cannot_be_copied_still_reaches_all_and_is_named() -> None:
    error = Peculiar(1, 2)
    met = await fail_a_batch_of_three(error)
    assert [(type(each), str(each)) for each in met] == [(RuntimeError, "Peculiar: 1 and 2")] * 3
    assert [each.__cause__ for each in met] == [error] * 3


@pytest.mark.parametrize(
    "error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), StopIteration(), asyncio.CancelledError()]
)
@on_a_loop
async def test_work_that_ends_with_what_would_stop_the_loop_is_an_error_for_its_batch_only(
    error: BaseException,
) -> None:
    met = await fail_a_batch_of_three(error)
    assert [(type(each), str(each)) for each in met] == [(RuntimeError, f"test: the work ended with {error!r}.")] * 3
    assert [each.__cause__ and each.__cause__.__cause__ for each in met] == [error] * 3


@on_a_loop
async def test_work_that_was_cancelled_in_its_thread_is_an_error_for_its_batch_only() -> None:
    met = await fail_a_batch_of_three(concurrent.futures.CancelledError())
    assert [getattr(each, "code", None) for each in met] == ["outcome_unknown"] * 3


@on_a_loop
async def test_another_number_of_answers_than_requests_is_an_error_for_all_and_says_so(work: Work) -> None:
    gatherer = gatherer_of(lambda requests: work(requests)[:1])
    first = await lead(gatherer, work)
    calls = await come(gatherer, 1, 2, 3)
    work.go_on.release(2)
    assert await first == 0
    for call in calls:
        with pytest.raises(RuntimeError, match=r"^test: the work gave 1 answers to 3 requests\.$"):
            await call


@on_a_loop
async def test_where_no_thread_can_do_the_work_every_caller_gets_an_error(work: Work) -> None:
    executor = ThreadPoolExecutor(1)
    gatherer = gatherer_of(work, executor=executor, max_batch=2)
    executor.shutdown()
    calls = await come(gatherer, 1, 2, 3)
    await settle()
    assert [outcome(call) for call in calls] == ["RuntimeError"] * 3
    assert work.batches == []


# --- too busy --------------------------------------------------------------------------------------------------------


@on_a_loop
async def test_past_max_waiting_a_caller_is_refused_at_once_and_nothing_is_done(work: Work) -> None:
    gatherer = gatherer_of(work, max_batch=2, max_waiting=3)
    before = sample("turned_away_total", reason="queue_full")
    calls = [await lead(gatherer, work, 1), *await come(gatherer, 2, 3, 4)]
    [too_many] = await come(gatherer, 5)
    assert too_many.done()
    assert (await refusal_of(too_many)).code == "overloaded"
    assert sample("turned_away_total", reason="queue_full") == before + 1

    work.go_on.release()
    await work.has_begun()  # two are TAKEN, and two others may wait in their places
    calls += await come(gatherer, 6, 7)
    [too_many] = await come(gatherer, 8)
    assert outcome(too_many) == "overloaded"
    work.go_on.release(3)
    assert await answers(*calls) == [10, 20, 30, 40, 60, 70]
    assert work.batches == [[1], [2, 3], [4, 6], [7]]


@on_a_loop
async def test_a_caller_that_is_refused_while_queued_is_never_taken(clock: Clock, work: Work) -> None:
    gatherer = gatherer_of(work, patience_seconds=1.0)
    before = sample("turned_away_total", reason="not_taken")
    first = await lead(gatherer, work, 1)
    [impatient] = await come(gatherer, 2)
    await clock.forward(1.0)
    assert outcome(impatient) == "overloaded"
    assert sample("turned_away_total", reason="not_taken") == before + 1
    [patient] = await come(gatherer, 3)
    work.go_on.release(2)
    assert await answers(first, patient) == [10, 30]
    assert work.batches == [[1], [3]]


@on_a_loop
async def test_each_caller_waits_as_long_as_its_own_patience_lasts(clock: Clock, work: Work) -> None:
    gatherer = gatherer_of(work, patience_seconds=1.0)
    first = await lead(gatherer, work, 1)  # its timer is still there when the next caller comes
    calls = []
    for request in (2, 3, 4):
        await clock.forward(0.25)
        calls += await come(gatherer, request)
    outcomes = []
    for _ in range(5):
        outcomes.append([outcome(call) for call in calls])
        await clock.forward(0.25)
    assert [states.count("overloaded") for states in outcomes] == [0, 0, 1, 2, 3]
    assert outcomes[2] == ["overloaded", "waiting", "waiting"]

    calls = await come(gatherer, 5)  # the queue was empty for a while
    await clock.forward(0.75)
    assert outcome(calls[0]) == "waiting"
    await clock.forward(0.25)
    assert outcome(calls[0]) == "overloaded"
    work.go_on.release()
    assert await first == 10
    assert work.batches == [[1]]


async def outlast_patience_while_taken(kind: type[Gatherer[int, int]], clock: Clock) -> list[object]:
    """What callers get that were TAKEN before their patience was over, and whose batch ends after it."""
    work = Work()
    gatherer = gatherer_of(work, kind=kind, patience_seconds=1.0)
    first = await lead(gatherer, work, 1)
    calls = await come(gatherer, 2, 3)
    work.go_on.release()
    await work.has_begun()
    await clock.forward(1.0)
    work.go_on.release()
    await end_of_work(gatherer)
    assert work.batches == [[1], [2, 3]]
    return [outcome(call) for call in (first, *calls)]


class TakenButNotRemoved(Gatherer[int, int]):
    """Leaves a batch in the queue while it is at work, so that it is QUEUED and TAKEN."""

    def _take(self) -> list[Any]:
        return [each for each in self._queue if not each.answer.done()][: self._max_batch]

    async def _decide(self, batch: list[Any], loop: asyncio.AbstractEventLoop) -> None:
        await super()._decide(batch, loop)
        for each in batch:
            if each in self._queue:
                self._queue.remove(each)


@on_a_loop
async def test_a_caller_that_is_taken_waits_for_the_end_of_its_batch_and_not_for_its_patience(clock: Clock) -> None:
    assert await outlast_patience_while_taken(Gatherer, clock) == [10, 20, 30]


def test_control_taken_but_not_removed_from_the_queue_it_is_refused_and_executed(clock: Clock) -> None:
    assert asyncio.run(outlast_patience_while_taken(TakenButNotRemoved, clock)) == [10, "overloaded", "overloaded"]


@on_a_loop
async def test_after_work_seconds_the_outcome_is_unknown_and_the_queue_goes_on_when_the_work_ends(
    clock: Clock, work: Work
) -> None:
    gatherer = gatherer_of(work, patience_seconds=5.0, work_seconds=2.0)
    before = sample("turned_away_total", reason="no_answer")
    first = await lead(gatherer, work, 1)
    calls = await come(gatherer, 2, 3)
    await clock.forward(1.75)
    assert outcome(first) == "waiting"
    await clock.forward(0.25)
    assert outcome(first) == "outcome_unknown"
    assert [outcome(call) for call in calls] == ["waiting", "waiting"]
    assert sample("turned_away_total", reason="no_answer") == before + 1

    work.go_on.release()
    await work.has_begun()
    await clock.forward(1.0)  # the second batch has work_seconds of its own
    work.go_on.release()
    assert await answers(*calls) == [20, 30]
    assert work.batches == [[1], [2, 3]]


# --- callers that leave, and a driver that is ended ------------------------------------------------------------------


async def leave_while_queued(kind: type[Gatherer[int, int]]) -> list[list[int]]:
    """The batches of four callers, of which the third left the queue."""
    work = Work()
    gatherer = gatherer_of(work, kind=kind)
    first = await lead(gatherer, work, 1)
    before, leaver, after = await come(gatherer, 2, 3, 4)
    leaver.cancel()
    await settle()
    work.go_on.release(2)
    assert await answers(first, before, after) == [10, 20, 40]
    assert leaver.cancelled()
    return work.batches


class Heedless(Gatherer[int, int]):
    """Takes whoever is in the queue, without a look at whether anyone still waits for the answer."""

    def _take(self) -> list[Any]:
        return [self._queue.popleft() for _ in range(min(len(self._queue), self._max_batch))]


@on_a_loop
async def test_a_caller_that_has_left_the_queue_is_not_taken() -> None:
    assert await leave_while_queued(Gatherer) == [[1], [2, 4]]


def test_control_without_the_look_a_caller_that_has_left_is_taken() -> None:
    assert asyncio.run(leave_while_queued(Heedless)) == [[1], [2, 3, 4]]


@on_a_loop
async def test_a_caller_that_has_left_is_not_counted_among_the_refused(clock: Clock, work: Work) -> None:
    reasons = ("not_taken", "no_answer")
    before = [sample("turned_away_total", reason=reason) for reason in reasons]
    gatherer = gatherer_of(work, patience_seconds=1.0, work_seconds=1.0)
    taken = await lead(gatherer, work, 1)
    queued, patient = await come(gatherer, 2, 3)
    for leaver in (taken, queued):
        leaver.cancel()
    await clock.forward(1.0)
    assert outcome(patient) == "overloaded"
    assert [sample("turned_away_total", reason=reason) for reason in reasons] == [before[0] + 1, before[1]]
    work.go_on.release()


async def leave_while_taken(*, work_fails: bool) -> list[object]:
    """What the callers of a batch get of which the second has left while it was at work."""
    work = Work()
    gatherer = gatherer_of(failing(work, ValueError("a defect")) if work_fails else work)
    first = await lead(gatherer, work, 1)
    calls = await come(gatherer, 2, 3, 4)
    work.go_on.release()
    await work.has_begun()
    assert await first == 10
    calls[1].cancel()
    await settle()
    work.go_on.release()
    await end_of_work(gatherer)
    assert work.batches == [[1], [2, 3, 4]]
    return [outcome(call) for call in calls]


@on_a_loop
async def test_a_caller_that_leaves_while_taken_harms_no_other_of_its_batch() -> None:
    assert await leave_while_taken(work_fails=False) == [20, "left", 40]
    assert await leave_while_taken(work_fails=True) == ["ValueError", "left", "ValueError"]


@pytest.mark.parametrize(("work_fails", "first"), [(False, 20), (True, "ValueError")])
def test_control_where_an_answer_is_given_without_a_look_others_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, work_fails: bool, first: object
) -> None:
    monkeypatch.setattr(gathering, "_tell", lambda pending, answer: pending.answer.set_result(answer))
    assert asyncio.run(leave_while_taken(work_fails=work_fails)) == [first, "left", "waiting"]


async def end_the_driver_at_work(kind: type[Gatherer[int, int]]) -> list[object]:
    """What the caller at work gets at once, and then the two in the queue, when the driver is cancelled."""
    work = Work()
    gatherer = gatherer_of(work, kind=kind)
    first = await lead(gatherer, work, 1)
    calls = await come(gatherer, 2, 3)
    assert gatherer._driver is not None
    gatherer._driver.cancel()
    await settle()
    outcomes = [outcome(first)]
    work.go_on.release(2)
    await end_of_work(gatherer)
    await end_of_work(gatherer)
    return outcomes + [outcome(call) for call in calls]


async def end_the_driver_before_its_first_step(kind: type[Gatherer[int, int]]) -> list[object]:
    """What two callers get whose driver is cancelled in the same turn of the loop, and then one who comes later."""
    work = Work()
    work.go_on.release(2)
    gatherer = gatherer_of(work, kind=kind)
    calls = await come(gatherer, 1, 2)
    assert gatherer._driver is not None
    gatherer._driver.cancel()
    await settle()
    await end_of_work(gatherer)
    calls += await come(gatherer, 3)
    await settle()
    await end_of_work(gatherer)
    return [outcome(call) for call in calls]


class WithoutSuccessor(Gatherer[int, int]):
    """Starts no other driver when one has ended too early."""

    def _replace(self, driver: asyncio.Task[None]) -> None:
        pass


class WithSuccessorByItself(WithoutSuccessor):
    """Leaves it to the driver to start another one, which does nothing if it never began."""

    async def _drive(self) -> None:
        try:
            await super()._drive()
        finally:
            self._driver = None
            if self._queue:
                self._start(asyncio.get_running_loop())


@on_a_loop
async def test_when_the_driver_is_ended_at_work_its_batch_hears_so_and_the_queue_goes_on() -> None:
    assert await end_the_driver_at_work(Gatherer) == ["outcome_unknown", 20, 30]


@on_a_loop
async def test_when_the_driver_is_ended_before_its_first_step_nobody_notices() -> None:
    assert await end_the_driver_before_its_first_step(Gatherer) == [10, 20, 30]


def test_control_without_a_successor_of_the_driver_the_queue_waits_for_ever() -> None:
    assert asyncio.run(end_the_driver_at_work(WithoutSuccessor)) == ["outcome_unknown", "waiting", "waiting"]
    assert asyncio.run(end_the_driver_before_its_first_step(WithSuccessorByItself)) == ["waiting"] * 3


# --- exact accounting ------------------------------------------------------------------------------------------------

CALLERS, CALLS_OF_EACH = 64, 60
IS_EXECUTED = {
    "done": {1},
    "overloaded": {0},
    "left while queued": {0},
    "left while taken": {0, 1},  # 0 where its refusal was on its way
    "outcome_unknown": {0, 1},
}


async def tell_and_execute(kind: type[Gatherer[int, int]], seed: int) -> set[tuple[str, int]]:
    """How each caller's request ended, with how often it was executed, for thousands of callers in a hurry."""
    random = Random(seed)  # noqa: S311  # not for secrets
    executed: Counter[int] = Counter()
    told: dict[int, str] = {}

    def work(requests: Sequence[int]) -> list[int]:
        time.sleep(random.uniform(0, 0.004))
        executed.update(requests)
        return [request * 10 for request in requests]

    gatherer = gatherer_of(work, kind=kind, max_waiting=56, patience_seconds=0.012, work_seconds=0.003)

    async def ask(request: int) -> str:
        call = asyncio.create_task(gatherer.call(request))
        leaves = random.random() < 0.3
        if leaves:
            await asyncio.wait([call], timeout=random.uniform(0, 0.012))
        is_queued = any(each.request == request for each in gatherer._queue)
        if leaves:
            call.cancel()
        try:
            assert await call == request * 10
        except Unavailable as refusal:
            return refusal.code
        except asyncio.CancelledError:
            return "left while queued" if is_queued else "left while taken"
        return "done"

    async def ask_again_and_again(number: int) -> None:
        for request in range(number, CALLERS * CALLS_OF_EACH, CALLERS):
            told[request] = await ask(request)
            await asyncio.sleep(random.uniform(0, 0.001))

    await asyncio.gather(*(ask_again_and_again(number) for number in range(CALLERS)))
    await end_of_work(gatherer)
    assert len(told) == CALLERS * CALLS_OF_EACH
    assert set(executed) <= set(told)
    return {(word, executed[request]) for request, word in told.items()}


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_no_request_is_refused_and_executed_and_none_is_executed_twice(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    ends: set[tuple[str, int]] = set()
    for seed in range(3):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            ends |= runner.run(tell_and_execute(Gatherer, seed))
    assert {word for word, _ in ends} == IS_EXECUTED.keys()
    assert [(word, times) for word, times in ends if times not in IS_EXECUTED[word]] == []


@pytest.mark.parametrize(
    ("kind", "wrong"), [(TakenButNotRemoved, ("overloaded", 1)), (Heedless, ("left while queued", 1))]
)
def test_control_without_these_guards_requests_are_refused_and_executed(
    kind: type[Gatherer[int, int]], wrong: tuple[str, int]
) -> None:
    assert wrong in asyncio.run(tell_and_execute(kind, 0))


# --- many requests of one caller -------------------------------------------------------------------------------------


@on_a_loop
async def test_many_requests_of_one_caller_share_batches_and_the_answers_are_in_their_places(work: Work) -> None:
    def refuse_odd(requests: Sequence[int]) -> list[int | Conflict]:
        return [Conflict(f"{answer} is odd") if answer % 20 else answer for answer in work(requests)]

    gatherer = gatherer_of(refuse_odd, max_batch=3)
    work.go_on.release(2)
    got = await gatherer.ask_many([4, 3, 8, 1, 6])
    assert [str(each) for each in got] == ["40", "30 is odd", "80", "10 is odd", "60"]
    assert [type(each) for each in got] == [int, Conflict, int, Conflict, int]
    assert work.batches == [[4, 3, 8], [1, 6]]
    assert await gatherer.ask_many([]) == []


@on_a_loop
async def test_where_the_queue_has_room_for_some_of_the_many_the_others_are_refused_in_their_places(work: Work) -> None:
    gatherer = gatherer_of(work, max_waiting=3)
    first = await lead(gatherer, work, 1)
    [lone] = await come(gatherer, 2)
    many = asyncio.create_task(gatherer.ask_many([3, 4, 5, 6]))
    await asyncio.sleep(0)
    work.go_on.release(2)
    *got, refused, refused_too = await many
    assert got == [30, 40]
    for each in (refused, refused_too):
        assert isinstance(each, Unavailable)
        assert each.code == "overloaded"
    assert await answers(first, lone) == [10, 20]
    assert work.batches == [[1], [2, 3, 4]]


@on_a_loop
async def test_an_error_of_one_batch_reaches_those_of_the_many_that_were_in_it(work: Work) -> None:
    gatherer = gatherer_of(failing(work, ValueError("a defect")), max_batch=2)
    work.go_on.release(3)
    got = await gatherer.ask_many([1, 2, 3, 4, 5])
    assert [str(each) for each in got] == ["10", "20", "a defect", "a defect", "50"]


@on_a_loop
async def test_of_a_caller_that_leaves_its_many_requests_none_is_taken_any_more(work: Work) -> None:
    gatherer = gatherer_of(work, max_batch=2)
    first = await lead(gatherer, work, 1)
    many = asyncio.create_task(gatherer.ask_many([2, 3, 4, 5]))
    await asyncio.sleep(0)
    [behind] = await come(gatherer, 6)
    work.go_on.release()
    await work.has_begun()
    many.cancel()
    await settle()
    work.go_on.release(2)
    assert await answers(first, behind) == [10, 60]
    assert work.batches == [[1], [2, 3], [6]]


# --- metrics ---------------------------------------------------------------------------------------------------------


@on_a_loop
async def test_batches_and_waits_are_measured_by_verb(clock: Clock, work: Work) -> None:
    names = ("batch_size_count", "batch_size_sum", "wait_seconds_count", "wait_seconds_sum")
    before = [sample(name) for name in names]
    gatherer = gatherer_of(work)
    calls = [await lead(gatherer, work), *await come(gatherer, 1)]
    await clock.forward(0.5)
    calls += await come(gatherer, 2, 3)
    await clock.forward(0.25)
    work.go_on.release(2)
    assert await answers(*calls) == [0, 10, 20, 30]
    assert [sample(name) - was for name, was in zip(names, before, strict=True)] == [2, 4, 4, 0.75 + 2 * 0.25]
