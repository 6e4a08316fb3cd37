"""The breaker: closed while calls go well, then one try in an interval."""

import pytest

from inventory_project.foundation import breaker
from inventory_project.foundation.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(breaker, "time", made)
    return made


def failed(times: int) -> Breaker:
    made = Breaker("a server", failures_allowed=3, open_seconds=1.0)
    for _ in range(times):
        made.failed()
    return made


@pytest.mark.usefixtures("clock")
def test_it_opens_at_the_third_failure_in_a_row() -> None:
    assert failed(2).allows()
    assert not failed(3).allows()


@pytest.mark.usefixtures("clock")
def test_a_success_between_failures_starts_the_count_anew() -> None:
    closed = failed(2)
    closed.succeeded()
    closed.failed()
    closed.failed()
    assert closed.allows()


def test_an_open_one_lets_one_caller_try_in_each_second(clock: Clock) -> None:
    opened = failed(3)
    allowed = []
    for _ in range(12):
        allowed.append([opened.allows() for _ in range(3)])
        clock.now += 0.25
    try_, no = [True, False, False], [False, False, False]
    assert allowed == [no, no, no, no, try_, no, no, no, try_, no, no, no]


def test_a_try_that_fails_keeps_it_open_for_another_second(clock: Clock) -> None:
    opened = failed(3)
    clock.now += 1.0
    assert opened.allows()
    clock.now += 0.5
    opened.failed()
    clock.now += 0.9
    assert not opened.allows()
    clock.now += 0.2
    assert opened.allows()


def test_a_try_that_goes_well_closes_it_for_all(clock: Clock) -> None:
    opened = failed(3)
    clock.now += 1.0
    assert opened.allows()
    opened.succeeded()
    assert [opened.allows() for _ in range(3)] == [True, True, True]


def test_it_says_once_when_it_opens_and_once_when_it_closes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="inventory_project.foundation.breaker")
    opened = failed(9)
    opened.succeeded()
    opened.succeeded()
    assert [record.getMessage() for record in caplog.records] == [
        "a server does not answer; it is tried once in 1.0 s",
        "a server answers again",
    ]
