"""Limits how much each API token may ask for: a token bucket of units, which all web processes share through Redis.

A process takes units from a token's bucket a few at a time, and serves requests from what it has taken. So Redis is
asked about ten times a second for a busy token, in a thread, and not at all for a request that finds enough units here.
In any stretch of time a token gets at most RATE_LIMIT_BURST, what RATE_LIMIT_PER_SECOND adds meanwhile, and what each
process had taken before: CHUNK_SECONDS' worth at most.

While Redis does not answer, and without one, each process has a bucket of its own for each token.
"""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Protocol

from django.conf import settings

from inventory_project.foundation.errors import Unavailable

CHUNK_SECONDS = 0.1  # a process takes what is added in this time, in addition to what a request needs
MIN_WAIT_SECONDS = 0.01  # between two looks at a bucket that had too little
MAX_ACCOUNTS = 10_000  # tokens that a process remembers

Taken = tuple[int, float]  # how many units; if none, the seconds until there will be enough


class Share(Protocol):
    """A bucket that processes share: takes `least` units, up to `more` in addition. None if it does not answer."""

    def __call__(self, actor: str, /, *, per_second: int, burst: int, least: int, more: int) -> Taken | None:
        """Take units for this actor."""


class RateLimited(Unavailable):
    """The token has used up its units; `retry_after` is when there are enough, in whole seconds."""

    code = "rate_limited"


@dataclass(slots=True)
class Bucket:
    """A token bucket with `level` units at the moment `at`."""

    level: float
    at: float

    def take(self, now: float, *, per_second: int, burst: int, least: int, more: int) -> Taken:
        """Take `least` units, and up to `more` in addition; or none if there are fewer."""
        self.level = min(burst, self.level + max(0.0, now - self.at) * per_second)
        self.at = now
        whole = math.floor(self.level)
        if whole < least:
            return 0, (least - self.level) / per_second
        taken = min(whole, least + more)
        self.level -= taken
        return taken, 0.0


@dataclass(slots=True)
class _Account:
    """The units of one token that this process has taken. Until `dry_until`, `dry_cost` is too much."""

    units: int = 0
    dry_cost: int = 0
    dry_until: float = 0.0
    bucket: Bucket | None = None  # of this process, where none is shared
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)  # one request asks the shared bucket, the others wait


class Limiter:
    """The accounts of this process. Safe in any number of threads, and on one event loop."""

    def __init__(
        self,
        share: Share | None = None,
        *,
        executor: Executor | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`share` takes units from the bucket of all processes; `executor` runs it for requests on the event loop."""
        self.share = share
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="limits")
        self._clock = clock
        self._lock = Lock()
        self._accounts: dict[str, _Account] = {}

    async def take(self, actor: str, cost: int) -> None:
        """Charge the actor for a request, on the event loop. Raises RateLimited; then nothing is charged."""
        if not is_limited(actor):
            return
        account, cost = self._account(actor), min(cost, settings.RATE_LIMIT_BURST)
        if self._use(account, cost):
            return
        async with account.asking:
            if not self._use(account, cost):
                fill = partial(self._fill, actor, account, cost)
                await asyncio.get_running_loop().run_in_executor(self._executor, fill)

    def take_now(self, actor: str, cost: int) -> None:
        """The same in a thread, which may wait for Redis."""
        if not is_limited(actor):
            return
        account, cost = self._account(actor), min(cost, settings.RATE_LIMIT_BURST)
        if not self._use(account, cost):
            self._fill(actor, account, cost)

    def give_back(self, actor: str, cost: int) -> None:
        """Undo the charge for a request that was not served after all."""
        if is_limited(actor):
            account = self._account(actor)
            with self._lock:
                account.units += min(cost, settings.RATE_LIMIT_BURST)

    def clear(self) -> None:
        """Forget all accounts."""
        self._accounts.clear()

    def _account(self, actor: str) -> _Account:
        account = self._accounts.get(actor)
        if account is None:
            if len(self._accounts) >= MAX_ACCOUNTS:
                self._accounts.clear()
            account = self._accounts.setdefault(actor, _Account())
        return account

    def _use(self, account: _Account, cost: int) -> bool:
        """Whether the account had enough units, which are used then. Raises RateLimited if the bucket had too few."""
        with self._lock:
            if account.units >= cost:
                account.units -= cost
                return True
            wait = account.dry_until - self._clock()
        if wait > 0 and cost >= account.dry_cost:
            raise _refusal(wait + (cost - account.dry_cost) / settings.RATE_LIMIT_PER_SECOND)
        return False

    def _fill(self, actor: str, account: _Account, cost: int) -> None:
        """Take units for the account from its bucket, and use them. Raises RateLimited."""
        with self._lock:
            owned, account.units = account.units, 0
        taken, wait = self._take(actor, account, least=max(0, cost - owned))
        with self._lock:
            if owned + taken >= cost:
                account.units += owned + taken - cost
                return
            account.units += owned
            account.dry_cost, account.dry_until = cost, self._clock() + max(wait, MIN_WAIT_SECONDS)
        raise _refusal(wait)

    def _take(self, actor: str, account: _Account, *, least: int) -> Taken:
        per_second, burst = settings.RATE_LIMIT_PER_SECOND, settings.RATE_LIMIT_BURST
        more = max(1, int(per_second * CHUNK_SECONDS))
        if self.share is not None:
            taken = self.share(actor, per_second=per_second, burst=burst, least=least, more=more)
            if taken is not None:
                return taken
        with self._lock:
            if account.bucket is None:
                account.bucket = Bucket(burst, self._clock())
            return account.bucket.take(self._clock(), per_second=per_second, burst=burst, least=least, more=more)


limiter = Limiter()  # of this process; `asgi` gives it the shared bucket


def is_limited(actor: str) -> bool:
    """Whether there is a rate limit, and the actor is a token that it holds for."""
    return bool(settings.RATE_LIMIT_PER_SECOND) and is_bounded_token(actor)


def is_bounded_token(actor: str) -> bool:
    """Whether the actor is an API token that UNLIMITED_TOKENS does not name."""
    kind, _, name = actor.partition(":")
    return kind == "token" and name not in settings.UNLIMITED_TOKENS


def _refusal(wait_seconds: float) -> RateLimited:
    seconds = max(1, math.ceil(wait_seconds))
    return RateLimited(
        f"This token has asked for too much; nothing was done. Repeat the request in {seconds} s.", retry_after=seconds
    )
