"""manage.py migrate: Django's command, one at a time and without the service's time limit for statements."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.commands import migrate
from django.db import connection

from inventory_project.foundation import database

POLL_SECONDS = 0.2


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate without a statement time-out, as tables may be large. LOCK_TIMEOUT_MS still limits lock waits."""
        with self._only_one(), _without_statement_timeout():
            super().handle(*args, **options)

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        """Wait until no other process migrates: two at once would create the same table.

        It asks again and again instead of waiting in one statement: an open statement would hold up the other process,
        because CREATE INDEX CONCURRENTLY waits for every transaction that began before it.
        """
        is_announced = False
        while True:
            with database.process_lock("migrate") as is_ours:
                if is_ours:
                    yield
                    return
            if not is_announced:
                self.stdout.write("Another process is migrating this database. Waiting for it ...")
                is_announced = True
            time.sleep(POLL_SECONDS)


@contextmanager
def _without_statement_timeout() -> Iterator[None]:
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")
