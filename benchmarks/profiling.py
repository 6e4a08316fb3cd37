"""Where the time of a web process goes while it sells the hot product: py-spy looks at its threads 100 times a second.

Each look at a thread belongs to one group: the innermost frame that a rule knows decides. The threads of the event loop
and of the batches are shown, each by itself, because both work at once. Looking costs time, so no figure of speed comes
from this turn.
"""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.closed_loop import Turn

PY_SPY = Path(sys.executable).with_name("py-spy")
LOOKS_PER_SECOND = 100
START_SECONDS = 1.0  # py-spy reads the symbols of Python first
MAX_FUNCTIONS = 40
THREADS = {"MainThread": "event loop", "reserve_0": "batches"}

IDLE = "waiting for the next batch"
EVENT_LOOP = "event loop: sockets, and waiting for requests"
SQL_WAIT = "SQL wait"
OTHER = "other"
# The first that matches a frame, as in `Connection.wait (psycopg/connection.py)`.
INNERMOST = (
    (SQL_WAIT, r"\bwait\w* \(.*(psycopg/|postgresql/sessions)"),
    (IDLE, r"_worker \(concurrent/futures/thread|\bwait \(threading|\bselect \(selectors"),
    (EVENT_LOOP, r"\((uvloop|asyncio)/"),
)
ANY = (
    ("metrics", r"\((prometheus_client|django_prometheus)/|ViewMetrics"),
    ("log", r"\((logging|structlog)/|http/logs"),
    ("tokens", r"/access/|Principals|_principal"),
    ("parse", r"plain_json|http/bodies|\w+/api/fast"),
    ("answer", r"http/(answers|problems)|reservations/api/reservations"),
    ("server", r"\((uvicorn|gunicorn|a2wsgi)/|foundation/http/"),
    ("SQL, sending and reading", r"\((psycopg|psycopg_pool|django/db)/|foundation/(database|postgresql)"),
    ("Redis", r"\((redis|hiredis|django_redis)/|stock/counters"),
    ("batch", r"\((reservations|stock|warehouses)/|foundation/"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Shares of a thread's time: by thread and group, and of single functions. `problem` says why there are none."""

    seconds: float
    per_second: float
    groups: dict[str, dict[str, float]]
    functions: list[tuple[str, str, str, float]]  # thread, group, function, share
    problem: str = ""


def run(pid: int, load: Callable[[float], Turn], *, seconds: float, folder: Path) -> Profile:
    """Look at the process for so long, while `load` makes it sell for a little longer."""
    output = folder / "py-spy.raw"
    command = [str(PY_SPY), "record", "--pid", str(pid), "--duration", str(max(1, round(seconds)))]
    command += ["--rate", str(LOOKS_PER_SECOND), "--format", "raw", "--output", str(output)]
    command += ["--threads", "--idle", "--nolineno"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as spy:
        turn = load(seconds + START_SECONDS)
        told, _ = spy.communicate()
    looks = read(output.read_text(encoding="utf-8").splitlines()) if output.exists() else Counter[Look]()
    problem = "" if looks else f"py-spy saw nothing: {' '.join(told.split())}"
    return Profile(
        seconds=seconds,
        per_second=turn.per_second,
        groups=groups(looks),
        functions=functions(looks),
        problem=problem,
    )


Look = tuple[str, str, str]  # thread, group, innermost function


def read(lines: Iterable[str]) -> Counter[Look]:
    """How often each thread that is shown was seen in a function, from lines such as `thread (7): name;f (a.py) 3`."""
    looks: Counter[Look] = Counter()
    for line in lines:
        stack, _, number = line.rpartition(" ")
        first, *frames = stack.split(";")
        thread = THREADS.get(first.rpartition(": ")[2])
        if thread is not None and frames:
            looks[thread, group_of(frames), frames[-1]] += int(number)
    return looks


def group_of(frames: Sequence[str]) -> str:
    """The group of a stack, whose innermost frame is the last one."""
    for group, pattern in INNERMOST:
        if re.search(pattern, frames[-1]):
            return group
    return next((group for frame in reversed(frames) for group, pattern in ANY if re.search(pattern, frame)), OTHER)


def groups(looks: Counter[Look]) -> dict[str, dict[str, float]]:
    """By thread the share of each group, the largest first."""
    shares: dict[str, dict[str, float]] = {}
    for thread, total in _totals(looks).items():
        seen: Counter[str] = Counter()
        for (one, group, _), number in looks.items():
            seen[group] += number if one == thread else 0
        shares[thread] = {group: number / total for group, number in seen.most_common() if number}
    return shares


def functions(looks: Counter[Look]) -> list[tuple[str, str, str, float]]:
    """The functions with the largest shares of their thread's time."""
    totals = _totals(looks)
    shares = [(*look, number / totals[look[0]]) for look, number in looks.items()]
    return sorted(shares, key=lambda row: -row[3])[:MAX_FUNCTIONS]


def _totals(looks: Counter[Look]) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for (thread, _, _), number in looks.items():
        totals[thread] += number
    return {thread: totals[thread] for thread in THREADS.values() if thread in totals}
