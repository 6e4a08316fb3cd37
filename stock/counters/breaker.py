"""Keeps a server that does not answer from costing each caller its time-out."""

import logging
import time
from threading import Lock

logger = logging.getLogger(__name__)


class Breaker:
    """Open after `failures_allowed` failures in a row: then one caller in `open_seconds` tries, the others do without.

    The one that tries closes it by a success. One that never comes back from its try costs nothing: the next interval
    has a try of its own. One breaker serves all threads of a process.
    """

    def __init__(self, name: str, *, failures_allowed: int = 3, open_seconds: float = 1.0) -> None:
        self._name = name
        self._failures_allowed = failures_allowed
        self._open_seconds = open_seconds
        self._lock = Lock()
        self._failures = 0
        self._next_try_at = 0.0

    def allows(self) -> bool:
        """Whether the caller may ask the server; if it does, it says how that went."""
        if self._failures < self._failures_allowed:
            return True
        now = time.monotonic()
        with self._lock:
            if now < self._next_try_at:
                return False
            self._next_try_at = now + self._open_seconds
            return True

    def succeeded(self) -> None:
        """The server answered, whatever it said."""
        if self._failures == 0:
            return
        with self._lock:
            was_open = self._failures >= self._failures_allowed
            self._failures = 0
        if was_open:
            logger.info("%s answers again", self._name)

    def failed(self) -> None:
        """The server did not answer."""
        with self._lock:
            self._failures += 1
            self._next_try_at = time.monotonic() + self._open_seconds
            is_opening = self._failures == self._failures_allowed
        if is_opening:
            logger.warning("%s does not answer; it is tried once in %s s", self._name, self._open_seconds)
