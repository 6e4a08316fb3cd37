"""How long the audits of a large database take: that of a minute, and that of everything."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import psycopg
from django.conf import settings

from benchmarks import events, growth
from reservations import lifecycle
from reservations.analysis import audit
from tests.processes import Call, Worker
from tests.servers import borrowed_database

BATCH = 500
LEVELS_FOR_A_RESERVATION = 0.3


def run(*, old: int, new: int) -> Iterator[tuple[str, float]]:
    """Fill a database, reserve, audit. Yields what was done and the seconds that it took."""
    with borrowed_database(settings.DATABASE_URL) as url, Worker(DATABASE_URL=url, REDIS_URL="") as worker:
        worker.run(growth._begin)
        with psycopg.connect(url, autocommit=True) as connection:
            growth._fill(connection, products=int(old * LEVELS_FOR_A_RESERVATION / 3), holds=old)
        calls: dict[str, Call] = {
            f"reserving {new:,}": partial(_reserve, new),
            "the audit of a minute": _minute,
            "the next one": _minute,
            "the audit of everything": _everything,
        }
        for name, call in calls.items():
            worker.begin(call)
            worker.pipe.poll(growth.PATIENCE_SECONDS)
            yield name, worker.answers()[0]


def _reserve(new: int) -> float:
    requests = growth._all_products().requests(new)
    seconds = _seconds(
        lambda: [lifecycle.reserve_many(requests[first : first + BATCH]) for first in range(0, new, BATCH)], finds=None
    )
    events.drain()  # an event that waits for long would be damage
    return seconds


def _minute() -> float:
    return _seconds(audit.run_periodic, finds=0)


def _everything() -> float:
    return _seconds(audit.run_everything_if_due, finds=0)


def _seconds(call: Callable[[], object], *, finds: int | None) -> float:
    began = time.perf_counter()
    found = call()
    seconds = time.perf_counter() - began
    if finds is not None and found != finds:
        raise AssertionError(f"the audit found {found} rows")
    return seconds
