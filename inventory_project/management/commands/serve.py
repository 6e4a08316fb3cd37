"""manage.py serve: the API, the admin and the expiration worker, and without Celery the periodic jobs, in one tree."""

import ctypes
import http
import http.client
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.db import Error, OperationalError, connection

from inventory_project import webserver
from inventory_project.foundation import database
from inventory_project.foundation.commands import ServiceCommand, why_unusable
from inventory_project.foundation.messaging import outbox
from inventory_project.metrics_folder import metrics_folder
from stock import catalogue

logger = logging.getLogger(__name__)

WEB = [sys.executable, "-m", "gunicorn", "--config", "python:inventory_project.webserver"]
JOBS = [sys.executable, str(settings.BASE_DIR / "manage.py"), "run_jobs"]
EXPIRY = [sys.executable, str(settings.BASE_DIR / "manage.py"), "expire_reservations", "--forever"]
POOLS_SHARE = 0.8  # of PostgreSQL's connections; the rest is for jobs, workers, commands and people
# `manage.py` as a person types it in this folder.
MANAGE = (
    f"{Path(sys.executable).relative_to(settings.BASE_DIR)} manage.py"
    if Path(sys.executable).is_relative_to(settings.BASE_DIR)
    else f"{sys.executable} {settings.BASE_DIR / 'manage.py'}"
)
STOP_SECONDS = webserver.graceful_timeout + 5
RESTART_SECONDS = 1.0
PR_SET_PDEATHSIG = 1


class Command(ServiceCommand):
    help = "Serve the API and the admin on INVENTORY_HOST:INVENTORY_PORT until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--set-up",
            action="store_true",
            help="first migrate the database, and add the example warehouses and products that are missing",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        _require_address()
        if options["set_up"]:
            self._set_up()
        try:
            _check_database()
            when_ready = self._greet
        except OperationalError as error:
            logger.warning("%s Requests are answered with 503 until it can be used.", why_unusable(error))
            when_ready = self._check_and_greet
        finally:
            connection.close()
        with metrics_folder() as folder:
            # All processes of this tree write their metrics here, and /metrics adds them up.
            exit_code = _supervise({**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder}, when_ready=when_ready)
        if exit_code:
            raise CommandError(f"The web server ended with exit code {exit_code}; its log says why.")

    def _check_and_greet(self) -> None:
        _check_database()
        self._greet()

    def _set_up(self) -> None:
        self.stdout.write("Migrating the database ...")
        call_command("migrate", verbosity=0)
        call_command("seed", warehouses=True, products=True, stdout=self.stdout)
        if settings.OUTBOX_TO_LOG:
            outbox.drain_to_log()  # now, because after the greeting these lines would push it off the screen

    def _greet(self) -> None:
        """Print the addresses of everything. The administrator's password is last, so that it stays on the screen."""
        address = _address()
        lines = [f"Inventory Service on {address}"]
        if settings.HTTPS:
            lines.append(f"  Proxy            it ends TLS; this process speaks plain HTTP on {webserver.bind}")
        lines += [
            *([f"  API, to try it   {address}/api/docs"] if settings.API_DOCS else []),
            f"  Health, metrics  {address}/health  {address}/metrics",
            f"  API tokens       {'required' if settings.API_AUTH_ENABLED else 'not required'}",
            f"  Admin            {address}/admin/",
            *_admin_login(),
        ]
        self.stdout.write("\n".join(lines))  # in one write, or the web server's log would come between


def _address() -> str:
    """The address for a browser: the proxy's if it ends TLS, and never one such as 0.0.0.0."""
    host, _, port = webserver.bind.rpartition(":")
    if settings.INVENTORY_HOST in ("0.0.0.0", "::"):  # noqa: S104  # only a comparison
        host = settings.ALLOWED_HOSTS[0].lstrip(".")
    return f"https://{host}" if settings.HTTPS else f"http://{host}:{port}"


def _require_address() -> None:
    """Raise CommandError if the port cannot be used. gunicorn would report it later, repeatedly, with jobs running."""
    family = socket.AF_INET6 if ":" in settings.INVENTORY_HOST else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # like gunicorn, because old connections may linger
        try:
            probe.bind((settings.INVENTORY_HOST, settings.INVENTORY_PORT))
        except OSError as error:
            raise CommandError(
                f"Cannot listen on {webserver.bind}: {error.strerror}. Set INVENTORY_PORT or INVENTORY_HOST to another."
            ) from error


def _check_database() -> None:
    """Check the database before it is served from, and refresh the low-stock flags.

    Raises CommandError if this version cannot serve from it, and OperationalError if it cannot be used now.
    """
    if not settings.EMBEDDED:
        _require_connections()
        _warn_of_commits_that_can_be_lost()
    if not database.is_migrated():
        raise CommandError(database.NOT_MIGRATED)
    _refresh_low_marks()


def _require_connections() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW max_connections")
        most = int(cursor.fetchone()[0])
    wanted = settings.WEB_WORKERS * settings.DATABASE_POOL_SIZE
    if wanted > most * POOLS_SHARE:
        raise CommandError(
            f"WEB_WORKERS ({settings.WEB_WORKERS}) times DATABASE_POOL_SIZE ({settings.DATABASE_POOL_SIZE}) is "
            f"{wanted} connections, more than {POOLS_SHARE:.0%} of PostgreSQL's max_connections ({most}): lower one of "
            "the two, or raise max_connections."
        )


def _warn_of_commits_that_can_be_lost() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit') AND setting = 'off' "
            "ORDER BY name"
        )
        off = [name for (name,) in cursor.fetchall()]
    if off:
        logger.warning(
            "reservations that were acknowledged can be lost if the database server crashes, because this is off: %s",
            ", ".join(off),
        )


def _refresh_low_marks() -> None:
    """Refresh the low-stock flags. A failure only delays them: the next movement recomputes its flag."""
    try:
        catalogue.refresh_low_marks()
    except Error as error:
        logger.warning("the marks of low stock were not all brought to LOW_STOCK_THRESHOLD: %s", error)


def _admin_login() -> list[str]:
    """The lines on how to log in. On SQLite the first start creates an administrator and prints its password."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return [
            "  Log in           as before. To set a new password:",
            f"                   {MANAGE} changepassword NAME",
        ]
    if not settings.EMBEDDED:
        return [
            "  Log in           there is no administrator yet. To create one:",
            f"                   {MANAGE} createsuperuser",
        ]
    password = secrets.token_urlsafe(12)
    users.create_superuser("admin", password=password)
    return [
        f"  Log in           as admin with password {password}",
        "                   It is shown only now. To set another:",
        f"                   {MANAGE} changepassword admin",
    ]


class _Companion:
    """A process next to the web server. It is started again whenever it ends."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self._name, self._command, self._environment = name, command, environment
        self.process = _start(command, environment)

    def keep_running(self) -> None:
        if self.process.poll() is not None:
            logger.error("%s ended with exit code %s; starting it again", self._name, self.process.returncode)
            time.sleep(RESTART_SECONDS)
            self.process = _start(self._command, self._environment)


def _companions(environment: dict[str, str]) -> list[_Companion]:
    # EXPIRY_METRICS_PORT is for a worker that somebody starts. The metrics of this one are among the web server's.
    companions = [_Companion("the expiration worker", EXPIRY, {**environment, "EXPIRY_METRICS_PORT": "0"})]
    if not settings.RABBITMQ_URL:
        companions.append(_Companion("run_jobs", JOBS, environment))
    return companions


def _supervise(environment: dict[str, str], *, when_ready: Callable[[], None]) -> int:
    """Run the web server and its companions until SIGTERM. Returns the web server's exit code, or 0 after SIGTERM.

    `when_ready` is called when the web server is ready to serve, and again if the database is lost meanwhile.
    """
    stopping = False

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stop)
    web = _start(WEB, environment)
    companions = _companions(environment)
    has_begun = False
    try:
        while not stopping and web.poll() is None:
            has_begun = has_begun or (_is_ready() and _succeeds(when_ready))
            for companion in companions:
                companion.keep_running()
            time.sleep(0.2)
    finally:
        for process in (web, *(companion.process for companion in companions)):
            _end(process)
    return 0 if stopping else web.returncode


def _succeeds(work: Callable[[], None]) -> bool:
    """Whether the database could be used throughout the work."""
    try:
        work()
    except OperationalError:
        return False
    finally:
        connection.close()
    return True


def _is_ready() -> bool:
    """Whether the web server answers requests, and has a database to answer from."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.INVENTORY_HOST, settings.INVENTORY_HOST)  # noqa: S104
    web = http.client.HTTPConnection(host, settings.INVENTORY_PORT, timeout=1)
    try:
        web.request("GET", "/health/ready", headers={"Host": settings.ALLOWED_HOSTS[0].lstrip(".")})
        return web.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        web.close()


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a child in its own session. Ctrl-C then reaches only this process, which ends its children in order."""
    return subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=_end_with_parent)  # noqa: S603


def _end_with_parent() -> None:
    """Have the kernel (Linux) end this child if its parent is killed, so that the port becomes free again."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a child with SIGTERM, so that requests in progress can finish. Kill it if it does not end in time."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
