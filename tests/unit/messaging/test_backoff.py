"""Subjects that a full queue refused wait longer and longer, and come back quickly once there is room."""

import pytest

from inventory_project.foundation.messaging import backoff
from inventory_project.foundation.messaging.backoff import Backoff


@pytest.fixture(autouse=True)
def without_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "SPREAD", (1.0, 1.0))


def test_a_refused_subject_waits_twice_as_long_after_each_refusal_in_a_row_up_to_the_longest_wait() -> None:
    waits = Backoff()
    now, seconds = 0.0, []
    for _ in range(10):
        waits.note(accepted=[], refused=["a"], now=now)
        began = now
        while waits.waiting(now):
            now += 0.25
        seconds.append(now - began)

    assert seconds == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_those_that_were_refused_together_do_not_come_back_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    waits = Backoff()
    waits.note(accepted=[], refused=[str(number) for number in range(100)], now=0.0)

    numbers = [len(waits.waiting(0.25 * part)) for part in (0.49, 0.75, 1, 1.25, 1.51)]

    assert numbers[0] == 100
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == 5
    assert numbers[-1] == 0


def test_an_accepted_subject_waits_no_longer_and_begins_again_with_the_shortest_wait() -> None:
    waits = Backoff()
    for _ in range(3):
        waits.note(accepted=[], refused=["a"], now=0.0)
    waits.note(accepted=["a"], refused=[], now=10.0)
    assert (len(waits), waits.waiting(10.0)) == (0, [])

    waits.note(accepted=[], refused=["a"], now=10.0)
    assert (waits.waiting(10.2), waits.waiting(10.25)) == (["a"], [])


def test_once_queues_take_what_waited_and_refuse_nothing_twice_as_many_may_try() -> None:
    waits = Backoff()
    names = [str(number) for number in range(10)]
    for _ in range(8):
        waits.note(accepted=[], refused=names, now=0.0)
    waits.note(accepted=["0"], refused=["1"], now=1.0)
    assert waits.waiting(1.0) == names[1:]

    waits.note(accepted=["1"], refused=[], now=1.0)
    assert waits.waiting(1.0) == names[4:]

    waits.note(accepted=["2", "3"], refused=[], now=1.0)
    assert waits.waiting(1.0) == names[8:]


def test_what_never_waited_wakes_nobody() -> None:
    waits = Backoff()
    waits.note(accepted=[], refused=["a"], now=0.0)

    waits.note(accepted=["b", "c"], refused=[], now=0.1)

    assert waits.waiting(0.1) == ["a"]


def test_a_subject_without_an_event_is_forgotten_once_it_need_not_wait() -> None:
    waits = Backoff()
    waits.note(accepted=[], refused=["a", "b", "c"], now=0.0)
    waits.note(accepted=[], refused=["c"], now=0.0)

    waits.forget_others({"a"}, now=0.3)

    assert len(waits) == 2
    assert waits.waiting(0.3) == ["c"]
