"""hiredis' parser for the answers of Redis, with one time limit for a whole answer.

redis-py's time-out begins again with each packet, so a Redis that sends a byte now and then would keep its callers.
"""

import time
from typing import Any

from redis._parsers import _HiredisParser
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.utils import SENTINEL


class Parser(_HiredisParser):
    """Waits for an answer no longer than the connection's time-out, however many packets it comes in."""

    _until: float | None = None  # when the answer must be complete; None before its first packet

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """The next answer. Raises redis' TimeoutError if it is not complete in time."""
        self._until = None
        return super().read_response(*arguments, **options)

    def read_from_socket(self, timeout: Any = SENTINEL, raise_on_timeout: bool = True) -> bool:
        """Read a packet. For the first one the socket's own time-out holds, for the others what is left of it."""
        if timeout is SENTINEL and self._socket_timeout is not None:
            now = time.monotonic()
            if self._until is None:
                self._until = now + self._socket_timeout
            elif now >= self._until:
                raise RedisTimeoutError("Redis answers too slowly.")
            else:
                timeout = self._until - now
        is_read: bool = super().read_from_socket(timeout=timeout, raise_on_timeout=raise_on_timeout)  # type: ignore[no-untyped-call]
        return is_read
