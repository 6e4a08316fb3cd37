"""A closed loop by wrk: each of so many connections sends its next request when the last one is answered."""

import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine

SCRIPTS = Path(__file__).parent / "wrk"
REFUSED = (429, 503)  # the service's word that it was asked for too much
LONGEST_ANSWER_SECONDS = 60
END_SECONDS = 90
CPUByKind = dict[str, float]  # seconds, by kind of process


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one run of wrk saw. Only answers `as_expected` are work done: a refusal is quicker, and not what was asked.

    `refused`: 429 and 503. `wrong`: any other answer than the expected one. `unanswered`: the connection failed, or
    nothing came for a minute. `cpu_seconds` are those of the whole machine, PostgreSQL and Redis included, without
    wrk's own; `cpu_by_kind` those of them that belong to a kind of process.
    """

    seconds: float
    as_expected: int
    refused: int
    wrong: int
    unanswered: int
    p50_ms: float
    p99_ms: float
    cpu_seconds: float
    cpu_by_kind: CPUByKind = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        return self.as_expected / self.seconds

    @property
    def cpu_seconds_per_1000(self) -> float:
        return 1_000 * self.cpu_seconds / self.as_expected


def run(
    url: str,
    script: str,
    source: Path,
    *,
    connections: int,
    seconds: float,
    token: str,
    expected: int,
    requests: int | None = None,
    cpu_by_kind: Callable[[], CPUByKind] = dict,
) -> Turn:
    """Have wrk send what `script` makes of `source` to `url`, with the token, for so long or so many requests.

    `cpu_by_kind` tells the CPU seconds until now. Raises RuntimeError when wrk fails, or when not one request was
    answered as expected.
    """
    arguments = ["--connections", str(connections), "--script", str(SCRIPTS / f"{script}.lua"), url, "--", str(source)]
    if requests is not None:
        arguments.append(str(requests))
    while True:
        kinds, busy, own = cpu_by_kind(), machine.busy_seconds(), _cpu_of_ended_children()
        seen = _wrk(arguments, seconds=seconds, token=token)
        cpu_seconds = machine.busy_seconds() - busy - (_cpu_of_ended_children() - own)
        kinds = {kind: max(until_now - kinds[kind], 0.0) for kind, until_now in cpu_by_kind().items()}
        counts = {int(status): count for status, count in seen["answers"].items()}
        if counts or seconds >= LONGEST_ANSWER_SECONDS:
            break
        seconds *= 2  # the turn was too short for what is measured
    as_expected, refused = counts.get(expected, 0), sum(counts.get(status, 0) for status in REFUSED)
    if not as_expected:
        raise RuntimeError(f"{url} answered {counts} where {expected} was expected.")
    return Turn(
        seconds=seen["seconds"],
        as_expected=as_expected,
        refused=refused,
        wrong=sum(counts.values()) - as_expected - refused,
        unanswered=seen["unanswered"],
        p50_ms=seen["p50_ms"],
        p99_ms=seen["p99_ms"],
        cpu_seconds=max(cpu_seconds, 0.0),
        cpu_by_kind=kinds,
    )


def _wrk(arguments: list[str], *, seconds: float, token: str) -> dict[str, Any]:
    """What the scripts tell at the end. wrk is ended after `seconds`, unless its script has ended it before."""
    limits = ["--threads", "1", "--duration", "1h", "--timeout", f"{LONGEST_ANSWER_SECONDS}s"]
    with subprocess.Popen(
        ["wrk", *limits, *arguments],
        env=os.environ | {"BENCHMARK_TOKEN": token},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as wrk:
        try:
            wrk.wait(seconds)
        except subprocess.TimeoutExpired:
            wrk.send_signal(signal.SIGINT)  # as Ctrl-C: it stops and reports what it saw
        told, complaint = wrk.communicate(timeout=END_SECONDS)
    lines = told.splitlines()
    if wrk.returncode != 0 or not lines or not lines[-1].startswith("{"):
        raise RuntimeError(f"wrk ended with {wrk.returncode}: {complaint or told}")
    seen: dict[str, Any] = json.loads(lines[-1])
    return seen


def _cpu_of_ended_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
