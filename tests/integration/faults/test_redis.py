"""Redis frozen, stopped, emptied, restored, refusing writes or lying, while shoppers buy over HTTP (F7, F8, F9)."""

import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from django.conf import settings as own_settings
from pytest_django import Settings

from inventory_project.foundation.breaker import Breaker
from reservations.analysis import audit
from reservations.models import Reservation
from stock import availability
from stock.counters import copies, sync
from stock.models import Product, StockLevel
from tests import factories
from tests.factories import PR, RJ, SP
from tests.integration.counters import looks
from tests.integration.faults import shoppers, troubles, unguarded
from tests.integration.faults.shoppers import Errand, Shopper, Shoppers, Told, in_words, slowest, typical
from tests.integration.faults.troubles import FORBIDDING, INVITING, Lie, Trouble
from tests.integration.group_commit.conftest import serving
from tests.integration.races import guards
from tests.processes import wait_until
from tests.servers import Redis
from tests.service import Service

SHOPPERS, PROCESSES, THREADS = 16, 2, 8
UNITS = 24  # of what is scarce: a race hides behind much stock
PLENTY = 10_000
ROUNDS = 4  # of a busy day
TRIES = 4  # of each shopper in a rush
NEVER_NEGATIVE = (StockLevel, "stock_level_never_promises_what_it_lacks")

BUSY_DAY = {
    (200, "availability"): SHOPPERS * ROUNDS,
    (201, "ACTIVE"): SHOPPERS * ROUNDS + UNITS,
    (409, "insufficient_stock"): SHOPPERS * ROUNDS - UNITS,
    (200, "CONFIRMED"): SHOPPERS * ROUNDS // 4,
    (200, "CANCELLED"): SHOPPERS * ROUNDS // 4,
}
RUSH = {(201, "ACTIVE"): UNITS, (409, "insufficient_stock"): SHOPPERS * TRIES - UNITS}
RUSH_FOR_NOTHING = {(409, "insufficient_stock"): SHOPPERS * TRIES}

# How long Redis may keep anybody, by the settings: a call waits for TIMEOUT_SECONDS; all threads of a process may be in
# a call before the third has failed, and from then on one tries in a second. An answer waits for the batch in hand and
# for its own, each of which asks Redis before its transaction and after it.
TIMEOUT_SECONDS: float = own_settings.REDIS_TIMEOUT_SECONDS
FAILURES_ALLOWED, OPEN_SECONDS = 3, 1.0
CALLS_OF_AN_ANSWER = 4
COMPARISONS = 3  # one must show it: what else the machine does may fall on one of two days and not on the other

# Who is refused comes back after the probe interval. The probe that stood in the way is done by then, and has put the
# counters right, unless the database takes longer than that: three intervals are patience with a busy machine.
INTERVAL_SECONDS = copies.PROBE_INTERVAL_MS / 1_000
MAX_IN_A_ROW = 3
GIVES_UP_AFTER = 10
MIN_LIES = 10
MAX_RUSHES = 10  # for a control to lose one: in a single rush the two processes may happen to take turns


# --- the shop --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shop:
    """A service of two web processes, its Redis with a patient connection of the test's own, and its shoppers."""

    service: Service
    server: Redis
    redis: redis.Redis
    shoppers: Shoppers

    def failures(self, reason: str) -> float:
        """Calls to Redis that brought nothing, for this reason, of all processes so far."""
        operations = ("read", "publish", "probe", "forget")
        samples = [f'inventory_counter_failures_total{{operation="{one}",reason="{reason}"}}' for one in operations]
        return sum(self.service.metric(sample) or 0 for sample in samples)

    def counted(self, product_id: UUID) -> int:
        """What is available by the counters, which are filled if need be."""
        shopper, *_ = self.shoppers.all
        seen: dict[str, Any] = {}

        def is_counted() -> bool:
            seen.update(shopper.look(product_id))
            return bool(seen["source"] == "counters")

        wait_until(is_counted)
        return int(seen["available"])

    def lie(self, product_id: UUID, lie: Lie) -> None:
        lie(self.redis, f"stock:{product_id}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


def serve(folder: Path, server: Redis, **more: str) -> Service:
    values = {"REDIS_URL": server.url, "WEB_WORKERS": PROCESSES, "WEB_THREADS": THREADS, "LOG_LEVEL": "ERROR"}
    return serving(folder / "serve.log", **values, **more)


@pytest.fixture(scope="module")
def service(server: Redis, django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve(tmp_path_factory.mktemp("service"), server) as service:
        yield service


@pytest.fixture
def client(server: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """Redis in good order and empty; this process, in which stock comes in, uses the same."""
    looks.use(server.url, settings)
    monkeypatch.setattr(copies, "breaker", Breaker("Redis"))
    with redis.Redis.from_url(server.url, socket_timeout=5) as client:
        troubles.end_all(server, client)
        client.flushall()
        yield client
        troubles.end_all(server, client)


@pytest.fixture
def shop(
    client: redis.Redis,
    server: Redis,
    service: Service,
    transactional_db: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    """The shop. Afterwards the books are right, have what was acknowledged and no more, and so have the counters."""
    shop = Shop(service, server, client, Shoppers(SHOPPERS, service.port))
    until_all_use_redis(shop)
    before = len(service.output)
    yield shop
    assert "Traceback" not in service.output[before:]
    assert dict(Reservation.objects.values_list("id", "status")) == shop.shoppers.holds
    troubles.end_all(server, client)
    monkeypatch.setattr(copies, "breaker", Breaker("Redis"))
    sync.sync(actor="a test")
    assert products_counted_wrongly() == []
    assert [finding for finding in audit.run(with_counters=True) if finding.count] == []


def until_all_use_redis(shop: Shop) -> None:
    """The breakers may be open for up to a second after an earlier test."""
    product_id = factories.product({SP: 1}).pk

    def errand(shopper: Shopper) -> None:
        wait_until(lambda: all(shopper.look(product_id)["source"] == "counters" for _ in range(2)))

    shop.shoppers.go(errand)


def products_counted_wrongly() -> list[UUID]:
    """Those of which the counters say something else than the database, or nothing."""
    wanted = availability.views_of(Product.objects.values_list("pk", flat=True))
    readings = (copies.read_at(wanted.keys()) for _ in range(FAILURES_ALLOWED))  # a busy machine may miss the time-out
    found = next(filter(None, readings)).products
    return [product_id for product_id, view in wanted.items() if found.get(product_id) != view]


def a_busy_day() -> Errand:
    plenty, scarce = factories.product({SP: PLENTY}), factories.product({SP: UNITS})
    return shoppers.busy_day(plenty=plenty.pk, scarce=scarce.pk, rounds=ROUNDS)


def a_rush(shop: Shop, product_id: UUID) -> dict[tuple[int, str], int]:
    return in_words(shop.shoppers.go(shoppers.rush(product_id, tries=TRIES)))


buying = partial(shoppers.buying, gives_up_after=GIVES_UP_AFTER, waits_seconds=INTERVAL_SECONDS)


def all_who_come_back_are_served(shop: Shop, product_id: UUID) -> None:
    shop.shoppers.go(buying(product_id, times=3))
    for shopper in shop.shoppers.all:
        assert in_words(shopper.told)[201, "ACTIVE"] == 3
        assert in_words(shopper.told).keys() <= {(201, "ACTIVE"), (409, "insufficient_stock")}
        assert shoppers.most_refusals_in_a_row(shopper.told) <= MAX_IN_A_ROW


# --- away ------------------------------------------------------------------------------------------------------------


def most_typical(usual: Sequence[Told]) -> float:
    """Seconds that half of the answers may take at most, by what they take with Redis."""
    return 2 * typical(usual) + TIMEOUT_SECONDS


def most_slow(usual: Sequence[Told]) -> float:
    """The same for the slowest."""
    return 2 * slowest(usual) + CALLS_OF_AN_ANSWER * TIMEOUT_SECONDS


def is_as_quick(told: Sequence[Told], usual: Sequence[Told]) -> bool:
    return typical(told) <= most_typical(usual) and slowest(told) <= most_slow(usual)


def go_while_frozen(shop: Shop, errand: Errand) -> tuple[list[Told], float, float]:
    """What was told, how many calls have waited for Redis, and how many may have in the time that it took."""
    waited = shop.failures("no_answer")
    began = time.monotonic()
    with troubles.frozen(shop.server, shop.redis):
        told = shop.shoppers.go(errand)
    seconds = time.monotonic() - began
    most_waits = PROCESSES * (THREADS + FAILURES_ALLOWED + 1 + seconds / OPEN_SECONDS)
    return told, shop.failures("no_answer") - waited, most_waits


def go_while_it_comes_and_goes(shop: Shop, trouble: Trouble) -> list[Told]:
    """What was told on a busy day in each quarter of which Redis was in trouble for half of the time."""
    answers = sum(BUSY_DAY.values())
    with shop.shoppers.on_the_way(a_busy_day()) as trip:
        for begin in range(0, answers, answers // 4):
            trip.wait_for(begin)
            with trouble(shop.server, shop.redis):
                trip.wait_for(begin + answers // 8)
    return trip.told


def test_a_frozen_redis_costs_a_few_short_waits_and_then_one_in_a_second(shop: Shop) -> None:
    def is_cheap() -> bool:
        usual = shop.shoppers.go(a_busy_day())
        told, waits, most_waits = go_while_frozen(shop, a_busy_day())
        assert in_words(told) == in_words(usual) == BUSY_DAY
        assert 0 < waits <= most_waits
        return is_as_quick(told, usual)

    assert any(is_cheap() for _ in range(COMPARISONS))


@pytest.mark.parametrize(
    ("trouble", "noticed_as"),
    [
        (troubles.frozen, "no_answer"),
        (troubles.stopped, "no_answer"),
        (troubles.emptied, None),
        (troubles.full, "refused"),
        (troubles.alone, "refused"),
    ],
)
def test_a_busy_day_is_as_any_other_while_redis_comes_and_goes(
    shop: Shop, trouble: Trouble, noticed_as: str | None
) -> None:
    before = shop.failures(noticed_as) if noticed_as else 0

    def is_as_any_other() -> bool:
        usual = shop.shoppers.go(a_busy_day())
        told = go_while_it_comes_and_goes(shop, trouble)
        assert in_words(told) == in_words(usual) == BUSY_DAY
        return is_as_quick(told, usual)

    assert any(is_as_any_other() for _ in range(COMPARISONS))
    assert noticed_as is None or shop.failures(noticed_as) > before


def test_health_says_that_the_service_decides_without_its_redis(shop: Shop) -> None:
    with troubles.frozen(shop.server, shop.redis):
        health = shop.service.ask("GET", "/health")
    assert (health.status, health.json()["status"], health.json()["parts"]["redis"]) == (200, "degraded", "down")


# --- what the counters have missed -----------------------------------------------------------------------------------


def sold_out(shop: Shop) -> UUID:
    """A product that was sold out in a rush, as the counters know."""
    product_id = factories.product({SP: UNITS}).pk
    assert a_rush(shop, product_id) == RUSH
    assert shop.counted(product_id) == 0
    return product_id


@pytest.mark.parametrize("trouble", [troubles.full, troubles.alone, troubles.replica])
def test_what_comes_in_while_redis_takes_no_writes_is_sold_at_once(shop: Shop, trouble: Trouble) -> None:
    product_id = sold_out(shop)
    with trouble(shop.server, shop.redis):
        factories.receive(product_id, SP, UNITS)
        assert shop.counted(product_id) == 0
        assert a_rush(shop, product_id) == RUSH


def test_what_came_in_while_redis_was_frozen_is_sold_when_it_thaws(shop: Shop) -> None:
    product_id = sold_out(shop)
    with troubles.frozen(shop.server, shop.redis):
        for _ in range(FAILURES_ALLOWED):
            assert copies.read([product_id]) == {}  # what was sent would be read at the thaw
        factories.receive(product_id, SP, PLENTY)
    assert shop.counted(product_id) == 0
    all_who_come_back_are_served(shop, product_id)


def come_back_with_what_was_saved(shop: Shop) -> None:
    shop.server.send(signal.SIGKILL)
    with troubles.stopped(shop.server, shop.redis):
        pass
    (shop.server.folder / "dump.rdb").unlink()


def test_an_old_dump_that_has_what_is_sold_sells_nothing_twice(shop: Shop) -> None:
    product_id = factories.product({SP: UNITS}).pk
    assert shop.counted(product_id) == UNITS
    shop.redis.save()
    assert a_rush(shop, product_id) == RUSH
    come_back_with_what_was_saved(shop)
    assert shop.counted(product_id) == UNITS
    assert a_rush(shop, product_id) == RUSH_FOR_NOTHING
    assert shop.counted(product_id) == 0


def test_an_old_dump_that_lacks_what_came_in_keeps_nobody_from_buying_it(shop: Shop) -> None:
    product_id = sold_out(shop)
    shop.redis.save()
    factories.receive(product_id, SP, PLENTY)
    come_back_with_what_was_saved(shop)
    assert shop.counted(product_id) == 0
    all_who_come_back_are_served(shop, product_id)


# --- lies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", INVITING.values(), ids=INVITING.keys())
def test_by_a_lie_told_again_and_again_all_there_is_gets_sold_and_no_more(shop: Shop, lie: Lie) -> None:
    times, lied_of = 0, set()
    while times < MIN_LIES:  # a rush is quick, and may be over after the first ones
        product_id = factories.product({SP: 8, RJ: 8, PR: 8}).pk
        assert shop.counted(product_id) == UNITS
        with shop.shoppers.on_the_way(shoppers.rush(product_id, tries=TRIES)) as trip:
            while not trip.is_over:
                shop.lie(product_id, lie)
                times += 1
                time.sleep(0.002)
        assert in_words(trip.told) == RUSH
        shop.lie(product_id, lie)
        lied_of.add(product_id)
        assert set(products_counted_wrongly()) == lied_of


@pytest.mark.parametrize("lie", FORBIDDING.values(), ids=FORBIDDING.keys())
def test_who_is_refused_by_a_lie_is_served_after_the_interval(shop: Shop, lie: Lie) -> None:
    product_id = factories.product(dict.fromkeys((SP, RJ, PR), PLENTY)).pk
    for _ in range(3):
        shop.counted(product_id)
        shop.lie(product_id, lie)
        assert shop.counted(product_id) == 0
        all_who_come_back_are_served(shop, product_id)


def test_control_where_somebody_else_is_the_probe_for_ever_a_lie_refuses_for_ever(shop: Shop) -> None:
    product_id = factories.product(dict.fromkeys((SP, RJ, PR), PLENTY)).pk
    shop.counted(product_id)
    shop.lie(product_id, FORBIDDING["nothing there"])
    shop.redis.set(f"probe:{product_id}", "1")
    told = shop.shoppers.go(buying(product_id, times=1))
    assert in_words(told) == {(409, "insufficient_stock"): SHOPPERS * GIVES_UP_AFTER}


@pytest.mark.parametrize("probe", ["wants more than there is", "wants something else too", "has its reservation"])
def test_a_probe_that_takes_nothing_keeps_no_lie_alive_for_the_others(shop: Shop, probe: str) -> None:
    product_id, gone, order_id = factories.product({SP: 8, RJ: 8, PR: 8}).pk, factories.product({SP: 1}).pk, uuid4()
    first, other, *_ = shop.shoppers.all
    first.reserve(gone)
    first.reserve(product_id, order_id=order_id)
    shop.counted(product_id)
    shop.lie(product_id, FORBIDDING["nothing there"])
    for _ in range(MAX_IN_A_ROW + 1):
        if probe == "wants more than there is":
            first.reserve(product_id, PLENTY)
        elif probe == "wants something else too":
            first.reserve(product_id, 1, gone)
        else:
            first.reserve(product_id, order_id=order_id)
        if other.reserve(product_id) is not None:
            break
        time.sleep(INTERVAL_SECONDS)
    assert len(other.holds) == 1


# --- controls --------------------------------------------------------------------------------------------------------


@pytest.fixture
def unguarded_shop(client: redis.Redis, server: Redis, transactional_db: None, tmp_path: Path) -> Iterator[Shop]:
    more = {"DJANGO_SETTINGS_MODULE": unguarded.__name__, "INVENTORY_CRASH_POINT": "reserve.after_lock=sleep:0.02"}
    with serve(tmp_path, server, **more) as service:
        yield Shop(service, server, client, Shoppers(SHOPPERS, service.port))


def test_control_without_breaker_timeouts_and_locks_everybody_waits_and_too_much_is_sold(unguarded_shop: Shop) -> None:
    shop, plenty = unguarded_shop, factories.product({SP: PLENTY}).pk

    def errand(shopper: Shopper) -> None:
        for _ in range(3):
            shopper.look(plenty)
        shopper.reserve(plenty)

    usual = shop.shoppers.go(errand)
    told, waits, most_waits = go_while_frozen(shop, errand)
    assert waits > most_waits
    assert not is_as_quick(told, usual)

    with guards.without_constraints(NEVER_NEGATIVE, guards.ONE_NUMBER):
        rushes = (a_rush(shop, factories.product({SP: UNITS}).pk) for _ in range(MAX_RUSHES))
        assert any(rush[201, "ACTIVE"] > UNITS for rush in rushes)
        assert "I1" in {name.partition(":")[0].split()[0] for name in factories.broken_invariants()}
