"""Expires overdue holds so that none of them stops the others.

A hold can stop its batch in two ways. If another session keeps it or one of its levels locked, it leaves the batch as
any request does (`foundation.bulkhead`). If its records are damaged, `unsettleable` remembers it, and the sweeps of
this process leave it out for UNSETTLEABLE_SECONDS.
"""

import time
from collections.abc import Iterable, Iterator
from threading import Lock
from uuid import UUID

from django.db.models import Q, QuerySet

from inventory_project.foundation.errors import Refusal
from inventory_project.foundation.failures import Undecided
from reservations.models import Reservation
from reservations.requests import Outcome

MAX_LEFT_OUT = 10_000  # holds that a process remembers
UNSETTLEABLE_SECONDS = 300  # a person has to repair the records first


class UnsettleableHolds:
    """Holds that could not be settled, each left out until its time is up. Threads share it, processes do not.

    Beyond MAX_LEFT_OUT those that were added first are forgotten, and tried again earlier.
    """

    def __init__(self) -> None:
        self._until: dict[UUID, float] = {}
        self._lock = Lock()

    def add(self, reservation_ids: Iterable[UUID], *, seconds: float) -> None:
        """Leave these holds out for so long, by the process's own clock."""
        until = time.monotonic() + seconds
        with self._lock:
            self._until |= dict.fromkeys(reservation_ids, until)
            for id_ in list(self._until)[:-MAX_LEFT_OUT]:
                del self._until[id_]

    def ids(self) -> list[UUID]:
        """The holds that are left out now."""
        now = time.monotonic()
        with self._lock:
            self._until = {id_: until for id_, until in self._until.items() if until > now}
            return list(self._until)


unsettleable = UnsettleableHolds()


def is_unsettleable(answer: Outcome | Refusal) -> bool:
    """Whether the records of the hold, or a defect, kept it from being settled. The next try would fail as well."""
    is_damaged = isinstance(answer, Refusal) and answer.code == "insufficient_stock"
    return is_damaged or isinstance(answer, Undecided)


def pages(overdue: QuerySet[Reservation], *, size: int) -> Iterator[list[UUID]]:
    """The ids of these holds, the longest overdue first, `size` at a time and each once. Without those left out."""
    rest = overdue.exclude(id__in=unsettleable.ids()).order_by("expires_at", "id").values_list("expires_at", "id")
    page = list(rest[:size])
    while page:
        yield [id_ for _, id_ in page]
        if len(page) < size:
            return
        expires_at, id_ = page[-1]
        after = Q(expires_at__gt=expires_at) | Q(id__gt=id_)
        page = list(rest.filter(after, expires_at__gte=expires_at)[:size])
