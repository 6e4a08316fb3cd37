"""What a figure depends on besides the code: the machine, the versions, how the database treats the disk."""

import os
import platform
from pathlib import Path
from typing import Any

import django
import psycopg
from django.db import connection

DATABASE_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")


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
        "postgresql": database,
    }


def load() -> float:
    """Processes that wanted to run, on average over the last minute: those of others, before we begin."""
    return round(os.getloadavg()[0], 2)


def stolen_seconds() -> float:
    """CPU seconds since the start that this machine's host gave to other machines."""
    cpu = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    return int(cpu[8]) / os.sysconf("SC_CLK_TCK")


def _after_colon(path: Path, key: str) -> str:
    lines = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), "unknown")
