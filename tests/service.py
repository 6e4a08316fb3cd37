"""The real service as processes of its own: `manage.py serve` and the other commands, each in a clean environment."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from django.conf import settings

from tests.servers import free_port, with_descendants

MANAGE = Path(settings.BASE_DIR) / "manage.py"
SETTINGS_FILE = Path(settings.BASE_DIR) / "inventory_project" / "settings.py"
# The names that settings.py reads from the environment, in its order.
VARIABLES = tuple(
    dict.fromkeys(
        re.findall(
            r'\b(?:text|whole|positive_decimal|switch|choice|country|server_url)\(\s*"(\w+)"', SETTINGS_FILE.read_text()
        )
    )
)
# How long a test waits for what must come. A busy machine takes ten times as long as an idle one, and no test is about
# that: what ends too early is noticed at once, and the limit is for what hangs. pytest's own is 300 seconds.
PATIENCE_SECONDS = 120
KEY = "made-up-for-the-tests-alone-0123456789-abcdefghijklmnop"


def environment(**values: object) -> dict[str, str]:
    """This process's environment with nothing of the service set but `values`; empty counts as unset, .env or not."""
    return os.environ | dict.fromkeys(VARIABLES, "") | {name: str(value) for name, value in values.items()}


def url_of_test_database() -> str:
    """The URL of the database that pytest-django made for the tests."""
    return urlsplit(settings.DATABASE_URL)._replace(path=f"/{settings.DATABASES['default']['NAME']}").geturl()


def manage(
    *arguments: str, env: Mapping[str, str], cwd: Path | None = None, seconds: int = PATIENCE_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run one manage.py command to its end."""
    return subprocess.run(
        [sys.executable, str(MANAGE), *arguments],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Returns once the condition holds; fails the test if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether the process is there and more than an entry that nobody has collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Process:
    """A long-running command for the length of a `with` block; its output goes to a file."""

    def __init__(self, command: list[str], *, env: Mapping[str, str], log: Path) -> None:
        self.command, self.env, self.log = command, env, log

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.env, cwd=settings.BASE_DIR, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until(self, condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Returns once the condition holds; fails the test, with the log, at once if the process ends before that."""

        def is_so() -> object:
            has_ended = self.process.poll() is not None  # looked at first: it may do its work and end
            holds = condition()
            assert holds or not has_ended, f"it ended before: {what}; its log:\n{self.output}"
            return holds

        wait_until(is_so, f"{what}; its log: {self.log}", seconds)

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Send the signal and wait for the end; the exit code. Ended before: nothing happens."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            return self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in with_descendants(self.process.pid):
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
            raise


class Service(Process):
    """`manage.py serve` on a free port, serving when the block begins."""

    def __init__(self, *options: str, env: Mapping[str, str], log: Path) -> None:
        self.port = free_port()
        command = [sys.executable, str(MANAGE), "serve", *options]
        super().__init__(command, env={**env, "INVENTORY_PORT": str(self.port)}, log=log)

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.wait_until(self._is_live, "serving")
        except BaseException:
            self.stop()
            raise
        return self

    def _is_live(self) -> bool:
        try:
            return "Inventory Service on" in self.output and self.ask("GET", "/health/live").status == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """One request over a connection of its own. Bytes go as they are, a generator of bytes goes chunked."""
        if isinstance(body, dict):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, body, headers)  # type: ignore[arg-type]  # whatever it can send
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def metric(self, sample: str) -> float | None:
        """The value of one sample of /metrics now, such as `inventory_reservations_total`."""
        return _sample(sample, self.metrics())

    def metrics(self) -> str:
        """The page of metrics as it is now; one that was made before is asked for again."""
        now, page = time.time(), ""
        while (_sample("inventory_metrics_made_at_seconds", page) or 0.0) < now:
            page = self.ask("GET", "/metrics").text
        return page


def _sample(name: str, page: str) -> float | None:
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else None
