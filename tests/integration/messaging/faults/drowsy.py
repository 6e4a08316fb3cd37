"""The hurried settings, and the database ends the session of a relay that is silent for three seconds."""

from django.apps import AppConfig

from tests.integration.messaging.faults.hurried import *  # noqa: F403
from tests.integration.messaging.faults.hurried import INSTALLED_APPS

IDLE_SESSION_SECONDS = 3


class Drowsy(AppConfig):
    """The constant, changed."""

    name = "tests.integration.messaging.faults"

    def ready(self) -> None:
        from inventory_project.foundation.messaging import relay

        relay.IDLE_SESSION_SECONDS = IDLE_SESSION_SECONDS


INSTALLED_APPS = [*INSTALLED_APPS, f"{__name__}.{Drowsy.__name__}"]
