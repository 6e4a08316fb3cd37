"""What was found locked is remembered for some seconds, or until it is seen free or with another holder."""

from types import SimpleNamespace

import pytest

from inventory_project.foundation import bulkhead
from inventory_project.foundation.bulkhead import (
    FREE,
    KEPT_SECONDS,
    MAX_REMEMBERED,
    REMEMBERED_SECONDS,
    Needs,
    Obstacles,
)
from inventory_project.foundation.failures import KeptWaiting

SOMEBODY, ANOTHER = 750, 751  # transactions


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(bulkhead, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def seen_first(obstacles: Obstacles, *seen: Needs) -> None:
    """A batch has waited for a lock in vain, and looks."""
    assert not any(obstacles.kept(seen, has_waited=True))


def test_nothing_is_remembered_of_what_is_free(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    seen_first(obstacles, {"a": FREE})
    assert not obstacles


def test_kept_is_what_the_same_transaction_has_at_a_second_look(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    seen_first(obstacles, {"a": SOMEBODY, "b": FREE}, {"c": SOMEBODY, "d": SOMEBODY})
    clock.now += KEPT_SECONDS
    seen: list[Needs] = [{"a": SOMEBODY, "b": SOMEBODY, "c": ANOTHER}, {"a": SOMEBODY, "d": FREE}]
    assert obstacles.kept(seen, has_waited=True) == [{"a": SOMEBODY}, {"a": SOMEBODY}]


def test_two_looks_at_nearly_the_same_moment_are_one(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    seen_first(obstacles, {"a": SOMEBODY})
    clock.now += KEPT_SECONDS / 2
    seen_first(obstacles, {"a": SOMEBODY})
    clock.now += KEPT_SECONDS / 2
    assert obstacles.kept([{"a": SOMEBODY}], has_waited=False) == [{"a": SOMEBODY}]


def test_what_is_free_or_has_changed_hands_is_forgotten_at_once(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    seen_first(obstacles, {"a": SOMEBODY, "b": SOMEBODY})
    clock.now += KEPT_SECONDS
    assert obstacles.kept([{"a": FREE, "b": ANOTHER}], has_waited=False) == [{}]
    assert not obstacles


def test_what_nobody_waited_for_is_not_remembered(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    assert obstacles.kept([{"a": SOMEBODY}], has_waited=False) == [{}]
    assert not obstacles


def test_what_nobody_asks_for_is_forgotten_after_a_while_and_what_is_seen_again_is_not(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    seen_first(obstacles, {"a": SOMEBODY, "b": SOMEBODY})
    clock.now += REMEMBERED_SECONDS - 1
    obstacles.kept([{"b": SOMEBODY}], has_waited=False)
    clock.now += 2
    assert obstacles.kept([{}], has_waited=False) == [{}]
    assert obstacles.kept([{"a": SOMEBODY, "b": SOMEBODY}], has_waited=False) == [{"b": SOMEBODY}]


def test_the_memory_is_bounded(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    seen: Needs = dict.fromkeys(range(MAX_REMEMBERED + 10), SOMEBODY)
    seen_first(obstacles, seen)
    clock.now += KEPT_SECONDS
    [kept] = obstacles.kept([seen], has_waited=True)
    assert len(kept) == MAX_REMEMBERED


def test_who_needs_something_that_is_kept_is_refused_in_its_place() -> None:
    refusals = bulkhead.refusals([{}, {"b": SOMEBODY}, {}])
    assert list(refusals) == [1]
    assert isinstance(refusals[1], KeptWaiting)
    assert refusals[1].code == "overloaded"
