"""The heartbeat of a long-running process: its state, and a port with /health and /metrics."""

import logging
import time
from threading import Event as Flag

from prometheus_client import Gauge

from inventory_project.foundation import side_server

logger = logging.getLogger(__name__)

RETRY_SECONDS = (0.2, 0.5, 1)  # after the first, second, ... failure in a row; the last one repeats
SILENT_SECONDS = 60  # the longest turn of a healthy loop; batches take less, and waits have small steps

process_state = Gauge(
    "inventory_process_state",
    "1 for the state that the relay, the consumer or expiry is in: working, standby, waiting (for a server), stopped.",
    ["process", "state"],
    multiprocess_mode="livemostrecent",
)
STATES = ("working", "standby", "waiting", "stopped")


class Heartbeat:
    """The state of a loop, which it reports at each turn for the monitoring of its process."""

    def __init__(self, process: str) -> None:
        self.process = process
        self._state, self._failures = "", 0
        self.beat("waiting", "starting")

    def beat(self, state: str, detail: str = "") -> None:
        """Record a turn of the loop and its state. `working` means that a turn has succeeded."""
        self.turn()
        if state == "working":
            self._failures = 0
        if state != self._state:
            logger.info("%s is %s %s", self.process, state, detail)
            for each in STATES:
                process_state.labels(self.process, each).set(each == state)
        self._state, self._detail = state, detail

    def turn(self) -> None:
        """Record a turn of the loop without changing its state."""
        self._seen = time.monotonic()

    def wait(self, stop: Flag, detail: str) -> None:
        """Report that a server is unreachable or refuses, and wait: longer after each failure in a row."""
        seconds = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
        self._failures += 1
        logger.warning("%s waits; trying again in %g s: %s", self.process, seconds, detail.strip())
        self.beat("waiting", detail)
        stop.wait(seconds)

    def keep_waiting(self, stop: Flag, detail: str) -> bool:
        """Report that the loop waits because of `detail`. Returns False once the loop must stop."""
        self.beat("waiting", detail)
        return not stop.is_set()

    def report(self) -> tuple[bool, dict[str, str]]:
        """Whether the loop turns, and its last state. A loop that waits for a server is alive: do not restart it."""
        is_alive = time.monotonic() - self._seen < SILENT_SECONDS
        status = "stuck" if not is_alive else "degraded" if self._state == "waiting" else "ok"
        return is_alive, {"status": status, "process": self.process, "state": self._state, "detail": self._detail}

    def serve(self, port: int) -> None:
        """Answer /health and /metrics on INVENTORY_HOST; port 0 turns this off. Raises Unavailable if it is in use."""
        side_server.serve(port, name="heartbeat", report=self.report)
