"""The verbs for a single request each, as tests say them; a refusal is raised."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from django.db import connection

from inventory_project.errors import Refusal
from reservations import lifecycle
from reservations.holds import Hold
from reservations.models import Reservation
from reservations.requests import Cancel, Confirm, Expire, Extend, Item, Outcome, Pay, Reserve, Return
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


def pay(order_id: UUID) -> Outcome:
    return lifecycle.one(lifecycle.pay_many, Pay(order_id=order_id, actor=ACTOR))


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


def lines(held: Hold) -> list[tuple[str, int, int, int]]:
    """Of each line in id order, as the database has it: warehouse, quantity, confirmed, returned."""
    return [
        (line.warehouse_id, line.quantity, line.confirmed, line.returned)
        for line in Reservation.objects.prefetch_related("items").get(pk=held.id).lines
    ]


def age(held: Hold, *, minutes: float) -> None:
    """Make the hold look older, past the domain: made and running out so much earlier."""
    row = Reservation.objects.filter(pk=held.id)
    created_at, expires_at = row.values_list("created_at", "expires_at").get()
    by = timedelta(minutes=minutes)
    row.update(created_at=created_at - by, expires_at=expires_at - by)


@contextmanager
def another_session() -> Iterator[psycopg.Cursor[Any]]:
    """A cursor of another client of the same database, each statement a transaction of its own."""
    options = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    session = psycopg.connect(**{name: options[name] for name in names if name in options}, autocommit=True)
    with session, session.cursor() as cursor:
        yield cursor


def job_lock_key(name: str) -> int:
    """The number of a job's advisory lock."""
    return zlib.crc32(f"inventory-service/{name}".encode())
