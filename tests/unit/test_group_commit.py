"""Callers gather behind a batch at work; who is refused was never taken, and nobody is left waiting."""

import ctypes
import os
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from prometheus_client import REGISTRY

from inventory_project.foundation.errors import Conflict, Unavailable
from inventory_project.foundation.group_commit import GroupCommit

Gatherer = GroupCommit[int, int]
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
        self.threads: list[int] = []
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, requests: Sequence[int]) -> list[int]:
        self.batches.append(list(requests))
        self.threads.append(threading.get_ident())
        self.begun.release()
        assert self.go_on.acquire(timeout=SOON)
        return [request * 10 for request in requests]


def at_once(requests: Sequence[int]) -> list[int]:
    """The same work, without standing still."""
    return [request * 10 for request in requests]


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as executor:
        yield executor


@pytest.fixture
def work() -> Work:
    return Work()


def gathering(work: Callable[[Sequence[int]], Sequence[Any]], **options: Any) -> Gatherer:
    return GroupCommit("test", work, **OPTIONS | options)


def call(threads: ThreadPoolExecutor, gatherer: Gatherer, *requests: int) -> list[Future[int]]:
    """Callers that come one after the other while a batch is at work; each is QUEUED when the next one comes."""
    calls = []
    for request in requests:
        before = len(gatherer._queue)
        calls.append(threads.submit(gatherer.call, request))
        wait_until(lambda before=before: len(gatherer._queue) > before)  # type: ignore[misc]  # of a default
    return calls


def lead(threads: ThreadPoolExecutor, gatherer: Gatherer, work: Work, request: int = 0) -> Future[int]:
    """A caller that found nobody there and is at work now."""
    leader = threads.submit(gatherer.call, request)
    assert work.begun.acquire(timeout=SOON)
    return leader


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"inventory_group_commit_{name}", {"verb": "test", **labels}) or 0.0


# --- who works for whom ----------------------------------------------------------------------------------------------


def test_a_lone_caller_does_its_own_work_in_its_own_thread(work: Work) -> None:
    work.go_on.release()
    assert gathering(work).call(4) == 40
    assert (work.batches, work.threads) == ([[4]], [threading.get_ident()])


def test_those_who_come_while_a_batch_is_at_work_are_the_next_one_in_the_order_in_which_they_came(
    threads: ThreadPoolExecutor, work: Work
) -> None:
    gatherer = gathering(work)
    first = lead(threads, gatherer, work, 1)
    others = call(threads, gatherer, 5, 3, 4, 2)
    work.go_on.release(2)
    assert [each.result(SOON) for each in [first, *others]] == [10, 50, 30, 40, 20]
    assert work.batches == [[1], [5, 3, 4, 2]]
    assert len(set(work.threads)) == 2  # the second batch is the work of one who was in it


def test_a_batch_has_no_more_than_max_batch_and_the_rest_is_the_one_after_it(
    threads: ThreadPoolExecutor, work: Work
) -> None:
    gatherer = gathering(work, max_batch=3)
    calls = [lead(threads, gatherer, work, 1), *call(threads, gatherer, 2, 3, 4, 5, 6)]
    work.go_on.release(3)
    assert [each.result(SOON) for each in calls] == [10, 20, 30, 40, 50, 60]
    assert work.batches == [[1], [2, 3, 4], [5, 6]]


def test_a_batch_has_no_more_than_max_weight_and_what_is_heavier_is_on_its_own(
    threads: ThreadPoolExecutor, work: Work
) -> None:
    gatherer = gathering(work, max_weight=10, weight=lambda request: request)
    calls = [lead(threads, gatherer, work, 1), *call(threads, gatherer, 4, 6, 1, 20, 3)]
    work.go_on.release(5)
    assert [each.result(SOON) for each in calls] == [10, 40, 60, 10, 200, 30]
    assert work.batches == [[1], [4, 6], [1], [20], [3]]


def test_what_a_thread_should_not_keep_is_released_before_it_waits_and_after_its_work(
    threads: ThreadPoolExecutor, work: Work
) -> None:
    released: list[int] = []
    gatherer = gathering(work, release_resources=lambda: released.append(threading.get_ident()))
    first = lead(threads, gatherer, work)
    assert released == []
    second, third = call(threads, gatherer, 1, 2)
    wait_until(lambda: len(released) == 2)
    assert len(set(released) | {work.threads[0]}) == 3
    work.go_on.release(2)
    assert [each.result(SOON) for each in (first, second, third)] == [0, 10, 20]
    assert released[2:] == work.threads


# --- refusals and failures -------------------------------------------------------------------------------------------


def test_each_caller_gets_its_own_answer_or_refusal(threads: ThreadPoolExecutor) -> None:
    work = Work()

    def refuse_odd(requests: Sequence[int]) -> list[int | Conflict]:
        return [Conflict("odd", code="odd", n=answer) if answer % 20 else answer for answer in work(requests)]

    gatherer = gathering(refuse_odd)
    first = lead(threads, gatherer, work)
    even, odd = call(threads, gatherer, 2, 3)
    work.go_on.release(2)
    assert (first.result(SOON), even.result(SOON)) == (0, 20)
    refusal = odd.exception(SOON)
    assert isinstance(refusal, Conflict)
    assert (refusal.detail, refusal.code, refusal.extra) == ("odd", "odd", {"n": 30})


def raise_again_and_again(error: Exception) -> None:
    for _ in range(3):
        with pytest.raises(type(error)):
            raise error


def test_one_refusal_given_to_several_is_raised_by_each_as_its_own(threads: ThreadPoolExecutor, work: Work) -> None:
    shared = Conflict("sold out", code="insufficient_stock", shortages=[1])

    def refuse_all(requests: Sequence[int]) -> list[Conflict]:
        work(requests)
        return [shared] * len(requests)

    gatherer = gathering(refuse_all)
    calls = [lead(threads, gatherer, work), *call(threads, gatherer, 1, 2)]
    work.go_on.release(2)
    refusals = [each.exception(SOON) for each in calls]
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


def fail_a_batch_of_three(
    threads: ThreadPoolExecutor, error: BaseException
) -> tuple[BaseException | None, list[BaseException | None]]:
    """What the leader and the others of the batch meet; the ones behind them are served."""
    work = Work()
    gatherer = gathering(failing(work, error), max_batch=3)
    first = lead(threads, gatherer, work)
    leader, *followers, behind = call(threads, gatherer, 1, 2, 3, 4)
    work.go_on.release(3)
    assert (first.result(SOON), behind.result(SOON)) == (0, 40)
    assert work.batches == [[0], [1, 2, 3], [4]]
    work.go_on.release()
    assert gatherer.call(5) == 50
    return leader.exception(SOON), [follower.exception(SOON) for follower in followers]


def test_what_the_work_fails_with_reaches_all_of_its_batch_and_no_others(threads: ThreadPoolExecutor) -> None:
    error = Unavailable("The database is too busy; nothing was changed.", code="database_unavailable")
    met, others = fail_a_batch_of_three(threads, error)
    assert met is error
    for other in others:
        assert isinstance(other, Unavailable)
        assert (other.detail, other.code, other.__cause__) == (error.detail, error.code, error)


def test_a_failure_is_raised_by_each_as_its_own_so_that_no_stack_trace_grows(threads: ThreadPoolExecutor) -> None:
    error = ValueError("a defect", 7)
    _, others = fail_a_batch_of_three(threads, error)
    assert len({id(other) for other in [*others, error]}) == 3
    lines = len(traceback.format_exception(error))
    for other in others:
        assert isinstance(other, ValueError)
        assert other.args == ("a defect", 7)
        raise_again_and_again(other)
    assert len(traceback.format_exception(error)) == lines


class Peculiar(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def test_a_failure_that_cannot_be_copied_still_reaches_all_and_is_named(threads: ThreadPoolExecutor) -> None:
    error = Peculiar(1, 2)
    met, others = fail_a_batch_of_three(threads, error)
    assert met is error
    for other in others:
        assert isinstance(other, RuntimeError)
        assert (str(other), other.__cause__) == ("Peculiar: 1 and 2", error)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_of_a_leader_that_is_ended_the_others_hear_that_the_outcome_is_unknown(
    threads: ThreadPoolExecutor, error: BaseException
) -> None:
    met, others = fail_a_batch_of_three(threads, error)
    assert met is error
    assert [type(other) for other in others] == [Unavailable] * 2
    assert [getattr(other, "code", None) for other in others] == ["outcome_unknown"] * 2
    assert others[0] is not others[1]


def test_another_number_of_answers_than_requests_is_an_error_for_all_and_says_so(threads: ThreadPoolExecutor) -> None:
    work = Work()
    gatherer = gathering(lambda requests: work(requests)[:1])
    first = lead(threads, gatherer, work)
    calls = call(threads, gatherer, 1, 2, 3)
    work.go_on.release(2)
    assert first.result(SOON) == 0
    for each in calls:
        with pytest.raises(RuntimeError, match=r"^test: the work gave 1 answers to 3 requests\.$"):
            each.result(SOON)


def end_thread(ident: int, error: type[BaseException]) -> None:
    """Raise the error in a thread, whatever it is at."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(error))


def test_a_leader_whose_thread_is_ended_in_the_middle_strands_nobody(threads: ThreadPoolExecutor) -> None:
    ident: list[int] = []

    def dawdle(requests: Sequence[int]) -> list[int]:
        ident.append(threading.get_ident())
        for _ in range(1000 if len(ident) == 2 else 20):
            time.sleep(0.001)
        return [request * 10 for request in requests]

    gatherer = gathering(dawdle, max_batch=2)
    first = threads.submit(gatherer.call, 0)
    leader, follower, behind = call(threads, gatherer, 1, 2, 3)
    wait_until(lambda: len(ident) == 2)
    end_thread(ident[1], SystemExit)
    assert isinstance(leader.exception(SOON), SystemExit)
    told = follower.exception(SOON)
    assert isinstance(told, Unavailable)
    assert told.code == "outcome_unknown"
    assert (first.result(SOON), behind.result(SOON)) == (0, 30)


def test_threads_that_are_ended_at_any_moment_leave_a_gatherer_that_serves() -> None:
    gatherer = gathering(at_once, max_batch=4, patience_seconds=0.05, work_seconds=0.05)

    def call_again_and_again() -> None:
        try:
            while True:
                gatherer.call(1)
        except (SystemExit, Unavailable):
            pass

    for _ in range(60):
        callers = [threading.Thread(target=call_again_and_again) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            end_thread(caller.ident or 0, SystemExit)
        for caller in callers:
            caller.join(SOON)
            assert not caller.is_alive()
        assert gatherer.call(7) == 70


# --- too busy --------------------------------------------------------------------------------------------------------


def test_past_max_waiting_a_caller_is_sent_away_at_once(threads: ThreadPoolExecutor, work: Work) -> None:
    gatherer = gathering(work, max_batch=2, max_waiting=3)
    before = sample("turned_away_total", reason="queue_full")
    calls = [lead(threads, gatherer, work, 1), *call(threads, gatherer, 2, 3)]
    work.go_on.release()
    assert work.begun.acquire(timeout=SOON)  # of the two one leads, and one is TAKEN and waits as well
    calls += call(threads, gatherer, 4, 5)
    begun = time.monotonic()
    with pytest.raises(Unavailable) as refusal:
        gatherer.call(6)
    assert time.monotonic() - begun < 0.5
    assert refusal.value.code == "overloaded"
    assert sample("turned_away_total", reason="queue_full") == before + 1
    work.go_on.release(2)
    assert [each.result(SOON) for each in calls] == [10, 20, 30, 40, 50]
    assert work.batches == [[1], [2, 3], [4, 5]]


def test_while_batches_are_quick_nobody_is_sent_away(threads: ThreadPoolExecutor, work: Work) -> None:
    gatherer = gathering(work, max_waiting=1, slow_seconds=0.2)
    calls = [lead(threads, gatherer, work, 1), *call(threads, gatherer, 2, 3, 4)]
    time.sleep(0.25)
    with pytest.raises(Unavailable):  # the batch in hand has become slow
        gatherer.call(5)
    work.go_on.release()
    assert work.begun.acquire(timeout=SOON)
    with pytest.raises(Unavailable):  # the one in hand is new, but the one before it was slow
        gatherer.call(6)
    work.go_on.release()
    assert [each.result(SOON) for each in calls] == [10, 20, 30, 40]
    calls = [lead(threads, gatherer, work, 7), *call(threads, gatherer, 8, 9)]
    work.go_on.release(2)
    assert [each.result(SOON) for each in calls] == [70, 80, 90]


def test_who_gives_up_while_queued_is_never_taken(threads: ThreadPoolExecutor, work: Work) -> None:
    gatherer = gathering(work, patience_seconds=0.05)
    before = sample("turned_away_total", reason="not_taken")
    first = lead(threads, gatherer, work, 1)
    (impatient,) = call(threads, gatherer, 2)
    refusal = impatient.exception(SOON)
    assert isinstance(refusal, Unavailable)
    assert (refusal.code, sample("turned_away_total", reason="not_taken")) == ("overloaded", before + 1)
    (patient,) = call(threads, gatherer, 3)
    work.go_on.release(2)
    assert (first.result(SOON), patient.result(SOON)) == (10, 30)
    assert work.batches == [[1], [3]]


def test_who_is_taken_is_not_withdrawn_but_waits_for_the_end(threads: ThreadPoolExecutor, work: Work) -> None:
    gatherer = gathering(work, patience_seconds=0.05)
    first = lead(threads, gatherer, work, 1)
    calls = call(threads, gatherer, 2, 3)
    work.go_on.release()
    assert work.begun.acquire(timeout=SOON)
    time.sleep(0.1)
    work.go_on.release()
    assert [each.result(SOON) for each in [first, *calls]] == [10, 20, 30]


def test_who_was_taken_hears_after_work_seconds_that_the_outcome_is_unknown(
    threads: ThreadPoolExecutor, work: Work
) -> None:
    gatherer = gathering(work, patience_seconds=0.05, work_seconds=0.05)
    before = sample("turned_away_total", reason="no_answer")
    first = lead(threads, gatherer, work, 1)
    leader, follower = call(threads, gatherer, 2, 3)
    work.go_on.release()
    assert work.begun.acquire(timeout=SOON)
    refusal = follower.exception(SOON)
    assert isinstance(refusal, Unavailable)
    assert (refusal.code, sample("turned_away_total", reason="no_answer")) == ("outcome_unknown", before + 1)
    work.go_on.release()
    assert (first.result(SOON), leader.result(SOON)) == (10, 20)
    assert work.batches == [[1], [2, 3]]


class Unguarded(GroupCommit[int, int]):
    """Gives up by the clock alone, without a look at whether it was taken."""

    def _wait(self, caller: Any) -> None:
        if not caller.gate.acquire(timeout=self._patience_seconds):
            raise Unavailable("The requests before this one take too long; nothing was done.")


def told_and_executed(gatherer: type[Gatherer]) -> tuple[dict[int, str], Counter[int]]:
    """What 24 impatient threads were told of 40 requests each, and how often each request was executed."""
    executed: Counter[int] = Counter()
    told: dict[int, str] = {}

    def work(requests: Sequence[int]) -> list[int]:
        time.sleep(0.002)
        executed.update(requests)
        return [request * 10 for request in requests]

    gathering = gatherer("test", work, **OPTIONS | {"max_batch": 8, "patience_seconds": 0.004})

    def ask(requests: Sequence[int]) -> None:
        for request in requests:
            try:
                assert gathering.call(request) == request * 10
                told[request] = "done"
            except Unavailable as refusal:
                told[request] = refusal.code

    with ThreadPoolExecutor(24) as threads:
        list(threads.map(ask, [range(i, 960, 24) for i in range(24)]))
    return told, executed


def test_no_request_is_both_refused_and_executed_and_none_is_executed_twice() -> None:
    told, executed = told_and_executed(GroupCommit)
    assert len(told) == 960
    assert Counter(told.values()).keys() == {"done", "overloaded"}
    assert executed == Counter([request for request, word in told.items() if word == "done"])


def test_control_without_the_look_under_the_lock_requests_are_refused_and_executed() -> None:
    told, executed = told_and_executed(Unguarded)
    assert [request for request, word in told.items() if word == "overloaded" and request in executed] != []


# --- processes and metrics -------------------------------------------------------------------------------------------


def answer_of_a_child(call: Callable[[], int]) -> int:
    """What the call gives in a forked process; a negative signal number when it hangs."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(2)
        os._exit(call())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("is_locked", [False, True])
def test_a_forked_child_begins_anew_though_its_parent_was_in_the_middle_of_a_batch(
    threads: ThreadPoolExecutor, work: Work, *, is_locked: bool
) -> None:
    parent = os.getpid()
    gatherer = gathering(lambda requests: work(requests) if os.getpid() == parent else at_once(requests))
    calls = [lead(threads, gatherer, work, 1), *call(threads, gatherer, 2, 3)]
    if is_locked:
        gatherer._lock.acquire()
    code = answer_of_a_child(partial(gatherer.call, 4))
    if is_locked:
        gatherer._lock.release()
    work.go_on.release(2)
    assert code == 40
    assert [each.result(SOON) for each in calls] == [10, 20, 30]


def test_control_without_beginning_anew_the_child_hangs(
    threads: ThreadPoolExecutor, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    gatherer = gathering(work)
    first = lead(threads, gatherer, work, 1)
    monkeypatch.setattr(GroupCommit, "reset", lambda _self: None)
    code = answer_of_a_child(partial(gatherer.call, 4))
    work.go_on.release()
    assert (first.result(SOON), code) == (10, -signal.SIGALRM)


def test_batches_and_waits_are_measured_by_verb(threads: ThreadPoolExecutor, work: Work) -> None:
    names = ("batch_size_count", "batch_size_sum", "wait_seconds_count", "wait_seconds_sum")
    before = [sample(name) for name in names]
    gatherer = gathering(work)
    calls = [lead(threads, gatherer, work), *call(threads, gatherer, 1, 2, 3)]
    time.sleep(0.05)
    work.go_on.release(2)
    assert [each.result(SOON) for each in calls] == [0, 10, 20, 30]
    batches, size, waits, seconds = (sample(name) - was for name, was in zip(names, before, strict=True))
    assert (batches, size, waits) == (2, 4, 4)
    assert 0.15 <= seconds < SOON
