"""The stage of what is measured over HTTP: the service as its users start it, in three set-ups, and a token for it."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.contrib.auth.models import User
from django.db import connection

from inventory_project.foundation.access import scopes, tokens
from tests.servers import children_of
from tests.service import Service

AS_IT_IS, WITHOUT_REDIS, WITHOUT_GROUP_COMMIT = "as it is", "without Redis", "without group commit"
SETUPS = {
    AS_IT_IS: {},
    WITHOUT_REDIS: {"REDIS_URL": ""},
    WITHOUT_GROUP_COMMIT: {"GROUP_COMMIT": "off"},
}
CALM_LOOKS, LOOK_SECONDS = 3, 0.05
PATIENCE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Stage:
    """The running services by set-up, a token that may do anything, and a folder for files."""

    services: dict[str, Service]
    token: str
    folder: Path

    def url(self, path: str, setup: str = AS_IT_IS) -> str:
        return f"http://127.0.0.1:{self.services[setup].port}{path}"

    def settle(self) -> None:
        """Wait until the services have done what a turn left in their hands, and empty their logs.

        Raises TimeoutError when they have not within a minute.
        """
        deadline, calm = time.monotonic() + PATIENCE_SECONDS, 0
        while calm < CALM_LOOKS:
            if time.monotonic() > deadline:
                raise TimeoutError("The service is still at work on what the last turn left.")
            time.sleep(LOOK_SECONDS)
            calm = 0 if _sessions_at_work() else calm + 1
        for service in self.services.values():
            os.truncate(service.log, 0)  # a line for each request: some hundred MB in a run

    def web_workers(self) -> list[int]:
        """The pids of the web processes of the service as it is: the children of gunicorn's master process."""
        master, *_jobs = children_of(self.services[AS_IT_IS].process.pid)
        return sorted(children_of(master))


@contextmanager
def build(folder: Path) -> Iterator[Stage]:
    """Start a service in each set-up, over the database and the servers that the environment names."""
    user = User.objects.create_superuser("benchmark")
    _, token = tokens.issue(name="benchmark", wanted=scopes.ALL, owner=user)
    settings = {"DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
    services = {
        setup: Service(env=os.environ | settings | changed, log=folder / f"{setup}.log")
        for setup, changed in SETUPS.items()
    }
    with ExitStack() as stack:
        with ThreadPoolExecutor(len(services)) as threads:
            list(threads.map(stack.enter_context, services.values()))
        yield Stage(services, token, folder)


def _sessions_at_work() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
               AND backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()"""
        )
        count: int = cursor.fetchone()[0]
    return count
