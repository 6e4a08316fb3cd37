"""A circuit breaker: callers of a server that does not answer need not each wait for the time-out."""

import logging
import time
from threading import Lock

logger = logging.getLogger(__name__)


class Breaker:
    """Opens after `failures_allowed` failures in a row. Then only one caller in each `open_seconds` may try.

    If the try succeeds, the breaker closes. If that caller never reports back, the next interval has another try. One
    breaker serves all threads of a process. Without `logs_before_first_answer`, nothing is logged of a server that has
    never answered this process; the caller that needs the server says so.
    """

    def __init__(
        self, name: str, *, failures_allowed: int = 3, open_seconds: float = 1.0, logs_before_first_answer: bool = True
    ) -> None:
        self._name = name
        self._failures_allowed = failures_allowed
        self._open_seconds = open_seconds
        self._lock = Lock()
        self._failures = 0
        self._next_try_at = 0.0
        self._logs_failures = logs_before_first_answer

    @property
    def is_open(self) -> bool:
        """Whether the server is known not to answer."""
        return self._failures >= self._failures_allowed

    def allows(self) -> bool:
        """Whether the caller may ask the server. If so, it must call `succeeded` or `failed` afterwards."""
        if not self.is_open:
            return True
        now = time.monotonic()
        with self._lock:
            if now < self._next_try_at:
                return False
            self._next_try_at = now + self._open_seconds
            return True

    def succeeded(self) -> None:
        """Record that the server answered, even if it answered with an error."""
        self._logs_failures = True
        if self._failures == 0:
            return
        with self._lock:
            was_open = self.is_open
            self._failures = 0
        if was_open:
            logger.info("%s answers again", self._name)

    def failed(self) -> None:
        """Record that the server did not answer."""
        with self._lock:
            self._failures += 1
            self._next_try_at = time.monotonic() + self._open_seconds
            is_opening = self._failures == self._failures_allowed
        if is_opening and self._logs_failures:
            logger.warning("%s does not answer; it is tried once in %s s", self._name, self._open_seconds)
