"""The hurried settings, and a relay that remembers two subjects at most that a full queue refused."""

from django.apps import AppConfig

from tests.integration.messaging.faults.hurried import *  # noqa: F403
from tests.integration.messaging.faults.hurried import INSTALLED_APPS


class Narrow(AppConfig):
    """The constant, changed."""

    name = "tests.integration.messaging.faults"

    def ready(self) -> None:
        from inventory_project.foundation.messaging import relay

        relay.MAX_WAITING_SUBJECTS = 2


INSTALLED_APPS = [*INSTALLED_APPS, f"{__name__}.{Narrow.__name__}"]
