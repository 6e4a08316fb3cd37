"""One row is kept locked for long, as by a psql left open, while others buy what is beside it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from reservations.holds import Hold
from tests import factories
from tests.db.reservations import verbs
from tests.factories import SP
from tests.integration.faults.shoppers import Shopper, Told
from tests.integration.group_commit.conftest import serving
from tests.service import Service

BUYERS, STUCK_BUYERS, PRODUCTS = 16, 2, 40
SECONDS = 8.0
STALL_SECONDS = 1.0  # a call that took longer has waited for the lock
PROCESSES = 2
LEVELS_OF = "SELECT 1 FROM stock_level WHERE product_id = %s FOR UPDATE"
HOLD = "SELECT 1 FROM reservation WHERE id = %s FOR UPDATE"


@pytest.fixture(scope="module")
def service(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("locked") / "serve.log"
    with serving(log, WEB_WORKERS=PROCESSES, LOG_LEVEL="ERROR") as service:
        yield service


def told_while(service: Service, errands: Sequence[Callable[[Shopper, int], object]]) -> list[list[Told]]:
    """What each shopper was told, who repeats its errand for SECONDS."""
    shoppers = [Shopper(number, service.port) for number in range(len(errands))]
    end = time.monotonic() + SECONDS

    def run(shopper: Shopper) -> list[Told]:
        turn = 0
        while time.monotonic() < end:
            errands[shopper.number](shopper, turn)
            turn += 1
        return shopper.told

    with ThreadPoolExecutor(len(shoppers)) as pool:
        return list(pool.map(run, shoppers))


def share_decided(all_told: list[list[Told]]) -> float:
    told = [one for each in all_told for one in each]
    words = Counter((one.status, one.word) for one in told)
    assert set(words) <= {(201, "ACTIVE"), (200, "CONFIRMED"), (200, "CANCELLED"), (503, "overloaded")}
    return sum(one.status < 300 for one in told) / len(told)


def stalls(told: list[Told]) -> int:
    return sum(one.seconds > STALL_SECONDS for one in told)


@pytest.mark.usefixtures("books")
def test_who_buys_something_else_waits_once_at_most_in_each_process(service: Service) -> None:
    stuck = factories.product({SP: 10_000}).pk
    others = [factories.product({SP: 10_000}).pk for _ in range(PRODUCTS)]

    def buy_another(shopper: Shopper, turn: int) -> None:
        shopper.reserve(others[(shopper.number * 7 + turn) % PRODUCTS])

    def buy_stuck(shopper: Shopper, turn: int) -> None:
        shopper.reserve(stuck)

    with verbs.locked(LEVELS_OF, stuck):
        told = told_while(service, [buy_another] * BUYERS + [buy_stuck] * STUCK_BUYERS)
    assert share_decided(told[:BUYERS]) >= 0.98
    assert max(stalls(each) for each in told[:BUYERS]) <= PROCESSES
    assert all(one.status == 503 for each in told[BUYERS:] for one in each)
    assert told_while_free(service, stuck) == (201, "ACTIVE")


def told_while_free(service: Service, product_id: UUID) -> tuple[int, str]:
    shopper = Shopper(0, service.port)
    shopper.reserve(product_id)
    return shopper.told[0].status, shopper.told[0].word


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize("verb", ["confirm", "cancel"])
@pytest.mark.parametrize("lock", ["its row", "its level"])
def test_who_settles_another_hold_waits_once_at_most_in_each_process(service: Service, verb: str, lock: str) -> None:
    stuck = factories.product({SP: 10_000}).pk
    held: list[Hold] = [factories.hold(stuck, 1) for _ in range(STUCK_BUYERS)]
    others = [factories.product({SP: 10_000}).pk for _ in range(PRODUCTS)]

    def buy_and_settle(shopper: Shopper, turn: int) -> None:
        reservation_id = shopper.reserve(others[(shopper.number * 7 + turn) % PRODUCTS])
        if reservation_id is not None:
            shopper.settle(reservation_id, verb)

    def settle_stuck(shopper: Shopper, turn: int) -> None:
        shopper.settle(held[shopper.number - BUYERS].id, verb)

    sql, parameters = (
        (HOLD.replace("= %s", "= ANY(%s)"), [each.id for each in held]) if lock == "its row" else (LEVELS_OF, stuck)
    )
    with verbs.locked(sql, parameters):
        told = told_while(service, [buy_and_settle] * BUYERS + [settle_stuck] * STUCK_BUYERS)
    assert share_decided(told[:BUYERS]) >= 0.98
    assert max(stalls(each) for each in told[:BUYERS]) <= PROCESSES + 1
    assert all(one.status == 503 for each in told[BUYERS:] for one in each)
