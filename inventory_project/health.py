"""Health checks. Live: the process answers. Ready: it can decide, for which it needs only the database."""

import time
from collections.abc import Callable
from threading import Lock

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, JsonResponse

from inventory_project.celery import is_broker_reachable
from inventory_project.foundation import database
from inventory_project.foundation.http import problems
from stock.counters import copies

MAX_LOOK_SECONDS = 1.0  # that a look at the servers may take; who asks meanwhile hears `down`
CACHE_SECONDS = 1.0  # anybody can request the page; frequent requests must not load the servers behind it


class Report:
    """The state of some parts of the service, checked at most once in CACHE_SECONDS."""

    def __init__(self, look: Callable[[], dict[str, bool]]) -> None:
        self._look = look
        self._lock = Lock()
        self._parts: dict[str, str] = {}
        self._good_until = 0.0

    def parts(self) -> dict[str, str]:
        """The state of each part by name: `ok` or `down`."""
        if not self._lock.acquire(timeout=MAX_LOOK_SECONDS):
            return dict.fromkeys(self._parts, "down")  # somebody has been looking for so long
        try:
            if time.monotonic() >= self._good_until:
                self._parts = {name: "ok" if is_well else "down" for name, is_well in self._look().items()}
                self._good_until = time.monotonic() + CACHE_SECONDS
            return self._parts
        finally:
            self._lock.release()


def _look_at_helpers() -> dict[str, bool]:
    """Whether Redis and RabbitMQ are reachable, if this installation is configured to use them."""
    parts = {}
    if settings.REDIS_URL:
        parts["redis"] = copies.is_reachable()
    if settings.RABBITMQ_URL:
        parts["rabbitmq"] = is_broker_reachable()
    return parts


def _database_decides() -> bool:
    """Whether the database answers and takes writes; a standby does not."""
    try:
        return database.is_writable()
    except Error:
        return False


# Two reports, because a helper that does not answer must not delay the answer of /health/ready.
decider = Report(lambda: {"database": _database_decides()})
helpers = Report(_look_at_helpers)


@problems.reading_only
def health(request: HttpRequest) -> JsonResponse:
    """The state of all parts. `degraded`: Redis or RabbitMQ is unreachable. `down`, with 503: the database is."""
    parts = decider.parts() | helpers.parts()
    if parts.get("database") != "ok":
        return JsonResponse({"status": "down", "parts": parts}, status=503)
    is_whole = all(state == "ok" for state in parts.values())
    return JsonResponse({"status": "ok" if is_whole else "degraded", "parts": parts})


@problems.reading_only
def live(request: HttpRequest) -> JsonResponse:
    """200 if the process answers. Restart the process if this fails."""
    return JsonResponse({"status": "ok"})


@problems.reading_only
def ready(request: HttpRequest) -> JsonResponse:
    """200 if the database answers and takes writes, otherwise 503. Send no requests to this process meanwhile."""
    is_ready = decider.parts().get("database") == "ok"
    return JsonResponse({"status": "ok" if is_ready else "down"}, status=200 if is_ready else 503)
