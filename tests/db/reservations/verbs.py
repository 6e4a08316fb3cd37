"""The verbs for a single request each, as tests say them; a refusal is raised."""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import pytest
from django.db import connection

from inventory_project.foundation import batches, database
from inventory_project.foundation.database import Deferred
from inventory_project.foundation.errors import Refusal
from reservations import calling_off, holds, lifecycle
from reservations.holds import Hold
from reservations.models import Reservation
from reservations.requests import (
    CallOff,
    CallOffReason,
    Cancel,
    Confirm,
    Expire,
    Extend,
    Item,
    Outcome,
    Pay,
    Reserve,
    Return,
)
from tests.factories import ACTOR

Request = TypeVar("Request")
Ending = Callable[[Hold], Outcome]  # confirm, cancel or expire


def reserve(request: Reserve) -> Outcome:
    return lifecycle.one(lifecycle.reserve_many, request)


def confirm(held: Hold, *items: Item) -> Outcome:
    request = Confirm(reservation_id=held.id, items=items or None, actor=ACTOR)
    return lifecycle.one(lifecycle.confirm_many, request)


def cancel(held: Hold, **options: Any) -> Outcome:
    return lifecycle.one(lifecycle.cancel_many, Cancel(reservation_id=held.id, actor=ACTOR, **options))


def expire(held: Hold, *, only_if_due: bool = False) -> Outcome:
    request = Expire(reservation_id=held.id, only_if_due=only_if_due, actor=ACTOR)
    return lifecycle.one(lifecycle.expire_many, request)


def extend(held: Hold, **options: Any) -> Outcome:
    return lifecycle.one(lifecycle.extend_many, Extend(reservation_id=held.id, actor=ACTOR, **options))


def give_back(held: Hold, *items: Item, reference: str = "return-1") -> Outcome:
    request = Return(reservation_id=held.id, reference=reference, items=items or None, actor=ACTOR)
    return lifecycle.one(lifecycle.return_many, request)


def pay(order_id: UUID, **options: Any) -> Outcome:
    return lifecycle.one(lifecycle.pay_many, Pay(order_id=order_id, actor=ACTOR, **options))


def call_off_many(requests: Sequence[CallOff]) -> list[lifecycle.Answer]:
    return batches.run(calling_off.call_off, requests)


def call_off(
    order_id: UUID, *items: Item, reason: CallOffReason = "cancelled", reference: str = "call-off-1"
) -> Outcome:
    request = CallOff(order_id=order_id, items=items or None, reason=reason, reference=reference, actor=ACTOR)
    return lifecycle.one(call_off_many, request)


def codes(verb: Callable[[Sequence[Request]], list[lifecycle.Answer]], *requests: Request) -> list[str]:
    """What became of each request of one batch: `new`, `replay`, or the refusal's code."""
    answers = verb(requests)
    return [
        answer.code if isinstance(answer, Refusal) else "replay" if answer.is_replay else "new" for answer in answers
    ]


def status(held: Hold) -> tuple[str, bool]:
    """The status and whether the reservation is live, as the database has them."""
    row = Reservation.objects.get(pk=held.id)
    return row.status, row.is_live


def places(held: Hold) -> list[tuple[UUID, str, int]]:
    """Product, warehouse and units of each line."""
    return [(line.product_id, line.warehouse_id, line.quantity) for line in held.lines]


def lines(held: Hold) -> list[tuple[str, int, int, int, int]]:
    """Of each line in id order, as the database has it: warehouse, quantity, confirmed, released, returned."""
    return [
        (line.warehouse_id, line.quantity, line.confirmed, line.released, line.returned)
        for line in Reservation.objects.prefetch_related("items").get(pk=held.id).lines
    ]


def age(held: Hold, *, minutes: float) -> None:
    """Make the hold look older, past the domain: made and running out so much earlier."""
    row = Reservation.objects.filter(pk=held.id)
    created_at, expires_at = row.values_list("created_at", "expires_at").get()
    by = timedelta(minutes=minutes)
    row.update(created_at=created_at - by, expires_at=expires_at - by)


@contextmanager
def reserved_anew_meanwhile(held: Hold, again: Reserve) -> Iterator[None]:
    """Another process cancels the hold and reserves anew, just before reservations are locked here."""
    locking = holds.locking

    def another_process() -> None:
        try:
            cancel(held)
            reserve(again)
        finally:
            connection.close()

    with pytest.MonkeyPatch.context() as patch:

        def lock(reservation_ids: Collection[UUID], **options: bool) -> Deferred[dict[UUID, Hold]]:
            patch.undo()
            with ThreadPoolExecutor(1) as pool:  # a thread has a database connection of its own
                pool.submit(another_process).result()
            return locking(reservation_ids, **options)

        patch.setattr(holds, "locking", lock)
        yield


@contextmanager
def with_one_look_for_current() -> Iterator[None]:
    """Which reservation is an order's is read once, before the locks, and believed ever after."""
    look = holds.current_ids_of_orders
    seen: dict[UUID, UUID] = {}

    def look_once(order_ids: Collection[UUID]) -> dict[UUID, UUID]:
        if not seen:
            seen.update(look(order_ids))
        return dict(seen)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holds, "current_ids_of_orders", look_once)
        yield


@contextmanager
def another_session() -> Iterator[psycopg.Cursor[Any]]:
    """A cursor of another client of the same database, each statement a transaction of its own."""
    options = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    session = psycopg.connect(**{name: options[name] for name in names if name in options}, autocommit=True)
    with session, session.cursor() as cursor:
        yield cursor


@contextmanager
def locked(sql: str, *parameters: object) -> Iterator[psycopg.Cursor[Any]]:
    """Another session has the rows of this SELECT ... FOR UPDATE locked, until the block ends or it rolls back."""
    with another_session() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(sql, parameters)
        yield cursor
        cursor.execute("ROLLBACK")


@contextmanager
def holding_job_lock(name: str) -> Iterator[None]:
    """Another process is at the job; at the end of the block it is not, which closing its session tells too late."""
    with database.session_of_its_own() as session:
        session.execute("SELECT pg_advisory_lock(%s)", [database.lock_key(name)])
        yield
        session.execute("SELECT pg_advisory_unlock(%s)", [database.lock_key(name)])
