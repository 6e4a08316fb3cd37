"""The hurried settings for a control: the database waits for a silent relay for ever."""

from django.apps import AppConfig

from tests.integration.messaging.faults.hurried import *  # noqa: F403
from tests.integration.messaging.faults.hurried import INSTALLED_APPS


class Unlimited(AppConfig):
    """No limit."""

    name = "tests.integration.messaging.faults"

    def ready(self) -> None:
        from inventory_project.foundation.messaging import relay

        relay._limit_idleness = lambda session: None


INSTALLED_APPS = [*INSTALLED_APPS, f"{__name__}.{Unlimited.__name__}"]
