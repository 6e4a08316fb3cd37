"""The hurried settings for a control: a relay forgets what it could not mark, and does not try whether it can write."""

from typing import Any

from django.apps import AppConfig

from tests.integration.messaging.faults.hurried import *  # noqa: F403
from tests.integration.messaging.faults.hurried import INSTALLED_APPS


class Amnesic(AppConfig):
    """Each session with the database begins without a memory."""

    name = "tests.integration.messaging.faults"

    def ready(self) -> None:
        from inventory_project.foundation.messaging import outbox
        from inventory_project.foundation.messaging.relay import Relay

        run = Relay.run

        def run_without_memory(self: Relay, session: Any, channel: Any) -> None:
            self._published, self._unrouted = [], []
            run(self, session, channel)

        Relay.run = run_without_memory  # type: ignore[method-assign]
        outbox.claim = lambda session: None


INSTALLED_APPS = [*INSTALLED_APPS, f"{__name__}.{Amnesic.__name__}"]
