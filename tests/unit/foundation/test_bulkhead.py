"""What was found locked is remembered for some seconds, or until it is seen free or with another holder."""

from types import SimpleNamespace

import pytest

from inventory_project.foundation import bulkhead
from inventory_project.foundation.bulkhead import FREE, MAX_REMEMBERED, REMEMBERED_SECONDS, Needs, Obstacles
from inventory_project.foundation.failures import KeptWaiting

SOMEBODY, ANOTHER = 750, 751  # transactions


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(bulkhead, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_nothing_is_remembered_of_what_is_free(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    obstacles.note([{"a": FREE}])
    assert not obstacles


def test_kept_is_what_the_same_transaction_has_at_both_looks(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    obstacles.note([{"a": SOMEBODY, "b": FREE}, {"c": SOMEBODY, "d": SOMEBODY}])
    seen: Needs = {"a": SOMEBODY, "b": SOMEBODY, "c": ANOTHER}
    assert obstacles.kept([seen, {"a": SOMEBODY, "d": FREE}]) == [{"a": SOMEBODY}, {"a": SOMEBODY}]


def test_what_is_free_or_has_changed_hands_is_forgotten_at_once(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    obstacles.note([{"a": SOMEBODY, "b": SOMEBODY}])
    assert obstacles.kept([{"a": FREE, "b": ANOTHER}]) == [{}]
    assert not obstacles


def test_what_was_not_waited_for_is_not_remembered_as_kept(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    assert obstacles.kept([{"a": SOMEBODY}]) == [{}]
    assert not obstacles


def test_what_nobody_asks_for_is_forgotten_after_a_while_and_what_is_seen_again_is_not(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    obstacles.note([{"a": SOMEBODY, "b": SOMEBODY}])
    clock.now += REMEMBERED_SECONDS - 1
    obstacles.kept([{"b": SOMEBODY}])
    clock.now += 2
    obstacles.note([])
    assert obstacles.kept([{"a": SOMEBODY, "b": SOMEBODY}]) == [{"b": SOMEBODY}]


def test_the_memory_is_bounded(clock: SimpleNamespace) -> None:
    obstacles = Obstacles()
    seen: Needs = dict.fromkeys(range(MAX_REMEMBERED + 10), SOMEBODY)
    obstacles.note([seen])
    [kept] = obstacles.kept([seen])
    assert len(kept) == MAX_REMEMBERED


def test_who_needs_something_that_is_kept_is_refused_in_its_place() -> None:
    refusals = bulkhead.refusals([{}, {"b": SOMEBODY}, {}])
    assert list(refusals) == [1]
    assert isinstance(refusals[1], KeptWaiting)
    assert refusals[1].code == "overloaded"
