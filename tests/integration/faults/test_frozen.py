"""A process that stands still inside its transaction, with the last units locked (F2)."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from inventory_project import startup
from inventory_project.foundation.errors import Unavailable
from reservations.models import Reservation
from reservations.requests import Outcome, Reserve
from stock.ledger import InsufficientStock
from tests import factories
from tests.integration.faults import clients
from tests.integration.faults.sessions import Sessions
from tests.processes import Worker, wait_until

LAST_STATEMENT = "SELECT clock_timestamp()"  # what it writes is sent with the COMMIT


@contextmanager
def frozen_before_its_commit(request: Reserve, sessions: Sessions, *, timeout: str) -> Iterator[Worker]:
    """A process stopped between its decision and its commit, with its rows locked; thawed by the caller."""
    with Worker(INVENTORY_CRASH_POINT="reserve.before_commit=sleep:0.6") as worker:
        worker.run(startup.warm_up)  # or it would read the network after the clock
        worker.begin(partial(clients.ask_with, request, idle_in_transaction_session_timeout=timeout))
        wait_until(
            lambda: any(
                session.state == "idle in transaction" and session.last_statement.startswith(LAST_STATEMENT)
                for session in sessions()
            )
        )
        worker.send(signal.SIGSTOP)
        yield worker


@pytest.mark.usefixtures("books")
def test_the_idle_in_transaction_timeout_frees_the_rows_and_the_sleeper_sees_no_success(sessions: Sessions) -> None:
    product = factories.product({factories.SP: 1})
    sleeper, buyer = (factories.reserve_request(product.pk) for _ in range(2))
    with frozen_before_its_commit(sleeper, sessions, timeout="500ms") as worker:
        assert isinstance(clients.ask_once(buyer), Outcome)
        worker.send(signal.SIGCONT)
        (answer,) = worker.answers()
    assert isinstance(answer, InsufficientStock)  # decided once more, in another session
    assert factories.numbers(product.pk) == (0, 1, 0)
    assert Reservation.objects.get().order_id == buyer.order_id


@pytest.mark.usefixtures("books")
def test_control_without_the_timeout_the_rows_stay_locked_until_the_sleeper_wakes(sessions: Sessions) -> None:
    product = factories.product({factories.SP: 1})
    sleeper, buyer = (factories.reserve_request(product.pk) for _ in range(2))
    with frozen_before_its_commit(sleeper, sessions, timeout="0") as worker:
        refused = clients.ask_once(buyer)
        worker.send(signal.SIGCONT)
        (answer,) = worker.answers()
    assert isinstance(refused, Unavailable)
    assert isinstance(answer, Outcome)
    assert Reservation.objects.get().order_id == sleeper.order_id
