"""This version beside an earlier one, in one run: the same requests, turn by turn, a database for each.

`make bench ARGS="against REVISION"` says what a change has cost or brought. In place of a revision that git knows it
takes the folder of another checkout.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure
from tests.servers import borrowed_database, borrowed_redis

HERE = Path(__file__).parent
ROOT = HERE.parent


@dataclass(frozen=True, slots=True)
class Version:
    """One version at work in a process of its own."""

    name: str
    process: "subprocess.Popen[str]"

    def wait_until_ready(self) -> None:
        """Return when it has stocked its database. Raises RuntimeError when it ended instead."""
        self._read()

    def turn(self) -> dict[str, float]:
        """Requests per second, by contender, of one turn of each. Raises RuntimeError when it has ended."""
        assert self.process.stdin is not None
        self.process.stdin.write("turn\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()}; its error is above.")
        rates: dict[str, float] = json.loads(line)
        return rates


def run(revision: str, *, rounds: int) -> str:
    """The table of both. Raises CalledProcessError for what is neither a folder nor a revision that git knows."""
    with ExitStack() as stack:
        folder = Path(revision).resolve()
        if not folder.is_dir():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inventory-benchmark-")))
            check_out(revision, folder)
        versions = [
            stack.enter_context(_at_work("now", ROOT)),
            stack.enter_context(_at_work(revision, folder)),
        ]
        measure.in_turns(versions, Version.turn, rounds=1, title="Against, warming up")
        now, before = measure.in_turns(versions, Version.turn, rounds=rounds, title="Against")
    return _table(revision, now, before)


def check_out(revision: str, folder: Path) -> None:
    """Write the files of a revision into an empty folder. Raises CalledProcessError for one that git does not know."""
    git = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT)]  # root may measure another user's checkout
    archive = subprocess.run([*git, "archive", "--format=tar", revision], check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "--extract", "--directory", str(folder)], check=True, input=archive)


@contextmanager
def _at_work(name: str, folder: Path) -> Iterator[Version]:
    """The version in `folder`, on a database and a Redis number of its own."""
    with borrowed_database(os.environ["DATABASE_URL"]) as url, borrowed_redis(os.environ["REDIS_URL"]) as redis_url:
        environment = {**os.environ, "DATABASE_URL": url, "REDIS_URL": redis_url, "PYTHONPATH": str(folder)}
        yield from _started(name, folder, environment)


def _started(name: str, folder: Path, environment: Mapping[str, str]) -> Iterator[Version]:
    with subprocess.Popen(
        [sys.executable, "-P", str(HERE / "turns.py")],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        version = Version(name, process)
        try:
            version.wait_until_ready()
            yield version
        finally:
            process.kill()


def _table(revision: str, now: Sequence[dict[str, float]], before: Sequence[dict[str, float]]) -> str:
    rows = []
    for name in now[0]:
        mine, theirs = [turn[name] for turn in now], [turn[name] for turn in before]
        found = measure.ratio(mine, theirs)
        rates = f"{measure.Range.of(mine).median:>10,.0f} {measure.Range.of(theirs).median:>10,.0f}"
        rows.append(f"{name:<40} {rates}   {found.median:.2f} ({found.lowest:.2f} to {found.highest:.2f})")
    head = f"{'requests per second':<40} {'now':>10} {revision[:10]:>10}   now / {revision}"
    return "\n".join([head, *rows])
