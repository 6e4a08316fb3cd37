"""No overdue hold stops the others: not one that is locked, not one whose level is, not hundreds that are damaged."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from prometheus_client import REGISTRY

from inventory_project.foundation import batches, bulkhead
from inventory_project.foundation.failures import KeptWaiting
from reservations import expiring, lifecycle
from reservations.expiring import UnsettleableHolds
from reservations.holds import Hold
from reservations.lifecycle import Sweep
from reservations.models import Reservation
from reservations.requests import Outcome
from stock.models import StockLevel
from tests import factories
from tests.db.reservations import verbs
from tests.factories import RJ, SP, reserve_request

pytestmark = pytest.mark.usefixtures("books")

PROMISED_SECONDS = 5  # in which all others are released


@pytest.fixture(autouse=True)
def nothing_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a process that has just begun."""
    monkeypatch.setattr(expiring, "unsettleable", UnsettleableHolds())
    monkeypatch.setattr(bulkhead, "obstacles", bulkhead.Obstacles())


def overdue(product_id: UUID, number: int, *, warehouse_id: str = SP) -> list[Hold]:
    """That many holds of one unit, the later ones less long overdue."""
    held = [
        answer.hold
        for answer in lifecycle.reserve_many([reserve_request(product_id, 1, warehouse_id) for _ in range(number)])
        if isinstance(answer, Outcome)
    ]
    assert len(held) == number
    for hold in held:
        factories.make_overdue(hold)
    return held


def statuses() -> Counter[str]:
    return Counter(Reservation.objects.values_list("status", flat=True))


def last_success() -> float:
    return (
        REGISTRY.get_sample_value("inventory_job_last_success_timestamp_seconds", {"job": "expire_reservations"}) or 0
    )


def left_behind() -> float | None:
    return REGISTRY.get_sample_value("inventory_expiry_left_behind")


# --- locked --------------------------------------------------------------------------------------------------------


def sweep_around_a_locked_hold() -> Sweep:
    """A sweep over 200 holds, one of which another session keeps locked; afterwards it does not."""
    first, *_ = overdue(factories.product({SP: 200}).pk, 200)
    with verbs.locked("SELECT 1 FROM reservation WHERE id = %s FOR UPDATE", first.id):
        began = time.monotonic()
        sweep = lifecycle.sweep()
        assert time.monotonic() - began < PROMISED_SECONDS
    return sweep


def test_a_locked_hold_stops_no_other_and_is_released_once_it_is_free() -> None:
    before = last_success()

    assert sweep_around_a_locked_hold() == Sweep(released=199, left_behind=1)
    assert (left_behind(), last_success()) == (1, before)

    assert lifecycle.sweep() == Sweep(released=1, left_behind=0)
    assert left_behind() == 0
    assert last_success() > before


def test_control_a_sweep_that_leaves_nobody_out_releases_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = batches.run
    monkeypatch.setattr(batches, "run", lambda work, requests, **_options: run(work, requests))

    with pytest.raises(KeptWaiting):
        sweep_around_a_locked_hold()


def test_a_locked_level_keeps_back_only_the_holds_that_need_it() -> None:
    stuck, free = (factories.product({SP: 50}) for _ in range(2))
    kept = [hold for _ in range(50) for hold in (*overdue(stuck.pk, 1), *overdue(free.pk, 1))]
    with verbs.locked("SELECT 1 FROM stock_level WHERE product_id = %s FOR UPDATE", stuck.pk):
        began = time.monotonic()
        assert lifecycle.sweep() == Sweep(released=50, left_behind=50)
        assert time.monotonic() - began < PROMISED_SECONDS
    assert len(kept) == 100
    assert factories.numbers(free.pk) == (50, 0, 0)
    assert factories.numbers(stuck.pk) == (0, 50, 0)
    assert lifecycle.sweep() == Sweep(released=50, left_behind=0)


def test_a_level_that_is_busy_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "MAX_WAIT_MS", 60_000)
    product = factories.product({SP: 5})
    overdue(product.pk, 2)
    with verbs.locked("SELECT 1 FROM stock_level WHERE product_id = %s FOR UPDATE", product.pk) as sale:
        ends = threading.Timer(0.3, sale.execute, ["ROLLBACK"])
        ends.start()
        assert lifecycle.sweep() == Sweep(released=2, left_behind=0)
        ends.join()


def test_a_buyer_waits_briefly_for_a_locked_hold_and_the_next_one_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    product = factories.product({SP: 2})
    first, _ = overdue(product.pk, 2)
    with verbs.locked("SELECT 1 FROM reservation WHERE id = %s FOR UPDATE", first.id):
        assert verbs.reserve(reserve_request(product.pk, 1)).is_replay is False
        monkeypatch.setattr(bulkhead, "MAX_WAIT_MS", 0)  # would wait for the statement's limit, and fail
        refused = verbs.codes(lifecycle.reserve_many, reserve_request(product.pk, 1))
    assert refused == ["insufficient_stock"]


# --- damaged -------------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged() -> Iterator[list[Hold]]:
    """600 holds, the longest overdue of all, that cannot be settled: their level has forgotten them."""
    product = factories.product({SP: 600})
    holds = [hold for _ in range(6) for hold in overdue(product.pk, 100)]
    StockLevel.objects.filter(product_id=product.pk).update(reserved=0)
    yield holds
    StockLevel.objects.filter(product_id=product.pk).update(reserved=600)


def test_600_holds_that_cannot_be_settled_do_not_stop_a_good_one_and_are_then_left_alone(
    damaged: list[Hold], caplog: pytest.LogCaptureFixture
) -> None:
    [good] = overdue(factories.product({SP: 1}).pk, 1)
    before = last_success()

    with caplog.at_level(logging.ERROR):
        assert lifecycle.sweep() == Sweep(released=1, left_behind=600)

    assert verbs.status(good) == ("EXPIRED", False)
    assert (left_behind(), last_success()) == (600, before)
    assert caplog.text.count("overdue holds cannot be settled") == 2  # of each batch
    caplog.clear()
    with CaptureQueriesContext(connection) as captured:
        assert lifecycle.sweep() == Sweep(released=0, left_behind=600)
    assert len(captured) == 3  # the clock, what is due and not left out, what is left behind
    assert caplog.text == ""


def test_control_without_leaving_out_the_sweeper_never_comes_past_them(
    damaged: list[Hold], monkeypatch: pytest.MonkeyPatch
) -> None:
    [good] = overdue(factories.product({SP: 1}).pk, 1)
    monkeypatch.setattr(UnsettleableHolds, "add", lambda *_arguments, **_options: None)

    while lifecycle.sweep(should_stop=lambda: True).released:  # the oldest, again and again
        pass

    assert verbs.status(good) == ("ACTIVE", True)


def test_buyers_who_lack_stock_pay_for_damaged_holds_once(damaged: list[Hold]) -> None:
    product_id = damaged[0].lines[0].product_id
    lifecycle.sweep()
    for _ in range(2):
        with CaptureQueriesContext(connection) as captured:
            assert verbs.codes(lifecycle.reserve_many, reserve_request(product_id)) == ["insufficient_stock"]
        assert len(captured) == 9


def test_after_its_time_a_hold_that_was_left_out_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiring, "UNSETTLEABLE_SECONDS", 0.5)
    product = factories.product({SP: 5, RJ: 1})
    [held] = overdue(product.pk, 1)
    StockLevel.objects.filter(product_id=product.pk).update(reserved=0)
    assert lifecycle.sweep() == Sweep(released=0, left_behind=1)
    StockLevel.objects.filter(product_id=product.pk, warehouse_id=SP).update(reserved=1)

    time.sleep(0.5)

    assert lifecycle.sweep() == Sweep(released=1, left_behind=0)
    assert verbs.status(held) == ("EXPIRED", False)


# --- what is walked over -------------------------------------------------------------------------------------------


def test_a_sweep_meets_each_hold_once_the_longest_overdue_first() -> None:
    product = factories.product({SP: 20})
    holds = overdue(product.pk, 7)
    same_moment = holds[2:6]
    Reservation.objects.filter(pk__in=[hold.id for hold in same_moment]).update(
        expires_at=Reservation.objects.get(pk=holds[2].id).expires_at
    )
    expected = list(Reservation.objects.order_by("expires_at", "id").values_list("id", flat=True))

    pages = list(expiring.pages(Reservation.objects.all(), size=2))

    assert [len(page) for page in pages] == [2, 2, 2, 1]
    assert [id_ for page in pages for id_ in page] == expected


def test_a_process_remembers_a_bounded_number_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiring, "MAX_LEFT_OUT", 3)
    ids = [uuid4() for _ in range(5)]
    left_out = UnsettleableHolds()

    left_out.add(ids, seconds=60)

    assert left_out.ids() == ids[2:]


def test_should_stop_ends_a_sweep_after_the_batch_in_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "SWEEP_LIMIT", 2)
    overdue(factories.product({SP: 5}).pk, 5)

    assert lifecycle.sweep(should_stop=lambda: True) == Sweep(released=2, left_behind=3)
    assert lifecycle.sweep() == Sweep(released=3, left_behind=0)
