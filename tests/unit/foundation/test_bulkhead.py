"""What was found locked is remembered for some seconds, or until it is seen free."""

from types import SimpleNamespace

import pytest

from inventory_project.foundation import bulkhead
from inventory_project.foundation.bulkhead import MAX_REMEMBERED, REMEMBERED_SECONDS, Obstacles
from inventory_project.foundation.failures import KeptWaiting


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(bulkhead, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_nothing_is_remembered_of_what_is_free(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    obstacles.note([{"a": False}])
    assert not obstacles


def test_only_what_was_found_locked_is_known(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    obstacles.note([{"a": True, "b": False}, {"c": True}])
    assert obstacles.known({"a": True, "b": True, "c": False, "d": True}) == {"a": True, "c": False}


def test_what_is_seen_free_is_forgotten_at_once(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    obstacles.note([{"a": True}])
    obstacles.note([{"a": False}])
    assert not obstacles


def test_what_nobody_asks_for_is_forgotten_after_a_while_and_what_is_seen_again_is_not(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    obstacles.note([{"a": True, "b": True}])
    clock.now += REMEMBERED_SECONDS - 1
    obstacles.note([{"b": True}])
    clock.now += 2
    obstacles.note([])
    assert obstacles.known({"a": True, "b": True}) == {"b": True}


def test_the_memory_is_bounded(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    obstacles.note([{number: True} for number in range(MAX_REMEMBERED + 10)])
    assert len(obstacles.known(dict.fromkeys(range(MAX_REMEMBERED + 10), True))) == MAX_REMEMBERED


def test_who_needs_something_locked_is_refused_in_its_place() -> None:
    refusals = bulkhead.refusals([{"a": False}, {"a": False, "b": True}, {}])
    assert list(refusals) == [1]
    assert isinstance(refusals[1], KeptWaiting)
    assert refusals[1].code == "overloaded"
