"""A sync among sales never leaves an older number in place of a newer one; beside it, what loses without the guard."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from pytest_django import Settings
from redis import Redis

from reservations import lifecycle
from reservations.analysis import audit, invariants
from reservations.requests import Cancel
from stock import availability
from stock.counters import copies, drift, repair, sync
from stock.counters.copies import Fields
from stock.models import StockLevel
from tests import factories
from tests.factories import ACTOR, RJ, SP
from tests.integration.counters import looks

pytestmark = pytest.mark.usefixtures("patient")

SELLERS, SALES = 3, 40


@contextmanager
def meanwhile(*works: Callable[[], object]) -> Iterator[None]:
    """The works in threads of their own while the block runs; what one of them raised is raised at its end."""
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def once_read(monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]) -> None:
    """Between the forced repair's reading of the rows and its first writing of the counters, once, this happens."""
    write = repair._write

    def late(wanted: Mapping[UUID, Fields]) -> None:
        monkeypatch.setattr(repair, "_write", write)
        with meanwhile(then):
            pass
        write(wanted)

    monkeypatch.setattr(repair, "_write", late)


def numbers(product_id: UUID) -> tuple[int, int] | None:
    """Version and available units at one warehouse, as the counters have them."""
    view = copies.read([product_id]).get(product_id)
    return None if view is None else (view.levels[SP].version, view.levels[SP].available)


# --- a commit while the counters are gone ----------------------------------------------------------------------------


def sell_by_parts(product_id: UUID) -> None:
    """A commit that publishes one level."""
    factories.receive(product_id, SP, 2)


def sell_whole(product_id: UUID) -> None:
    """A commit that publishes all levels of the product."""
    factories.hold(product_id, 3, SP)


@pytest.mark.parametrize(("sell", "left"), [(sell_by_parts, (2, 7)), (sell_whole, (2, 2))])
def test_what_is_committed_between_reading_and_writing_is_in_the_counters(
    product: UUID, monkeypatch: pytest.MonkeyPatch, sell: Callable[[UUID], None], left: tuple[int, int]
) -> None:
    once_read(monkeypatch, lambda: sell(product))
    sync.reset(product, actor=ACTOR)
    assert numbers(product) == left
    assert sync.sync().repaired == 0


@pytest.mark.parametrize("sell", [sell_by_parts, sell_whole])
def test_control_where_the_last_writer_wins_an_older_number_is_put_over_a_newer_one(
    product: UUID, monkeypatch: pytest.MonkeyPatch, sell: Callable[[UUID], None]
) -> None:
    looks.publish_whatever_comes(monkeypatch)
    once_read(monkeypatch, lambda: sell(product))
    sync.reset(product, actor=ACTOR)
    assert numbers(product) == (1, 5)


# --- a publication that is late --------------------------------------------------------------------------------------


def sync_beside_a_late_publication(product_id: UUID, monkeypatch: pytest.MonkeyPatch, *, is_too_late: bool) -> int:
    """A hold is committed before the first look and published after it, or when all is over; what was called wrong."""
    sync.sync()
    publish, is_committed, may_publish = copies.publish, threading.Event(), threading.Event()

    def late(*views: Any, **options: Any) -> bool:
        monkeypatch.setattr(copies, "publish", publish)
        is_committed.set()
        assert may_publish.wait(10)
        return publish(*views, **options)

    monkeypatch.setattr(copies, "publish", late)
    with meanwhile(lambda: factories.hold(product_id)):
        assert is_committed.wait(10)
        first_look_is_over = (lambda _levels: None) if is_too_late else (lambda _levels: may_publish.set())
        report = sync.sync(product_ids=[product_id], on_progress=first_look_is_over)
        may_publish.set()
    return report.wrong


def test_a_publication_under_way_is_no_drift(product: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "SECOND_LOOK_SECONDS", 0.3)
    assert sync_beside_a_late_publication(product, monkeypatch, is_too_late=False) == 0
    assert sync.sync().repaired == 0


def test_a_publication_that_does_not_come_in_time_is_drift_and_does_no_harm_later(
    product: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sync_beside_a_late_publication(product, monkeypatch, is_too_late=True) == 1
    assert sync.sync().repaired == 0


# --- among sales -----------------------------------------------------------------------------------------------------


class Watcher:
    """Looks at a product's counters again and again, and keeps the newest versions."""

    def __init__(self, client: Redis, product_id: UUID) -> None:
        self.client, self.key = client, f"stock:{product_id}"
        self.newest: dict[str, int] = {}
        self.behind: list[str] = []  # after a forced repair, by the rows from before it
        self.is_over = threading.Event()

    def __call__(self) -> None:
        while not self.is_over.is_set():
            for name, text in self.client.hgetall(self.key).items():
                field, version = str(name), int(str(text).partition(":")[0])
                self.newest[field] = max(version, self.newest.get(field, 0))


def sell(product_id: UUID) -> None:
    """Holds and their ends, one after the other."""
    for _ in range(SALES):
        held = factories.hold(product_id, 1)
        lifecycle.one(lifecycle.cancel_many, Cancel(reservation_id=held.id, actor=ACTOR))


def versions_of_rows(product_id: UUID) -> dict[str, int]:
    return dict(StockLevel.objects.filter(product=product_id).values_list("warehouse_id", "version"))


def behind(committed: Mapping[str, int], found: dict[UUID, dict[str, str]] | None) -> list[str]:
    """The counters that are older than these versions, or missing."""
    assert found is not None
    [fields] = found.values()
    versions = {name: int(text.partition(":")[0]) for name, text in fields.items()}
    return [
        f"{name}: {version}, found {versions.get(name)}"
        for name, version in committed.items()
        if versions.get(name, 0) < version
    ]


def synced_among_sales(client: Redis, product_id: UUID) -> Watcher:
    """Forced repairs as fast as they come, while the product sells."""
    watcher = Watcher(client, product_id)
    sellers = [threading.Event() for _ in range(SELLERS)]

    def sell_to_the_end(done: threading.Event) -> None:
        try:
            sell(product_id)
        finally:
            done.set()

    with meanwhile(watcher, *[lambda done=done: sell_to_the_end(done) for done in sellers]):
        while not all(done.is_set() for done in sellers):
            committed = versions_of_rows(product_id)
            sync.reset(product_id, actor=ACTOR)
            watcher.behind += behind(committed, copies.read_raw([product_id]))
        watcher.is_over.set()
    return watcher


def test_forced_repairs_among_sales_never_leave_an_older_number(client: Redis, transactional_db: None) -> None:
    product = factories.product({SP: 10, RJ: 10}).pk
    watcher = synced_among_sales(client, product)
    assert watcher.newest["wh-sp-001"] + watcher.newest["wh-rj-001"] > SALES
    assert watcher.behind == []
    sync.sync()
    assert copies.read([product]) == availability.views_of([product])
    assert factories.broken_invariants() == []


def test_full_syncs_among_sales_call_nothing_drift_and_leave_all_counters_right(
    client: Redis, transactional_db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "SECOND_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(drift, "CHUNK_LEVELS", 4)
    products = [factories.product({SP: 10, RJ: 10}).pk for _ in range(6)]
    sync.sync()
    wrong = 0
    done = threading.Event()

    def sell_all() -> None:
        for product in products:
            sell(product)
        done.set()

    with meanwhile(sell_all):
        while not done.is_set():
            wrong += sync.sync().wrong
    assert wrong == 0
    (found,) = [finding for finding in audit.run(with_counters=True) if finding.invariant == invariants.COUNTERS_AGREE]
    assert found.count == 0
