"""Processes that are killed in the middle of what they do (F1, F5)."""

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from django.db import connection, transaction

from reservations import holds, lifecycle, reserving, settling
from reservations.models import Reservation
from reservations.requests import Cancel, Outcome
from tests import factories
from tests.integration.faults import clients
from tests.integration.faults.sessions import Sessions
from tests.integration.races import guards
from tests.processes import Worker, wait_until

ONE_LIVE = (Reservation, "reservation_is_the_only_live_one_of_its_order")


def run_until_killed(call: Callable[[], object], point: str, sessions: Sessions) -> None:
    """Run the call in a process that dies at the crash point; returns when PostgreSQL has noticed."""
    with Worker(INVENTORY_CRASH_POINT=f"{point}=kill") as worker:
        worker.begin(call)
        assert worker.wait() == -signal.SIGKILL
    wait_until(lambda: sessions() == [])


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize(
    ("point", "left"), [("reserve.before_lock", 0), ("reserve.before_commit", 0), ("reserve.after_commit", 1)]
)
def test_a_client_whose_server_was_killed_repeats_and_has_one_reservation(
    sessions: Sessions, point: str, left: int
) -> None:
    product = factories.product({factories.SP: 5})
    request = factories.reserve_request(product.pk, 2)
    run_until_killed(partial(clients.ask_once, request), point, sessions)
    assert Reservation.objects.count() == left

    outcome = clients.ask_once(request)
    assert isinstance(outcome, Outcome)
    assert outcome.is_replay is bool(left)
    assert Reservation.objects.get().pk == outcome.hold.id
    assert factories.numbers(product.pk) == (3, 2, 0)


@pytest.mark.usefixtures("books")
def test_a_late_payment_whose_process_was_killed_is_repeated_and_revives_once(sessions: Sessions) -> None:
    held = factories.hold(factories.product({factories.SP: 5}).pk, 2)
    factories.make_overdue(held)
    lifecycle.sweep()
    run_until_killed(partial(clients.pay_once, held.order_id), "pay.before_commit", sessions)
    assert Reservation.objects.get().status == "EXPIRED"

    outcome = clients.pay_once(held.order_id)
    assert isinstance(outcome, Outcome)
    assert (outcome.hold.status, outcome.hold.replaces_id) == ("CONFIRMED", held.id)
    assert Reservation.objects.count() == 2
    assert factories.numbers(held.lines[0].product_id) == (3, 0, 0)


@pytest.mark.usefixtures("books")
def test_a_warehouse_made_while_a_reservation_waits_is_known_to_it() -> None:
    product = factories.product({factories.SP: 1})
    with Worker(INVENTORY_CRASH_POINT="reserve.before_lock=sleep:1") as worker:
        worker.begin(partial(clients.ask_once, factories.reserve_request(product.pk, 5)))
        factories.receive(product.pk, "wh-new-001", 5)
        [outcome] = worker.answers()
    assert isinstance(outcome, Outcome)
    assert [line.warehouse_id for line in outcome.hold.lines] == ["wh-new-001"]


@pytest.mark.usefixtures("books")
def test_a_payment_meets_the_reservation_that_the_order_got_while_it_waited() -> None:
    product = factories.product({factories.SP: 5})
    held = factories.hold(product.pk, 2)
    with Worker() as worker:
        worker.run(
            partial(int)
        )  # it is up now: on a busy machine its start takes longer than a transaction may be idle
        with transaction.atomic():
            holds.locking([held.id])()
            worker.begin(partial(clients.pay_once, held.order_id))
            wait_until(is_somebody_waiting)
            settling.cancel([Cancel(reservation_id=held.id, actor=factories.ACTOR)])
            again = factories.reserve_request(product.pk, 3, order_id=held.order_id)
            [reserved] = reserving.reserve([again])
        [paid] = worker.answers()
    assert isinstance(reserved, Outcome)
    assert isinstance(paid, Outcome)
    assert (paid.hold.id, paid.hold.status) == (reserved.hold.id, "CONFIRMED")
    assert factories.numbers(product.pk) == (2, 0, 0)


def is_somebody_waiting() -> bool:
    """Whether somebody waits for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
        return cursor.fetchone() is not None


def test_control_without_look_up_and_constraint_the_repeat_makes_a_second_one(sessions: Sessions) -> None:
    with guards.without_constraints(ONE_LIVE), guards.without_twin_look_up():
        product = factories.product({factories.SP: 5})
        request = factories.reserve_request(product.pk, 2)
        run_until_killed(partial(clients.ask_once, request), "reserve.after_commit", sessions)
        clients.ask_once(request)
        assert factories.numbers(product.pk) == (1, 4, 0)
        assert [name[:2] for name in factories.broken_invariants()] == ["I7"]


def acknowledged_by_a_process_that_is_killed(client: Callable[..., None], log: Path, sessions: Sessions) -> None:
    """Kill a process with six clients at it once thirty reservations are acknowledged; repeat nothing."""
    product = factories.product({factories.SP: 10_000})
    with Worker() as worker:
        worker.begin(
            *(partial(client, [factories.reserve_request(product.pk) for _ in range(500)], log) for _ in range(6))
        )
        wait_until(lambda: len(clients.noted(log)) >= 30)
        worker.send(signal.SIGKILL)
        assert worker.wait() == -signal.SIGKILL
    wait_until(lambda: sessions() == [])


def in_the_books() -> dict[object, object]:
    return dict(Reservation.objects.values_list("order_id", "id"))


@pytest.mark.usefixtures("books")
def test_what_a_killed_process_had_acknowledged_is_there(sessions: Sessions, tmp_path: Path) -> None:
    log = tmp_path / "log"
    acknowledged_by_a_process_that_is_killed(clients.reserve_all, log, sessions)
    assert clients.noted(log).items() <= in_the_books().items()


def test_control_what_is_acknowledged_before_the_commit_may_be_lost(sessions: Sessions, tmp_path: Path) -> None:
    log = tmp_path / "log"
    acknowledged_by_a_process_that_is_killed(clients.reserve_all_and_note_too_early, log, sessions)
    assert not clients.noted(log).items() <= in_the_books().items()


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize(("point", "released"), [("settle.before_commit", 0), ("sweep.after_batch", 5)])
def test_after_a_sweeper_was_killed_the_next_one_releases_the_rest_once(
    sessions: Sessions, point: str, released: int
) -> None:
    product = factories.product({factories.SP: 12})
    for _ in range(12):
        factories.make_overdue(factories.hold(product.pk))
    run_until_killed(sweep_in_batches_of_five, point, sessions)
    assert factories.numbers(product.pk) == (released, 12 - released, 0)
    assert lifecycle.sweep().released == 12 - released
    assert factories.numbers(product.pk) == (12, 0, 0)


def sweep_in_batches_of_five() -> lifecycle.Sweep:
    with clients.sweeping_in_batches_of(5):
        return lifecycle.sweep()
