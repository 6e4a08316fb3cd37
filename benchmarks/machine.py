"""What a figure depends on besides the code: the machine, the versions, how the database treats the disk."""

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import django
import psycopg
from django.conf import settings
from django.db import connection

from benchmarks import bare
from tests.servers import with_descendants

DATABASE_SETTINGS = (
    "server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "autovacuum"
)  # fmt: skip
SERVICE_SETTINGS = ("WEB_WORKERS", "WEB_THREADS", "DATABASE_POOL_SIZE", "GROUP_COMMIT_MAX_BATCH")
TICKS = os.sysconf("SC_CLK_TCK")  # of /proc in a second
LISTENING = "0A"  # in /proc/net/tcp
# The columns of /proc/stat that are work of this machine: user, nice, system, interrupts, soft interrupts.
BUSY_COLUMNS = (1, 2, 3, 6, 7)
STOLEN_COLUMN = 8


def describe() -> dict[str, Any]:
    """The machine, the versions and the database's settings, JSON-ready."""
    with connection.cursor() as cursor:
        database = {}
        for name in DATABASE_SETTINGS:
            cursor.execute(f"SHOW {name}")
            database[name] = cursor.fetchone()[0]
    return {
        "cpu": _after_colon(Path("/proc/cpuinfo"), "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_after_colon(Path("/proc/meminfo"), "MemTotal").split()[0]) / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "django": django.__version__,
        "psycopg": psycopg.__version__,
        "gunicorn": version("gunicorn"),
        "uvicorn": version("uvicorn"),
        "wrk": _first_line(["wrk", "-v"]),
        "redis": _first_line(["redis-server", "--version"]),
        "postgresql": database,
        "service": {name: getattr(settings, name) for name in SERVICE_SETTINGS},
        "bare_service": {"workers": bare.WORKERS, "threads": bare.THREADS},
    }


def load() -> float:
    """Processes that wanted to run, on average over the last minute: those of others, before we begin."""
    return round(os.getloadavg()[0], 2)


def stolen_seconds() -> float:
    """CPU seconds since the start that this machine's host gave to other machines."""
    return _seconds((STOLEN_COLUMN,))


def busy_seconds() -> float:
    """CPU seconds since the start in which this machine did something, whoever asked for it."""
    return _seconds(BUSY_COLUMNS)


def resident_mb(pid: int) -> float:
    """Memory that the process has in RAM, with what it shares with others, in MB of 10^6 bytes."""
    return int(_after_colon(Path(f"/proc/{pid}/status"), "VmRSS").split()[0]) * 1_024 / 1e6


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds that these processes and all below them have used, including those below them that have ended."""
    ticks = 0
    for pid in {one for root in pids for one in with_descendants(root)}:
        with suppress(OSError):  # it has just ended
            after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            ticks += sum(map(int, after_name[11:15]))  # its own, user and system, and those of its ended children
    return ticks / TICKS


def listener(port: int) -> int | None:
    """The pid of the process of this machine that listens on the port; None if it cannot be seen."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            columns = line.split()
            if columns[3] == LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{columns[9]}]")
    pids = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # another user's, or it has just been closed
            if os.readlink(descriptor) in sockets:
                pids.append(int(descriptor.parts[2]))
    return min(pids, default=None)


def _seconds(columns: Sequence[int]) -> float:
    cpu = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    return sum(int(cpu[column]) for column in columns) / TICKS


def _after_colon(path: Path, key: str) -> str:
    lines = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), "unknown")


def _first_line(command: list[str]) -> str:
    told = subprocess.run(command, capture_output=True, text=True, check=False)  # wrk tells its version and fails
    return told.stdout.partition("\n")[0].partition(" Copyright")[0]
