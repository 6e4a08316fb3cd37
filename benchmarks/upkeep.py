"""Whether the work behind the requests kept up while they were measured: the relay and autovacuum."""

import time
from dataclasses import dataclass, field

from django.db import connection

AUTOVACUUM_SECONDS = 120  # it comes by once a minute; a shorter run says nothing about it
LARGE_TABLE_ROWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """`largest_backlog`: events that waited at the end of a turn. `longest_settling_seconds`: until none waited any
    more and no statement ran. `dead_share`: of the rows of a large table, in the worst of them at the end.
    """

    seconds: float
    largest_backlog: int
    longest_settling_seconds: float
    autovacuums: int
    autoanalyzes: int
    dead_share: float


@dataclass(slots=True)
class Watch:
    """Notes the upkeep of this process's database from now on."""

    began: float = field(default_factory=time.monotonic)
    counts_before: tuple[int, int] = field(default_factory=lambda: _counts())
    largest_backlog: int = 0
    longest_settling_seconds: float = 0.0

    def note_backlog(self, events: int) -> None:
        """Note how many events wait to be published."""
        self.largest_backlog = max(self.largest_backlog, events)

    def note_settling(self, seconds: float) -> None:
        """Note how long it took until all was done."""
        self.longest_settling_seconds = max(self.longest_settling_seconds, seconds)

    def result(self) -> Upkeep:
        """What has been seen until now."""
        vacuums, analyzes = _counts()
        return Upkeep(
            seconds=time.monotonic() - self.began,
            largest_backlog=self.largest_backlog,
            longest_settling_seconds=self.longest_settling_seconds,
            autovacuums=vacuums - self.counts_before[0],
            autoanalyzes=analyzes - self.counts_before[1],
            dead_share=_dead_share(),
        )


def _counts() -> tuple[int, int]:
    """How often autovacuum has vacuumed and analyzed a table of this database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT COALESCE(SUM(autovacuum_count), 0), COALESCE(SUM(autoanalyze_count), 0) FROM pg_stat_user_tables"
        )
        vacuums, analyzes = cursor.fetchone()
    return int(vacuums), int(analyzes)


def _dead_share() -> float:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT COALESCE(MAX(n_dead_tup::float / (n_live_tup + n_dead_tup)), 0) FROM pg_stat_user_tables
               WHERE n_live_tup + n_dead_tup >= %s""",
            [LARGE_TABLE_ROWS],
        )
        return float(cursor.fetchone()[0])
