"""The stage of what is measured over HTTP: the service with its processes as in production, and the bare service."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection

from benchmarks import bare, events, machine
from benchmarks.upkeep import Watch
from inventory_project.foundation.access import scopes, tokens
from inventory_project.foundation.messaging.models import OutboxEvent
from tests.servers import children_of, free_port
from tests.service import MANAGE, Process, Service

AS_IT_IS, WITHOUT_REDIS, WITHOUT_GROUP_COMMIT, BARE = "as it is", "without Redis", "without group commit", "bare"
SETUPS = {
    AS_IT_IS: {},
    WITHOUT_REDIS: {"REDIS_URL": ""},
    WITHOUT_GROUP_COMMIT: {"GROUP_COMMIT_MAX_BATCH": "1"},
}
CELERY = [sys.executable, "-m", "celery", "-A", "inventory_project"]
# What runs next to `manage.py serve` where there is RabbitMQ, as docs/operating/installation.md has it.
JOBS = {
    "relay": [sys.executable, str(MANAGE), "publish_events"],
    "worker": [*CELERY, "worker", "--pool=threads", "--concurrency=2", "--loglevel", "WARNING"],
    "beat": [*CELERY, "beat", "--loglevel", "WARNING", "--pidfile", ""],
}
CALM_LOOKS, LOOK_SECONDS = 3, 0.05
PATIENCE_SECONDS = 120


class BareService(Process):
    """The bare service on a free port, serving when the block begins."""

    def __init__(self, *, log: Path) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{self.port}", "--worker-class", "gthread"]
        command += ["--workers", str(bare.WORKERS), "--threads", str(bare.THREADS), "--keep-alive", "60"]
        command += ["--log-level", "warning", "--no-control-socket", "django.core.wsgi:get_wsgi_application()"]
        own = {"DJANGO_SETTINGS_MODULE": bare.SETTINGS, "DATABASE_URL": settings.DATABASE_URL}
        super().__init__(command, env=os.environ | own, log=log)

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.wait_until(self._is_live, "serving")
        except BaseException:
            self.stop()
            raise
        return self

    def _is_live(self) -> bool:
        web = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            web.request("GET", bare.EMPTY)
            return web.getresponse().status == 200
        except OSError:
            return False
        finally:
            web.close()


@dataclass(frozen=True, slots=True)
class Stage:
    """The running services by set-up, the other processes, a token that may do anything, a folder for files."""

    services: Mapping[str, Service | BareService]
    jobs: list[Process]
    servers: Mapping[str, int]  # the pids of PostgreSQL, Redis and RabbitMQ, of those that are known
    empty_queue: Callable[[], None]
    watch: Watch
    token: str
    folder: Path

    def url(self, path: str, setup: str = AS_IT_IS) -> str:
        return f"http://127.0.0.1:{self.services[setup].port}{path}"

    def settle(self) -> None:
        """Wait until everything that a turn left behind is done: statements run, events published, logs emptied.

        Raises TimeoutError if that takes two minutes.
        """
        began, calm = time.monotonic(), 0
        self.watch.note_backlog(OutboxEvent.objects.waiting().count())
        while calm < CALM_LOOKS:
            if time.monotonic() > began + PATIENCE_SECONDS:
                raise TimeoutError("The service or its relay is still at work on what the last turn left.")
            time.sleep(LOOK_SECONDS)
            is_at_work = OutboxEvent.objects.waiting().exists() or _sessions_at_work()
            calm = 0 if is_at_work else calm + 1
        self.watch.note_settling(time.monotonic() - began)
        self.empty_queue()
        for process in (*self.services.values(), *self.jobs):
            os.truncate(process.log, 0)  # a line for each request: some hundred MB in a run

    def cpu_seconds(self, setup: str) -> dict[str, float]:
        """CPU seconds until now by kind of process; of the services only that of the set-up counts."""
        web, *others = self._web_and_others(setup)
        jobs = [*others, *(job.process.pid for job in self.jobs)]
        roots = {"web": [web], "jobs": jobs, **{kind: [pid] for kind, pid in self.servers.items()}}
        return {kind: machine.cpu_seconds(pids) for kind, pids in roots.items()}

    def _web_and_others(self, setup: str) -> list[int]:
        """The pid of gunicorn's master process, then those of the other processes that `serve` has started."""
        service = self.services[setup]
        pid = service.process.pid
        return [pid] if isinstance(service, BareService) else children_of(pid)

    def web_workers(self) -> list[int]:
        """The pids of the web processes of the service as it is: the children of gunicorn's master process."""
        master, *_ = self._web_and_others(AS_IT_IS)
        return sorted(children_of(master))


@contextmanager
def build(folder: Path) -> Iterator[Stage]:
    """Start a service in each set-up and the bare one, over the servers that the environment names."""
    services: dict[str, Service | BareService] = {
        setup: Service(env=os.environ | changed, log=folder / f"{setup}.log") for setup, changed in SETUPS.items()
    }
    services[BARE] = BareService(log=folder / f"{BARE}.log")
    jobs = [Process(command, env=os.environ, log=folder / f"{name}.log") for name, command in JOBS.items()]
    token = issue_token()
    with ExitStack() as stack:
        empty_queue = stack.enter_context(events.listener())
        with ThreadPoolExecutor(len(services) + len(jobs)) as threads:
            list(threads.map(stack.enter_context, [*jobs, *services.values()]))
        stage = Stage(services, jobs, _servers(), empty_queue, Watch(), token, folder)
        stage.settle()  # events have waited for the relay since the products were stocked
        yield replace(stage, watch=Watch())


def issue_token() -> str:
    """A token with all scopes, of a new administrator."""
    user = User.objects.create_superuser("benchmark")
    _, token = tokens.issue(name="benchmark", wanted=scopes.ALL, owner=user)
    return token


def _servers() -> dict[str, int]:
    urls = {"postgresql": settings.DATABASE_URL, "redis": settings.REDIS_URL, "rabbitmq": settings.RABBITMQ_URL}
    ports = {kind: urlsplit(url).port for kind, url in urls.items()}
    return {kind: pid for kind, port in ports.items() if port and (pid := machine.listener(port))}


def _sessions_at_work() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
               AND backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()"""
        )
        count: int = cursor.fetchone()[0]
    return count
