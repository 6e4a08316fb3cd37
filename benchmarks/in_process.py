"""Contenders that call the domain directly: one process, one thread, one connection, no HTTP."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

from benchmarks import textbook
from benchmarks.measure import Batch, Contender
from benchmarks.scene import ACTOR, Scene
from inventory_project import batches
from inventory_project.database import database_now
from reservations import lifecycle
from reservations.models import Reservation
from reservations.requests import Cancel, Confirm, Outcome, Reserve

BATCH_SIZE = 64
TEXTBOOK = "textbook"
Request = TypeVar("Request")


def contenders(scene: Scene, *, turn: int) -> list[Contender]:
    """Every verb in batches of 64, `turn` of them in a turn; reserving also alone, both ways."""
    together = partial(Contender, scene=scene.name, batch_size=BATCH_SIZE, batches=turn)
    alone = partial(Contender, scene=scene.name, batch_size=1, batches=BATCH_SIZE)
    return [
        together(name="reserve_many", prepare=partial(_reservations, scene, BATCH_SIZE)),
        alone(name=TEXTBOOK, prepare=partial(_textbook, scene)),
        alone(name="reserve_many", prepare=partial(_reservations, scene, 1)),
        together(name="confirm_many", prepare=partial(_confirmations, scene)),
        together(name="cancel_many", prepare=partial(_cancellations, scene)),
        together(name="expire_due", prepare=partial(_expiries, scene)),
    ]


def _granted(verb: Callable[[Sequence[Request]], list[lifecycle.Answer]], requests: Sequence[Request]) -> int:
    return sum(isinstance(answer, Outcome) and not answer.is_replay for answer in verb(requests))


def _reservations(scene: Scene, batch_size: int, count: int) -> list[Batch]:
    return [partial(_granted, lifecycle.reserve_many, scene.requests(batch_size)) for _ in range(count)]


def _textbook(scene: Scene, count: int) -> list[Batch]:
    return [partial(_by_the_book, request) for request in scene.requests(count)]


def _by_the_book(request: Reserve) -> int:
    textbook.reserve(request)
    return 1


def _confirmations(scene: Scene, count: int) -> list[Batch]:
    return [
        partial(_granted, lifecycle.confirm_many, [Confirm(reservation_id=id_, actor=ACTOR) for id_ in _held(scene)])
        for _ in range(count)
    ]


def _cancellations(scene: Scene, count: int) -> list[Batch]:
    return [
        partial(_granted, lifecycle.cancel_many, [Cancel(reservation_id=id_, actor=ACTOR) for id_ in _held(scene)])
        for _ in range(count)
    ]


def _expiries(scene: Scene, count: int) -> list[Batch]:
    for _ in range(count):
        # Waiting for the end of a hold would take a minute at least.
        overdue = database_now() - timedelta(seconds=1)
        Reservation.objects.filter(pk__in=_held(scene)).update(expires_at=overdue)
    return [partial(lifecycle.expire_due, limit=BATCH_SIZE) for _ in range(count)]


def _held(scene: Scene) -> list[UUID]:
    """The ids of a batch of new reservations."""
    requests = scene.requests(BATCH_SIZE)
    return [batches.result_of(answer).hold.id for answer in lifecycle.reserve_many(requests)]
