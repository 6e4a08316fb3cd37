"""The hurried settings for a control: a relay sends all events of a batch at once, whatever their subject."""

from django.apps import AppConfig

from tests.integration.messaging.faults.hurried import *  # noqa: F403
from tests.integration.messaging.faults.hurried import INSTALLED_APPS


class Roundless(AppConfig):
    """One round for all."""

    name = "tests.integration.messaging.faults"

    def ready(self) -> None:
        from inventory_project.foundation.messaging import relay

        relay.rounds = lambda events: [list(events)]


INSTALLED_APPS = [*INSTALLED_APPS, f"{__name__}.{Roundless.__name__}"]
