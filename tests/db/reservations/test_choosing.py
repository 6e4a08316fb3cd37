"""Choosing before locking: a product in many warehouses is locked only where it is sold, and sold as exactly."""

import re
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from prometheus_client import REGISTRY

from inventory_project.foundation import batches, bulkhead
from inventory_project.foundation.database import Deferred
from inventory_project.foundation.errors import Invalid, Refusal, Unavailable
from reservations import choosing, lifecycle, working_set
from reservations.holds import Hold
from reservations.models import Reservation
from reservations.requests import Expire, Outcome, Pay, SalesBlocked
from stock import blocking, ledger
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, SP, reserve_request
from warehouses.allocation import explanation
from warehouses.models import AllocationPolicy, Warehouse

pytestmark = pytest.mark.usefixtures("books")

PLACES = [f"wh-{number:03}" for number in range(6)]  # the first is preferred


@pytest.fixture(autouse=True)
def nothing_found_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test has kept locked is remembered for seconds, and asked about before each batch."""
    monkeypatch.setattr(bulkhead, "obstacles", bulkhead.Obstacles())


def wide(*units: int) -> UUID:
    """A product with these units in the first of PLACES, and none in the others, that this process has seen before."""
    for number, warehouse_id in enumerate(PLACES, start=2):
        factories.warehouse(warehouse_id, priority=number)
    product = factories.product(dict(zip(PLACES, [*units] + [1] * len(PLACES), strict=False)))
    for warehouse_id in PLACES[len(units) :]:
        factories.adjust(product.pk, warehouse_id, -1)
    with records.no_trace():
        assert verbs.codes(lifecycle.reserve_many, reserve_request(product.pk, 9_000)) == ["insufficient_stock"]
    return product.pk


def place(answer: Outcome | Refusal | Hold) -> str:
    """The warehouse that serves an order of one line."""
    held = answer.hold if isinstance(answer, Outcome) else answer
    assert isinstance(held, Hold)
    [line] = held.lines
    return line.warehouse_id


@contextmanager
def meanwhile(act: Callable[[], object], *, times: int = 1, before: str = "locking_levels") -> Iterator[list[int]]:
    """Somebody else does this each time just before levels are locked; yields how often levels were locked."""
    locking: Callable[..., Deferred[ledger.LockedLevels]] = getattr(ledger, before)
    calls: list[int] = []

    def another_process() -> None:
        try:
            act()
        finally:
            connection.close()

    def lock(ids: Collection[Any]) -> Deferred[ledger.LockedLevels]:
        calls.append(len(ids))
        if len(calls) <= times:
            with pytest.MonkeyPatch.context() as own, ThreadPoolExecutor(1) as pool:
                own.setattr(ledger, before, locking)
                pool.submit(another_process).result()
        return locking(ids)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, before, lock)
        yield calls


@contextmanager
def everything_locked_but(product_id: UUID, warehouse_id: str) -> Iterator[None]:
    """Somebody else holds the locks of the product's other levels."""
    with verbs.another_session() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            "SELECT FROM stock_level WHERE product_id = %s AND warehouse_id <> %s FOR NO KEY UPDATE",
            [product_id, warehouse_id],
        )
        yield
        cursor.execute("ROLLBACK")


def narrow(patch: pytest.MonkeyPatch) -> None:
    """From here on all levels are locked, as of products in few warehouses."""
    patch.setattr(working_set, "is_wide", lambda _product_ids: False)


# --- what is locked ------------------------------------------------------------------------------------------------


def test_only_the_chosen_levels_are_locked() -> None:
    product_id = wide(5, 5)
    with everything_locked_but(product_id, PLACES[0]):
        assert place(factories.hold(product_id, 2)) == PLACES[0]
    assert factories.numbers(product_id, PLACES[0]) == (3, 2, 0)


def test_control_where_all_levels_are_locked_the_buyer_waits_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    product_id = wide(5, 5)
    narrow(monkeypatch)
    with everything_locked_but(product_id, PLACES[0]), pytest.raises(Unavailable):
        factories.hold(product_id, 2)


def test_a_product_in_few_warehouses_is_locked_as_a_whole_without_a_reading() -> None:
    product = factories.product(dict.fromkeys(PLACES[: working_set.MAX_LEVELS_TOGETHER], 5))
    for _ in range(2):
        with CaptureQueriesContext(connection) as captured:
            factories.hold(product.pk)
        assert len(captured) == 12


def test_a_batch_takes_as_many_statements_for_a_hundred_requests_as_for_one() -> None:
    product_ids = [wide(500, 500), wide(500, 500)]
    patterns = [
        "BEGIN",
        r"SELECT set_config\('lock_timeout',",
        r"SELECT .* FROM stock_level WHERE product_id = ANY\(%s\)$",
        "SELECT .* FROM warehouse",
        r"SELECT .* FROM stock_level WHERE id = ANY\(%s\) ORDER BY .* FOR NO KEY UPDATE OF stock_level$",
        "SELECT .* FROM warehouse",
        "SELECT .* FROM reservation JOIN reservation_item .* AND reservation.is_live",
        r"SELECT clock_timestamp\(\)",
        "INSERT INTO reservation ",
        "INSERT INTO reservation_item ",
        "INSERT INTO stock_movement ",
        "UPDATE stock_level ",
        "INSERT INTO outbox_event ",
        "COMMIT",
    ]
    for size in (1, 10, 100):
        requests = [reserve_request(product_ids[i % 2], 2) for i in range(size)]
        with CaptureQueriesContext(connection) as captured:
            assert set(verbs.codes(lifecycle.reserve_many, *requests)) == {"new"}
        sent = [query["sql"] for query in captured.captured_queries]
        assert [sql for sql, pattern in zip(sent, patterns, strict=True) if not re.match(pattern, sql)] == []


# --- what has changed since the reading ----------------------------------------------------------------------------


def test_what_others_have_bought_meanwhile_is_chosen_elsewhere() -> None:
    product_id = wide(3, 5)
    with meanwhile(lambda: factories.hold(product_id, 2, PLACES[0])):
        answers = lifecycle.reserve_many([reserve_request(product_id, 2), reserve_request(product_id, 1)])
    assert [place(answer) for answer in answers] == [PLACES[1], PLACES[0]]
    assert factories.numbers(product_id, PLACES[0]) == (0, 3, 0)


def test_control_without_a_second_look_the_ledger_refuses_to_oversell(monkeypatch: pytest.MonkeyPatch) -> None:
    product_id = wide(3, 5)
    monkeypatch.setattr(choosing, "is_still_there", lambda _locked, _chosen: True)

    def oversold() -> float:
        return REGISTRY.get_sample_value("inventory_oversell_events") or 0.0

    before = oversold()
    with meanwhile(lambda: factories.hold(product_id, 2, PLACES[0])):
        assert place(factories.hold(product_id, 2)) == PLACES[1]  # alone, once the batch has failed
    assert oversold() == before + 1


def test_what_is_blocked_meanwhile_is_refused() -> None:
    product_id = wide(3, 5)
    with (
        meanwhile(lambda: blocking.block_product(product_id, reason="recall", actor=ACTOR)),
        pytest.raises(SalesBlocked),
    ):
        factories.hold(product_id)


def test_a_warehouse_that_is_closed_meanwhile_sells_nothing() -> None:
    product_id = wide(3, 5)
    with meanwhile(lambda: blocking.close_warehouse(PLACES[0], actor=ACTOR)):
        assert place(factories.hold(product_id)) == PLACES[1]


def test_a_policy_that_changes_meanwhile_is_followed() -> None:
    product_id = wide(3, 5)
    with meanwhile(lambda: Warehouse.objects.filter(pk=PLACES[1]).update(priority=1)):
        assert place(factories.hold(product_id)) == PLACES[1]
    with meanwhile(lambda: AllocationPolicy.objects.create(preferences=["balance"], split="never")):
        assert explanation.explain(factories.hold(product_id).allocation)["policy"]["preferences"] == ["balance"]


def test_who_misses_twice_is_decided_over_locked_levels() -> None:
    product_id = wide(1, 1, 1)
    left = iter(PLACES)
    with meanwhile(lambda: factories.hold(product_id, 1, next(left)), times=9) as calls:
        assert place(factories.hold(product_id)) == PLACES[2]
    assert len(calls) == 2
    assert factories.numbers(product_id, PLACES[2]) == (0, 1, 0)


def test_what_comes_in_before_the_locks_is_not_refused() -> None:
    product_id = wide(1)
    with meanwhile(lambda: factories.receive(product_id, PLACES[3], 7), before="locking"):
        assert place(factories.hold(product_id, 5)) == PLACES[3]


def test_the_explanation_says_that_the_numbers_were_read_before_the_locks() -> None:
    full = explanation.explain(factories.hold(wide(3, 5)).allocation)
    assert [note["code"] for note in full["notes"]] == ["no_postal_code", "read_before"]


# --- what a batch answers ------------------------------------------------------------------------------------------


def test_a_batch_is_answered_as_over_locked_levels() -> None:
    product_id, other_id = wide(2, 1), wide(5)
    order, again, conflict = uuid4(), uuid4(), uuid4()
    held = factories.hold(other_id, 1, order_id=again)
    factories.hold(other_id, 1, order_id=conflict)
    requests = [
        reserve_request(product_id, 1, order_id=order),
        reserve_request(other_id, 1, order_id=again),
        reserve_request(other_id, 2, order_id=conflict),
        reserve_request(product_id, 1, order_id=order),
        reserve_request(product_id, 2, order_id=order),
        reserve_request(product_id, 1),
    ]
    assert verbs.codes(lifecycle.reserve_many, *requests) == [
        "new",
        "replay",
        "order_conflict",
        "replay",
        "order_conflict",
        "new",
    ]
    assert lifecycle.reserve_many(requests)[1].hold.id == held.id  # type: ignore[union-attr]
    last = [reserve_request(id_) for id_ in (product_id, product_id, other_id, uuid4())]
    answers = lifecycle.reserve_many(last)
    assert [answer.code if isinstance(answer, Refusal) else "new" for answer in answers] == [
        "new",
        "insufficient_stock",
        "new",
        "unknown_ids",
    ]
    assert isinstance(answers[3], Invalid)


def test_twins_of_which_the_first_misses_are_one_reservation() -> None:
    product_id, order_id = wide(1, 5), uuid4()
    requests = [reserve_request(product_id, 1, order_id=order_id) for _ in range(3)]
    with meanwhile(lambda: factories.hold(product_id, 1, PLACES[0])):
        assert verbs.codes(lifecycle.reserve_many, *requests) == ["new", "replay", "replay"]
    assert Reservation.objects.filter(order_id=order_id).count() == 1


# --- no longer than half a second ----------------------------------------------------------------------------------


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each transaction decides one request."""
    monkeypatch.setattr(working_set, "MAX_DECIDING_SECONDS", 0.0)


@pytest.mark.usefixtures("no_time")
@pytest.mark.parametrize("is_wide", [False, True])
def test_what_a_transaction_has_no_time_for_is_decided_in_the_next_one(is_wide: bool) -> None:
    product_id = wide(3) if is_wide else factories.product({SP: 3}).pk
    order_id = uuid4()
    requests = [
        reserve_request(product_id, 2, order_id=order_id),
        reserve_request(product_id, 2),
        reserve_request(product_id, 2, order_id=order_id),
        reserve_request(product_id, 1),
        reserve_request(product_id, 1),
    ]
    assert verbs.codes(lifecycle.reserve_many, *requests) == [
        "new",
        "insufficient_stock",
        "replay",
        "new",
        "insufficient_stock",
    ]
    sizes = {reservation.items.count() for reservation in Reservation.objects.all()}
    assert (Reservation.objects.count(), sizes) == (2, {1})


@pytest.mark.usefixtures("no_time")
def test_late_payments_that_a_transaction_has_no_time_for_are_decided_in_the_next_one() -> None:
    product = factories.product({SP: 3})
    held = [factories.hold(product.pk) for _ in range(3)]
    lifecycle.expire_many([Expire(reservation_id=one.id, only_if_due=False, actor=ACTOR) for one in held])
    requests = [Pay(order_id=order_id, actor=ACTOR) for order_id in [*(one.order_id for one in held), uuid4()]]
    with CaptureQueriesContext(connection) as captured:
        assert verbs.codes(lifecycle.pay_many, *requests) == ["new", "new", "new", "not_found"]
    assert sum(query["sql"] == "COMMIT" for query in captured.captured_queries) == 4


@pytest.mark.usefixtures("no_time")
def test_once_something_is_committed_its_answer_is_given_whatever_becomes_of_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    product = factories.product({SP: 3})
    run = batches.run
    runs: list[int] = []

    def run_once(work: Any, requests: Any, **options: Any) -> Any:
        runs.append(len(requests))
        if len(runs) > 1:
            raise Unavailable("The database is too busy; nothing was changed.")
        return run(work, requests, **options)

    monkeypatch.setattr(batches, "run", run_once)
    requests = [reserve_request(product.pk) for _ in range(3)]
    assert verbs.codes(lifecycle.reserve_many, *requests) == ["new", "overloaded", "overloaded"]
    assert (runs, Reservation.objects.count()) == ([3, 2], 1)
