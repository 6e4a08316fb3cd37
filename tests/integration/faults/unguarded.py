"""The service's settings for a control: a bad Redis is waited for again and again, and no row is locked."""

from copy import deepcopy

from django.apps import AppConfig

from tests.integration.group_commit.unlocked import *  # noqa: F403
from tests.integration.group_commit.unlocked import CACHES, INSTALLED_APPS

TIMEOUT_SECONDS = 0.7


class Unguarded(AppConfig):
    """Every call asks Redis, whatever came of those before."""

    name = "tests.integration.faults"

    def ready(self) -> None:
        """Take the breaker away."""
        from inventory_project.foundation.breaker import Breaker
        from stock.counters import copies

        copies.breaker = Breaker("Redis", failures_allowed=10**9)


INSTALLED_APPS = [*INSTALLED_APPS, f"{__name__}.{Unguarded.__name__}"]
CACHES = deepcopy(CACHES)  # the test that names this module imports it, and shares the service's own
CACHES["default"]["OPTIONS"] |= {"SOCKET_CONNECT_TIMEOUT": TIMEOUT_SECONDS, "SOCKET_TIMEOUT": TIMEOUT_SECONDS}
