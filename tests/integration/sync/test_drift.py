"""Every kind of drift is found, told and repaired, and what is right is not touched."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY
from pytest_django import DjangoAssertNumQueries, Settings
from redis import Redis

from inventory_project.foundation.errors import Invalid, NotFound
from reservations.analysis import audit
from stock import availability, blocking
from stock.counters import copies, drift, repair, sync
from stock.counters.drift import Drift
from tests import factories
from tests.factories import ACTOR, PR, RJ, SP

Spoil = Callable[[Redis, str], object]

PLACES = (SP, RJ, PR)
LIES: dict[str, Spoil] = {
    "a high number": lambda client, key: client.hset(key, SP, "1:999999:0:0:1:5"),
    "nothing left": lambda client, key: client.hset(key, SP, "1:0:0:0:1:5"),
    "a low version": lambda client, key: client.hset(key, SP, "0:7:0:0:1:5"),
    "a high version": lambda client, key: client.hset(key, SP, "900000:7:0:0:1:5"),
    "the highest version": lambda client, key: client.hset(key, SP, "999999999999999:7:0:0:1:5"),
    "an unsellable level": lambda client, key: client.hset(key, SP, "1:5:0:0:0:5"),
    "another replenishment": lambda client, key: client.hset(key, SP, "1:5:0:0:1:9"),
    "the form of the version before": lambda client, key: client.hset(key, mapping=dict.fromkeys(PLACES, "1:5:0:0:1")),
    "below zero": lambda client, key: client.hset(key, SP, "1:-5:0:0:1:5"),
    "a word": lambda client, key: client.hset(key, SP, "abc"),
    "one number": lambda client, key: client.hset(key, SP, "0"),
    "no text": lambda client, key: client.hset(key, SP, ""),
    "no UTF-8": lambda client, key: client.hset(key, SP, b"\xff\xfe"),
    "one of three gone": lambda client, key: client.hdel(key, SP),
    "one too many": lambda client, key: client.hset(key, "wh-none", "1:5:0:0:1:5"),
    "no summary": lambda client, key: client.hdel(key, "_"),
    "a stale block": lambda client, key: client.hset(key, "_", "6::1:3"),
    "a stale threshold": lambda client, key: client.hset(key, "_", "6:99:0:3"),
    "a summary with a high version": lambda client, key: client.hset(key, "_", "900000:99:0:3"),
    "another type": lambda client, key: (client.delete(key), client.set(key, "5")),
    "all gone": lambda client, key: client.delete(key),
}
GONE = ("no summary", "another type", "all gone")


def key_of(product_id: UUID) -> str:
    return f"stock:{product_id}"


def is_right(product_id: UUID) -> bool:
    """Whether the counters are what the service would write now, and are used."""
    wanted = availability.views_of([product_id])[product_id]
    raw = copies.read_raw([product_id])
    return raw == {product_id: copies.expected_fields(wanted)} and copies.read([product_id]) == {product_id: wanted}


@pytest.mark.parametrize("lie", LIES)
def test_every_lie_is_found_and_repaired(product: UUID, client: Redis, lie: str) -> None:
    assert is_right(product) is False  # each receipt was published as a part, and parts alone are no counters
    sync.sync()
    assert is_right(product)
    LIES[lie](client, key_of(product))
    report = sync.sync()
    found = (report.products, report.levels, report.missing, report.wrong, report.repaired)
    assert found == ((1, 3, 1, 0, 1) if lie in GONE else (1, 3, 0, 1, 1))
    assert is_right(product)
    again = sync.sync()
    assert (again.products, again.levels, again.repaired, again.drifts) == (1, 3, 0, [])


@pytest.mark.parametrize("lie", LIES)
def test_a_dry_run_tells_and_changes_nothing(product: UUID, client: Redis, lie: str) -> None:
    sync.sync()
    LIES[lie](client, key_of(product))
    before = client.dump(key_of(product))
    report = sync.sync(is_dry_run=True)
    assert (report.missing + report.wrong, report.repaired) == (1, 0)
    assert report.drifts
    assert client.dump(key_of(product)) == before


def test_a_report_names_what_stood_there_what_ought_to_and_by_how_much(product: UUID, client: Redis) -> None:
    sync.sync()
    client.hset(key_of(product), mapping={SP: "1:12:0:0:1:5", RJ: "abc"})
    client.hdel(key_of(product), PR)
    report = sync.sync()
    assert (report.wrong, report.differences, report.drift_units) == (1, 3, 7)
    assert report.drifts == [
        Drift(product, PR, None, "1:5:0:0:1:5"),
        Drift(product, RJ, "abc", "1:5:0:0:1:5"),
        Drift(product, SP, "1:12:0:0:1:5", "1:5:0:0:1:5"),
    ]


def test_of_much_drift_the_first_rows_are_shown_and_all_is_counted(client: Redis, transactional_db: None) -> None:
    for _ in range(15):
        factories.product({SP: 1})
    client.flushdb()
    report = sync.sync()
    assert (report.missing, report.repaired, report.differences) == (15, 15, 30)
    assert len(report.drifts) == repair.MAX_DRIFTS


def test_counters_of_a_product_without_a_level_are_taken_away(client: Redis, transactional_db: None) -> None:
    product = factories.product().pk
    client.hset(key_of(product), mapping={"_": "1::0:1", SP: "0:5:0:0:1:5"})
    report = sync.sync(product_ids=[product])
    assert (report.products, report.levels, report.wrong, report.repaired) == (1, 0, 1, 1)
    assert not client.exists(key_of(product))


def test_a_block_and_a_closing_whose_publication_was_lost_are_repaired(
    product: UUID, settings: Settings, redis_server: object
) -> None:
    sync.sync()
    url, settings.REDIS_URL = settings.REDIS_URL, ""
    blocking.block_product(product, reason="recall", actor=ACTOR)
    blocking.close_warehouse(RJ, actor=ACTOR)
    settings.REDIS_URL = url
    assert availability.of_product(product).state == "in_stock"
    assert sync.sync().wrong == 1
    assert is_right(product)
    assert availability.of_product(product).state == "blocked"


def test_a_sync_writes_nothing_where_nothing_has_drifted(product: UUID, client: Redis) -> None:
    sync.sync()
    client.config_resetstat()
    sync.sync()
    done = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    assert done <= {"hgetall", "get", "set", "config|resetstat", "info", "select", "client|setinfo"}
    assert client.info("commandstats")["cmdstat_set"]["calls"] == 2  # how far it came, before and after
    assert client.info("commandstats")["cmdstat_hgetall"]["calls"] == 1


@pytest.mark.parametrize(("products", "trips"), [(1, [1]), (11, [11]), (12, [12]), (13, [12, 1])])
def test_a_quiet_chunk_costs_two_statements_and_one_round_trip(
    client: Redis,
    transactional_db: None,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: DjangoAssertNumQueries,
    asked: list[int],
    products: int,
    trips: list[int],
) -> None:
    settings.SYNC_WORKERS = 1
    monkeypatch.setattr(drift, "CHUNK_LEVELS", 12)
    for _ in range(products):
        factories.product({SP: 1})
    sync.sync()
    asked.clear()
    chunks = products // 12 + 1
    with django_assert_num_queries(1 + 2 * chunks):  # the clock; the job's lock has a session of its own
        assert sync.sync().levels == products
    assert asked == trips


# --- parts ---------------------------------------------------------------------------------------------------------


def test_some_products_are_synced_alone(client: Redis, transactional_db: None) -> None:
    named, other = (factories.product({SP: 5}).pk for _ in range(2))
    client.flushdb()
    report = sync.sync(product_ids=[named, named])
    assert (report.kind, report.products, report.levels, report.missing) == ("part", 1, 1, 1)
    assert (is_right(named), is_right(other)) == (True, False)


def test_what_a_warehouse_stocks_is_synced_alone_with_all_its_levels(client: Redis, transactional_db: None) -> None:
    here, elsewhere = factories.product({SP: 5, RJ: 5}).pk, factories.product({RJ: 5}).pk
    client.flushdb()
    report = sync.sync(warehouse_id=SP)
    assert (report.kind, report.products, report.levels, report.missing) == ("part", 1, 2, 1)
    assert (is_right(here), is_right(elsewhere)) == (True, False)


def test_what_does_not_exist_is_named_and_nothing_is_synced(product: UUID, client: Redis) -> None:
    client.flushdb()
    unknown = sorted(uuid4() for _ in range(2))
    with pytest.raises(Invalid) as refusal:
        sync.sync(product_ids=[*unknown, product])
    assert refusal.value.extra == {"unknown": {"product_ids": [str(id_) for id_ in unknown], "warehouse_ids": []}}
    with pytest.raises(Invalid) as refusal:
        sync.sync(warehouse_id="wh-none")
    assert refusal.value.extra == {"unknown": {"product_ids": [], "warehouse_ids": ["wh-none"]}}
    with pytest.raises(Invalid):
        sync.sync(warehouse_id=SP, product_ids=[product])
    assert client.dbsize() == 0


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_several_workers_do_each_chunk_once(
    client: Redis, transactional_db: None, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(drift, "CHUNK_LEVELS", 2)
    products = [factories.product({SP: 1, RJ: 1}).pk for _ in range(12)]
    client.flushdb()
    done: list[int] = []
    report = sync.sync(workers=workers, on_progress=done.append)
    assert (report.products, report.levels, report.missing, report.repaired) == (12, 24, 12, 12)
    assert sorted(done) == [0] + [2] * 12
    assert all(map(is_right, products))


# --- one product ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", LIES)
def test_a_reset_rewrites_the_counters_whatever_they_say(product: UUID, client: Redis, lie: str) -> None:
    LIES[lie](client, key_of(product))
    before = client.hgetall(key_of(product)) if lie not in (*GONE, "no UTF-8") else None
    done = sync.reset(product, actor=ACTOR)
    assert is_right(product)
    assert done.after == client.hgetall(key_of(product))
    assert done.before == before or before is None


def test_a_reset_of_a_product_without_a_level_leaves_no_counters(client: Redis, transactional_db: None) -> None:
    product = factories.product().pk
    client.hset(key_of(product), "_", "1::0:0")
    done = sync.reset(product, actor=ACTOR)
    assert (done.before, done.after) == ({"_": "1::0:0"}, {})
    assert not client.exists(key_of(product))


def test_a_reset_of_an_unknown_product_is_not_found_and_touches_no_key(client: Redis, transactional_db: None) -> None:
    unknown = uuid4()
    client.hset(key_of(unknown), "_", "1::0:0")
    with pytest.raises(NotFound):
        sync.reset(unknown, actor=ACTOR)
    assert client.hgetall(key_of(unknown)) == {"_": "1::0:0"}


# --- what is told --------------------------------------------------------------------------------------------------


def drift_counted(kind: str) -> float:
    return REGISTRY.get_sample_value("inventory_counter_drift_total", {"kind": kind}) or 0.0


def test_drift_is_counted_by_kind_and_the_duration_is_shown(product: UUID, client: Redis) -> None:
    sync.sync()
    other = factories.product({SP: 1}).pk
    client.delete(key_of(other))
    client.hset(key_of(product), SP, "1:6:0:0:1:5")
    missing, wrong = drift_counted("missing"), drift_counted("wrong")
    sync.sync(is_dry_run=True)
    assert (drift_counted("missing"), drift_counted("wrong")) == (missing, wrong)
    report = sync.sync()
    assert (drift_counted("missing"), drift_counted("wrong")) == (missing + 1, wrong + 1)
    assert REGISTRY.get_sample_value("inventory_sync_duration_seconds", {"kind": "full"}) == report.seconds


def test_i10_holds_after_a_sync_and_names_what_does_not(product: UUID, client: Redis) -> None:
    sync.sync()
    assert [finding.count for finding in audit.run(with_counters=True)] == [0] * len(
        audit.invariants(with_counters=True)
    )
    client.hset(key_of(product), SP, "1:6:0:0:1:5")
    broken = [finding for finding in audit.run(with_counters=True) if finding.count]
    assert [(finding.invariant.name, finding.count) for finding in broken] == [("I10", 1)]
    assert broken[0].rows == [{"product_id": product, "field": SP, "counter": "1:6:0:0:1:5", "database": "1:5:0:0:1:5"}]
    assert client.hget(key_of(product), SP) == "1:6:0:0:1:5"
    assert [finding.invariant.name for finding in audit.run()].count("I10") == 0


def test_a_summary_that_publications_of_single_levels_left_behind_is_right(product: UUID, client: Redis) -> None:
    sync.sync()
    client.hset(key_of(product), "_", "5::0:3")
    assert copies.read([product]) == availability.views_of([product])
    assert sync.sync().wrong == 0
    assert client.hget(key_of(product), "_") == "5::0:3"
