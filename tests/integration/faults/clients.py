"""Clients who keep a log of what was acknowledged to them, to be held against the books afterwards (I8)."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from django.db import Error, connection, transaction

from inventory_project.foundation import database, failures
from inventory_project.foundation.errors import Refusal
from inventory_project.foundation.failures import Failure
from reservations import lifecycle, reserving
from reservations.lifecycle import Answer
from reservations.requests import Confirm, Outcome, Pay, Reserve
from tests.factories import ACTOR, reserve_request


def ask_once(request: Reserve) -> Answer:
    """The answer, or the refusal raised, to a client who does not repeat."""
    try:
        return lifecycle.reserve_many([request])[0]
    except Refusal as refusal:
        return refusal


def pay_once(order_id: UUID) -> Answer:
    """What becomes of a payment for the order."""
    return lifecycle.pay_many([Pay(order_id=order_id, actor=ACTOR)])[0]


def ask_with(request: Reserve, **options: str) -> Answer:
    """The same, in a session with these options of PostgreSQL."""
    with connection.cursor() as cursor:
        for name, value in options.items():
            cursor.execute(f"SET {name} = %s", [value])
    return ask_once(request)


def _note(log: Path, outcome: Answer) -> None:
    """One line, written by one call: a process killed meanwhile leaves whole lines."""
    assert isinstance(outcome, Outcome)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{outcome.hold.order_id} {outcome.hold.id}\n".encode())
    os.close(file)


def reserve_all(requests: Sequence[Reserve], log: Path) -> None:
    """Reserve one after the other and note each acknowledgement in the log."""
    for request in requests:
        _note(log, ask_once(request))


def reserve_all_and_note_too_early(requests: Sequence[Reserve], log: Path) -> None:
    """The same by a service that answers before it has committed."""
    for request in requests:
        with transaction.atomic():
            _note(log, reserving.reserve([request])[0])
            time.sleep(0.01)


def noted(log: Path) -> dict[UUID, UUID]:
    """Reservation by order, as the client's log has them."""
    lines = log.read_text().splitlines() if log.exists() else []
    return {UUID(order_id): UUID(reservation_id) for order_id, reservation_id in map(str.split, lines)}


def reserve_and_confirm_steadily(
    product_ids: Sequence[UUID], *, seconds: float
) -> tuple[dict[UUID, str], Counter[str]]:
    """Reserve for a while and confirm what was granted, each on a connection from the pool, as a web request does.

    The state of each reservation as last acknowledged, and what else was said: codes of refusals, names of errors.
    """
    acknowledged: dict[UUID, str] = {}
    otherwise: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for product_id in product_ids:
            try:
                hold = lifecycle.one(lifecycle.reserve_many, reserve_request(product_id)).hold
                acknowledged[hold.id] = "ACTIVE"
                connection.close()
                lifecycle.one(lifecycle.confirm_many, Confirm(reservation_id=hold.id, actor=ACTOR))
                acknowledged[hold.id] = "CONFIRMED"
            except Refusal as refusal:
                otherwise[refusal.code] += 1
            except Error as error:
                otherwise[type(error).__name__] += 1
            finally:
                connection.close()
    return acknowledged, otherwise


# --- guards that a control takes away ------------------------------------------------------------------------------


@contextmanager
def without_repeating() -> Iterator[None]:
    """A lost connection is an error like any other."""
    with pytest.MonkeyPatch.context() as patch:
        kind_of = failures.kind_of
        patch.setattr(
            failures,
            "kind_of",
            lambda error: Failure.OWN if kind_of(error) == Failure.LOST else kind_of(error),
        )
        yield


@contextmanager
def by_the_applications_clock() -> Iterator[None]:
    """What should be asked of the database is read from the process's own clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "database_now", lambda: datetime.now(UTC))
        patch.setattr(database, "read_clock", lambda: lambda: datetime.now(UTC))
        yield


@contextmanager
def sweeping_in_batches_of(number: int) -> Iterator[None]:
    """The sweeper releases so many holds in one transaction."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifecycle, "SWEEP_LIMIT", number)
        yield
