"""The hurried settings for a control: no relay asks whether another one works."""

from django.apps import AppConfig

from tests.integration.messaging.faults.hurried import *  # noqa: F403
from tests.integration.messaging.faults.hurried import INSTALLED_APPS


class Lockless(AppConfig):
    """Nobody stands by."""

    name = "tests.integration.messaging.faults"

    def ready(self) -> None:
        from inventory_project.foundation.messaging import relay

        relay._stand_by = lambda session, stop, heartbeat: True


INSTALLED_APPS = [*INSTALLED_APPS, f"{__name__}.{Lockless.__name__}"]
