"""manage.py migrate: Django's command, one at a time and without the service's time limit for statements."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands import migrate

from inventory_project.foundation import database

POLL_SECONDS = 0.2


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate without a statement time-out, as tables may be large. LOCK_TIMEOUT_MS still limits lock waits."""
        if settings.DATABASE_POOLER:
            raise CommandError(
                "Migrations need PostgreSQL itself: run `manage.py migrate` with DATABASE_POOLER=off and DATABASE_URL "
                "set to the value of DATABASE_SESSION_URL."
            )
        with self._only_one(), database.without_time_limit():
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
