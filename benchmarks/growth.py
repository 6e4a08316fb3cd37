"""How cost grows: books of ten thousand levels and holds against books of a million, in databases of one server."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from django.conf import settings
from django.core.management import call_command
from tqdm import tqdm

from benchmarks import events, in_process, measure, scene
from benchmarks.in_process import Figures, Turn
from benchmarks.measure import Range
from inventory_project import startup
from stock import tasks
from stock.counters import sync
from stock.models import Product
from tests.processes import Call, Worker
from tests.servers import borrowed_database, borrowed_redis

FILL = Path(__file__).parent / "growth.sql"
MANAGE = [sys.executable, str(settings.BASE_DIR / "manage.py")]
UNITS = 1_000_000  # received at each level
SEED = 20_260_101
PATIENCE_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """How long bringing the counters in Redis to the database took, in seconds."""

    levels: int
    into_empty_redis: float
    full: float
    quiet: float  # the periodic one, when nothing has changed since the one before


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What was made of the small books and of the large ones, and for each verb the large rate over the small one."""

    small_levels: int
    large_levels: int
    small: list[Figures]
    large: list[Figures]
    large_to_small: dict[str, Range]
    large_megabytes: int
    sync: Sync


@dataclass(frozen=True, slots=True)
class Books:
    """A filled database and a Redis number of its own, and a process at work on them."""

    levels: int
    url: str
    worker: Worker
    environment: dict[str, str]


def run(*, small_levels: int, large_levels: int, rounds: int, batches_in_a_turn: int) -> tuple[Growth, dict[str, str]]:
    """Fill two databases, sync their counters, measure every verb in turns; also what an audit complained of."""
    with _books(small_levels) as small, _books(large_levels) as large:
        _patiently(small, _full_sync)
        synced = _sync(large)
        verbs = small.worker.run(_verbs)
        turn = partial(_turn, batches_in_a_turn=batches_in_a_turn)
        contenders = [(verb, books) for verb in verbs for books in (small, large)]
        measure.in_turns(contenders, turn, rounds=1, title="Growth, warming up")
        seen = measure.in_turns(contenders, turn, rounds=rounds, title="Growth")
        turns = {(verb, books.levels): turns for (verb, books), turns in zip(contenders, seen, strict=True)}
        growth = Growth(
            small_levels=small.levels,
            large_levels=large.levels,
            small=[_figures(verb, small.levels, turns[verb, small.levels]) for verb in verbs],
            large=[_figures(verb, large.levels, turns[verb, large.levels]) for verb in verbs],
            large_to_small={
                verb: measure.ratio(_rates(turns[verb, large.levels]), _rates(turns[verb, small.levels]))
                for verb in verbs
            },
            large_megabytes=_megabytes(large),
            sync=synced,
        )
        complaints = {f"{books.levels:,} levels": _audited(books) for books in (small, large)}
    return growth, {name: complaint for name, complaint in complaints.items() if complaint}


# --- books ---------------------------------------------------------------------------------------------------------


@contextmanager
def _books(levels: int) -> Iterator[Books]:
    """Consistent books of so many levels, each with an ACTIVE reservation, in a database that is dropped in the end."""
    with ExitStack() as stack:
        url = stack.enter_context(borrowed_database(settings.DATABASE_URL))
        environment = {"DATABASE_URL": url, "REDIS_URL": stack.enter_context(borrowed_redis(settings.REDIS_URL))}
        worker = stack.enter_context(Worker(**environment))
        worker.run(_begin)
        with psycopg.connect(url, autocommit=True) as connection:
            _fill(connection, products=levels // len(scene.WAREHOUSES), holds=levels)
        yield Books(levels, url, worker, environment)


def _begin() -> None:
    """The tables, the warehouses, and the first reservation, by which the others are made."""
    call_command("migrate", verbosity=0)
    [first] = scene.build([1])
    in_process.held(first, count=1)
    startup.warm_up()


def _fill(connection: psycopg.Connection[Any], *, products: int, holds: int) -> None:
    script = FILL.read_text(encoding="utf-8").format(products=products, holds=holds, units=UNITS)
    # What a database that grew by itself has had as well: its dead rows away, its statistics, its pages on the disk.
    for statement in tqdm(
        [*script.split("\n\n"), "VACUUM ANALYZE", "CHECKPOINT"], desc=f"Filling {holds:,} levels", disable=None
    ):
        connection.execute(statement.encode())


def _megabytes(books: Books) -> int:
    with psycopg.connect(books.url) as connection:
        row = connection.execute("SELECT pg_database_size(current_database()) / 1000000").fetchone()
    assert row is not None
    return int(row[0])


def _audited(books: Books) -> str:
    """What `audit_stock` complains of; empty when the books hold, and the counters agree one sync later."""
    _patiently(books, _drain_and_sync)
    done = subprocess.run(
        [*MANAGE, "audit_stock", "--counters"],
        env=os.environ | books.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{done.stdout}{done.stderr}" if done.returncode else ""


# --- in a worker ---------------------------------------------------------------------------------------------------


def _sync(books: Books) -> Sync:
    into_empty_redis, full = (_patiently(books, _full_sync) for _ in range(2))
    _patiently(books, _periodic_sync)  # the first one notes from where the next ones begin
    return Sync(
        levels=books.levels, into_empty_redis=into_empty_redis, full=full, quiet=_patiently(books, _periodic_sync)
    )


def _patiently(books: Books, call: Call) -> float:
    """What a call returned that may take longer than the worker's usual ones."""
    books.worker.begin(call)
    books.worker.pipe.poll(PATIENCE_SECONDS)
    [seconds] = books.worker.answers()
    return float(seconds)


def _full_sync() -> float:
    """The seconds it took."""
    began = time.perf_counter()
    sync.sync(actor=scene.ACTOR)
    return time.perf_counter() - began


def _drain_and_sync() -> float:
    """Bring everything up to date that is not by itself here; the seconds of the sync."""
    events.drain()
    return _full_sync()


def _periodic_sync() -> float:
    """The seconds it took."""
    began = time.perf_counter()
    tasks.sync_counters()
    return time.perf_counter() - began


def _turn(contender: tuple[str, Books], *, batches_in_a_turn: int) -> Turn:
    verb, books = contender
    turn: Turn = books.worker.run(partial(_take_turn, verb, batches_in_a_turn))
    return turn


def _take_turn(verb: str, batches_in_a_turn: int) -> Turn:
    [contender] = [
        one for one in in_process.in_batches(_all_products(), batches_in_a_turn=batches_in_a_turn) if one.name == verb
    ]
    return in_process.take_turn(contender)


def _verbs() -> list[str]:
    return [contender.name for contender in in_process.in_batches(_all_products(), batches_in_a_turn=1)]


@cache
def _all_products() -> scene.Scene:
    """All products there are, in an order that has nothing to do with where they lie."""
    ids = sorted(Product.objects.values_list("id", flat=True))
    Random(SEED).shuffle(ids)  # noqa: S311  # no secret
    return scene.Scene("all products", ids)


# --- figures -------------------------------------------------------------------------------------------------------


def _rates(turns: list[Turn]) -> list[float]:
    return [turn.batches_per_second for turn in turns]


def _figures(verb: str, levels: int, turns: list[Turn]) -> Figures:
    return in_process.figures(verb, f"{levels:,} levels", in_process.BATCH_SIZE, turns)
