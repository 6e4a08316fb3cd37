"""A fresh installation: are its first reservations as quick as those after PostgreSQL has statistics of its tables?

It is migrated and seeded as README says, then stocked. Nobody has analyzed its tables when the first order comes.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import psycopg
from django.conf import settings
from django.core.management import call_command
from tqdm import tqdm

from benchmarks import closed_loop, events, measure, over_http, scene, stage
from benchmarks.closed_loop import Turn
from benchmarks.measure import Range
from tests.processes import Worker
from tests.servers import borrowed_database, borrowed_redis
from tests.service import Process, Service

PRODUCTS = 1_000  # all wanted equally often
PATIENCE_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """Reservations per second: the first so many of an installation, as many after an ANALYZE, and their ratio."""

    reservations: int
    first: Range
    after_analyze: Range
    first_to_after_analyze: Range
    wrong: int
    unanswered: int


def run(*, rounds: int, reservations: int) -> Fresh:
    """Measure an installation for each round, each in a database of its own that is dropped in the end."""
    turns = [_round(reservations) for _ in tqdm(range(rounds), desc="Fresh installation", unit="round", disable=None)]
    first, after = [pair[0].per_second for pair in turns], [pair[1].per_second for pair in turns]
    return Fresh(
        reservations=reservations,
        first=Range.of(first),
        after_analyze=Range.of(after),
        first_to_after_analyze=measure.ratio(first, after),
        wrong=sum(turn.wrong + turn.refused for pair in turns for turn in pair),
        unanswered=sum(turn.unanswered for pair in turns for turn in pair),
    )


def _round(reservations: int) -> tuple[Turn, Turn]:
    with _installation() as (environment, folder), Worker(**environment) as worker:
        product_ids, token = worker.run(_prepare)
        source = folder / "products"
        source.write_text(over_http.shares(product_ids), encoding="ascii")
        with _served(environment, folder) as service:
            turn = partial(
                closed_loop.run,
                f"http://127.0.0.1:{service.port}{over_http.RESERVATIONS}",
                "reserve",
                source,
                connections=over_http.MAIN_CONNECTIONS,
                seconds=PATIENCE_SECONDS,
                token=token,
                expected=201,
                requests=reservations,
            )
            first = turn()
            with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
                connection.execute("ANALYZE")
            return first, turn()


@contextmanager
def _installation() -> Iterator[tuple[dict[str, str], Path]]:
    """A database, a Redis number and a folder for files, all of them empty."""
    with ExitStack() as stack:
        environment = {
            "DATABASE_URL": stack.enter_context(borrowed_database(settings.DATABASE_URL)),
            "REDIS_URL": stack.enter_context(borrowed_redis(settings.REDIS_URL)),
        }
        yield environment, Path(stack.enter_context(TemporaryDirectory(prefix="inventory-benchmark-")))


def _prepare() -> tuple[list[UUID], str]:
    """In the worker: migrate, seed, stock more products than the seed has; their ids, and a token."""
    call_command("migrate", verbosity=0)
    call_command("seed", warehouses=True, products=True)
    [products] = scene.build([PRODUCTS])
    return products.product_ids, stage.issue_token()


@contextmanager
def _served(environment: dict[str, str], folder: Path) -> Iterator[Service]:
    """The service and its relay, with a queue that hears the events."""
    env = os.environ | environment
    with (
        events.listener(),
        Process(stage.JOBS["relay"], env=env, log=folder / "relay.log"),
        Service(env=env, log=folder / "service.log") as service,
    ):
        yield service
