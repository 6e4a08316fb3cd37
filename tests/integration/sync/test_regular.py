"""The periodic sync: what has changed since the one before, and everything now and then."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from django.core.cache import cache
from django.db.models import F
from prometheus_client import REGISTRY
from pytest_django import DjangoAssertNumQueries, Settings
from redis import Redis

from inventory_project.foundation.database import database_now
from stock import availability, tasks
from stock.counters import copies, drift, sync
from stock.counters.repair import Report
from stock.models import StockLevel
from tests import factories
from tests.factories import SP
from tests.servers import Redis as Server

pytestmark = pytest.mark.usefixtures("client", "transactional_db")

NUMBER = 5
NOTE = 5  # statements that note when the counters were synced last


@pytest.fixture
def products(client: Redis, transactional_db: None) -> list[UUID]:
    """Some products, synced, and not changed for long."""
    made = [factories.product({SP: 5}).pk for _ in range(NUMBER)]
    StockLevel.objects.update(updated_at=database_now() - timedelta(hours=1))
    watched()
    return made


def watched() -> Report:
    report = sync.run_periodic()
    assert report is not None
    return report


def change(product_id: UUID) -> None:
    """A change of the row that the counters are not told, as of a process that died after its commit."""
    StockLevel.objects.filter(product_id=product_id).update(
        available=F("available") + 1, version=F("version") + 1, updated_at=database_now()
    )


def lie(client: Redis, product_id: UUID) -> None:
    client.hset(f"stock:{product_id}", SP, "1:999999:0:0:1:5")


def is_right(product_id: UUID) -> bool:
    return copies.read([product_id]) == availability.views_of([product_id])


def test_the_first_one_is_full(client: Redis, transactional_db: None) -> None:
    product = factories.product({SP: 5}).pk
    report = watched()
    assert (report.kind, report.products, report.missing) == ("full", 1, 1)
    assert is_right(product)


def test_the_next_ones_look_at_what_has_changed_and_at_nothing_else(
    products: list[UUID], client: Redis, asked: list[int], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    asked.clear()
    with django_assert_num_queries(
        2 + NOTE
    ):  # the clock and the walk through the levels; the lock is in another session
        quiet = watched()
    assert (quiet.kind, quiet.products, asked) == ("changed", 0, [])

    change(products[2])
    lie(client, products[3])  # with no change of the row behind it: that is for a full one
    with django_assert_num_queries(2 + NOTE + 1 + 1 + 1):  # the chunk; the second look; the repair
        report = watched()
    assert (report.kind, report.products, report.levels, report.wrong) == ("changed", 1, 1, 1)
    assert [is_right(product) for product in products] == [True, True, True, False, True]


def test_each_tenth_one_is_full_and_finds_what_the_others_do_not_look_at(products: list[UUID], client: Redis) -> None:
    lie(client, products[3])
    assert [watched().kind for _ in range(9)] == ["changed"] * 9
    assert not is_right(products[3])
    report = watched()
    assert (report.kind, report.products, report.wrong) == ("full", NUMBER, 1)
    assert is_right(products[3])
    assert watched().kind == "changed"


def test_a_full_sync_by_hand_counts_as_one(products: list[UUID]) -> None:
    for _ in range(8):
        watched()
    sync.sync()
    assert [watched().kind for _ in range(10)] == ["changed"] * 9 + ["full"]


@pytest.mark.parametrize(
    "other",
    [lambda product: {"product_ids": [product]}, lambda _product: {"warehouse_id": SP}, lambda _: {"is_dry_run": True}],
)
def test_a_part_or_a_dry_run_does_not_count(products: list[UUID], other: Callable[[UUID], dict[str, object]]) -> None:
    for _ in range(8):
        watched()
    sync.sync(**other(products[0]))  # type: ignore[arg-type]  # one of the three
    assert [watched().kind for _ in range(2)] == ["changed", "full"]


def test_a_redis_that_was_emptied_is_full_again_one_sync_later(products: list[UUID], client: Redis) -> None:
    assert watched().kind == "changed"
    client.flushall()
    report = watched()
    assert (report.kind, report.missing, report.repaired) == ("full", NUMBER, NUMBER)
    assert all(map(is_right, products))
    assert watched().kind == "changed"


def test_a_redis_brought_back_with_an_old_dump_is_synced_from_that_old_moment_on(
    products: list[UUID], redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "MARGIN", timedelta(0))
    binary = Redis.from_url(redis_server.url)
    dump = {key: binary.dump(key) for key in binary.keys("*")}
    change(products[0])
    assert watched().products == 1
    change(products[1])
    assert watched().products == 1
    assert watched().products == 0

    binary.flushall()
    for key, value in dump.items():
        assert value is not None
        binary.restore(key, 0, value)
    binary.close()
    assert not is_right(products[0])
    report = watched()
    assert (report.kind, report.products, report.wrong) == ("changed", 2, 2)
    assert all(map(is_right, products))


def test_counters_lost_while_a_sync_is_under_way_are_found_by_the_next(
    products: list[UUID], client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = drift.expected

    def flush_in_the_middle(chunk: drift.Chunk) -> object:
        monkeypatch.setattr(drift, "expected", expected)
        client.flushall()
        return {}

    change(products[0])
    monkeypatch.setattr(drift, "expected", flush_in_the_middle)
    watched()
    assert client.keys("*") == []
    assert (watched().kind, list(map(is_right, products))) == ("full", [True] * NUMBER)


@pytest.mark.parametrize(
    "memory",
    [
        "abc",
        5,
        [],
        {},
        {"runs": 1},
        {"since": 5, "runs": 1},
        {"since": "soon", "runs": 1},
        {"since": "2026-11-22T21:51:07", "runs": 1},
        {"since": "2026-11-22T21:51:07Z", "runs": "1"},
        {"since": "2026-11-22T21:51:07Z", "runs": -5},
    ],
)
def test_a_memory_that_makes_no_sense_is_none(products: list[UUID], memory: object) -> None:
    cache.set(sync.MARKER, memory, timeout=None)
    assert watched().kind == "full"


def test_a_change_that_was_stamped_before_the_last_sync_and_committed_after_it_is_looked_at(
    products: list[UUID],
) -> None:
    change(products[0])
    StockLevel.objects.filter(product_id=products[0]).update(updated_at=database_now() - sync.MARGIN / 2)
    assert (watched().products, is_right(products[0])) == (1, True)


def test_when_too_much_has_changed_everything_is_looked_at(
    products: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "MAX_CHANGED", 2)
    for product in products[:2]:
        change(product)
    assert (watched().kind, is_right(products[0])) == ("changed", True)
    change(products[2])
    assert (watched().kind, is_right(products[2])) == ("full", True)


def last_success() -> float:
    labels = {"job": sync.JOB}
    return REGISTRY.get_sample_value("inventory_job_last_success_timestamp_seconds", labels) or 0.0


def test_while_another_process_syncs_the_periodic_one_does_nothing(products: list[UUID], somebody_syncs: None) -> None:
    change(products[0])
    before = last_success()
    assert sync.run_periodic() is None
    assert (is_right(products[0]), last_success()) == (False, before)


def test_while_another_process_syncs_a_full_one_is_refused_and_a_part_is_not(
    products: list[UUID], somebody_syncs: None
) -> None:
    change(products[0])
    failures = REGISTRY.get_sample_value("inventory_sync_failures_total")
    with pytest.raises(sync.SyncRunning):
        sync.sync()
    assert REGISTRY.get_sample_value("inventory_sync_failures_total") == failures
    assert sync.sync(product_ids=products[:1]).repaired == 1
    assert sync.sync(is_dry_run=True).products == NUMBER


def test_the_task_does_it_and_its_success_is_remembered(products: list[UUID]) -> None:
    change(products[0])
    before = database_now().timestamp()
    tasks.sync_counters()
    assert is_right(products[0])
    assert last_success() >= before - 1


def test_it_stops_after_the_chunk_in_hand_and_is_no_success_to_build_on(
    products: list[UUID], monkeypatch: pytest.MonkeyPatch, settings: Settings, client: Redis
) -> None:
    settings.SYNC_WORKERS = 1
    monkeypatch.setattr(drift, "CHUNK_LEVELS", 1)
    client.flushall()
    answers = iter([False, False, True])
    report = sync.run_periodic(should_stop=lambda: next(answers))
    assert report is not None
    assert (report.is_complete, report.products, report.repaired) == (False, 2, 2)
    assert (watched().kind, list(map(is_right, products))) == ("full", [True] * NUMBER)
