"""A process whose clock is an hour off: expiry follows the database's (F18)."""

from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest

from inventory_project.foundation.database import database_now
from reservations import lifecycle
from reservations.requests import Outcome, ReservationExpired
from tests import factories
from tests.integration.faults import clients
from tests.integration.races import contestants
from tests.processes import Worker

AHEAD, BEHIND = "3600", "-3600"


@pytest.mark.usefixtures("books")
def test_a_process_an_hour_ahead_expires_nothing_that_has_time() -> None:
    product = factories.product({factories.SP: 5})
    hold = factories.hold(product.pk)
    with Worker(TEST_CLOCK_OFFSET_SECONDS=AHEAD) as worker:
        assert worker.run(lifecycle.sweep).released == 0
        outcome = worker.run(partial(contestants.confirm, hold.id))
    assert isinstance(outcome, Outcome)
    assert outcome.hold.settled_at is not None
    assert abs(outcome.hold.settled_at - database_now()) < timedelta(minutes=1)


@pytest.mark.usefixtures("books")
def test_control_by_its_own_clock_it_expires_a_hold_that_has_time() -> None:
    product = factories.product({factories.SP: 5})
    factories.hold(product.pk)
    with Worker(TEST_CLOCK_OFFSET_SECONDS=AHEAD) as worker:
        assert worker.run(lifecycle.sweep, within=[clients.by_the_applications_clock]).released == 1


@pytest.mark.usefixtures("books")
def test_a_process_an_hour_behind_sees_that_time_is_up_and_gives_the_full_time_to_a_new_hold() -> None:
    product = factories.product({factories.SP: 5})
    overdue = factories.hold(product.pk)
    factories.make_overdue(overdue)
    with Worker(TEST_CLOCK_OFFSET_SECONDS=BEHIND) as worker:
        assert isinstance(worker.run(partial(contestants.confirm, overdue.id)), ReservationExpired)
        assert worker.run(lifecycle.sweep).released == 1
        outcome = worker.run(partial(contestants.reserve, factories.reserve_request(product.pk, ttl_minutes=10)))
    assert timedelta(minutes=9) < outcome.hold.expires_at - database_now() < timedelta(minutes=10)


@pytest.mark.usefixtures("books")
def test_the_latest_reservation_of_an_order_is_the_latest_by_the_databases_clock() -> None:
    first, second = (factories.product({factories.SP: 5}) for _ in range(2))
    order_id = uuid4()
    with Worker(TEST_CLOCK_OFFSET_SECONDS=AHEAD) as worker:
        earlier = worker.run(partial(contestants.reserve, factories.reserve_request(first.pk, order_id=order_id))).hold
        later = factories.reserve_request(second.pk, order_id=order_id)
        worker.run(partial(contestants.expire, earlier.id))
    hold = lifecycle.one(lifecycle.reserve_many, later).hold
    contestants.expire(hold.id)
    assert earlier.id > hold.id  # ids are made by the processes' clocks

    paid = contestants.pay(order_id)
    assert isinstance(paid, Outcome)
    assert paid.hold.replaces_id == hold.id
