"""`consume_events` and `publish_events` as processes of their own, which tell how they are."""

import json
import os
import re
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.messaging.faults import hurried
from tests.servers import RabbitMQ, free_port
from tests.service import KEY, MANAGE, Process, environment, url_of_test_database, wait_until

PATIENCE_SECONDS = 120  # what was away is noticed within 20 s; the machine may be busy
ASK_SECONDS = 30


class Command(Process):
    """One of the two, with a port for /health and /metrics."""

    def __init__(self, name: str, *, env: dict[str, str], log: Path) -> None:
        self.port = free_port()
        ports = dict.fromkeys(("CONSUMER_METRICS_PORT", "RELAY_METRICS_PORT"), str(self.port))
        super().__init__([sys.executable, str(MANAGE), name], env={**env, **ports}, log=log)

    def ask(self, path: str) -> tuple[int, str]:
        """The status and the body of what it answers there."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=ASK_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    def health(self) -> dict[str, Any]:
        """What /health says, with the status code as `code`; empty while nobody listens yet."""
        try:
            code, body = self.ask("/health")
        except OSError:
            return {}
        return {**json.loads(body), "code": code}

    def is_stuck(self) -> bool:
        """Whether it listens, and says that its loop does not turn."""
        return self.health().get("code") == 503

    def wait_for(self, state: str, because: str = "", *, code: int = 200) -> dict[str, Any]:
        """What /health says once the command is in this state (working, standby or waiting), with this in its detail.

        A command that has only just begun is none of these yet.
        """
        said: dict[str, Any] = {}

        def is_there() -> bool:
            assert self.process.poll() is None, self.output
            said.clear()
            said.update(self.health())
            is_so = (said.get("state"), said.get("code")) == (state, code)
            return is_so and said["detail"] != "starting" and because in said["detail"]

        wait_until(is_there, f"{state} {because}; the log: {self.log}", PATIENCE_SECONDS)
        return said

    def metric(self, sample: str) -> float:
        """The value of one sample of /metrics; 0 when it is not there."""
        found = re.search(rf"^{re.escape(sample)} (\S+)$", self.ask("/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else 0

    def wait(self) -> int:
        """The exit code of a process that ends by itself; the negative number of the signal that killed it."""
        return self.process.wait(PATIENCE_SECONDS)

    @property
    def open_files(self) -> int:
        """How many it has, sockets among them."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@dataclass(frozen=True)
class Commands:
    """Makes them, each to be started by a `with` block, at one RabbitMQ and on the test's database unless told."""

    rabbitmq: RabbitMQ
    folder: Path

    def environment(self, **values: object) -> dict[str, str]:
        """Of the service's processes, by the hurried settings."""
        return environment(
            **{
                "DJANGO_SETTINGS_MODULE": hurried.__name__,
                "DATABASE_URL": url_of_test_database(),
                "RABBITMQ_URL": self.rabbitmq.url,
                "SECRET_KEY": KEY,
                **values,
            }
        )

    def consumer(self, **values: object) -> Command:
        return self._command("consume_events", **values)

    def relay(self, **values: object) -> Command:
        return self._command("publish_events", **values)

    def _command(self, name: str, **values: object) -> Command:
        log = self.folder / f"{name}-{len(list(self.folder.iterdir()))}.log"
        log.touch()
        return Command(name, env=self.environment(**values), log=log)

    def output(self) -> str:
        """What all of them have written."""
        return "\n".join(log.read_text(errors="replace") for log in sorted(self.folder.glob("*.log")))
