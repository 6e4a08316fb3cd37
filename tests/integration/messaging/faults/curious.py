"""The hurried settings, and a relay that tries each second whether a queue is bound for unrouted events."""

from django.apps import AppConfig

from tests.integration.messaging.faults.hurried import *  # noqa: F403
from tests.integration.messaging.faults.hurried import INSTALLED_APPS


class Curious(AppConfig):
    """The constant, changed."""

    name = "tests.integration.messaging.faults"

    def ready(self) -> None:
        from inventory_project.foundation.messaging import relay

        relay.TRY_UNROUTED_SECONDS = 1


INSTALLED_APPS = [*INSTALLED_APPS, f"{__name__}.{Curious.__name__}"]
