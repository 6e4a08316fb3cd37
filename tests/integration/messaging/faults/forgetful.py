"""The hurried settings for a control: the inbox knows of no message that it was handled before."""

from django.apps import AppConfig

from tests.integration.messaging.faults.hurried import *  # noqa: F403
from tests.integration.messaging.faults.hurried import INSTALLED_APPS


class Forgetful(AppConfig):
    """Whatever is asked, it was not."""

    name = "tests.integration.messaging.faults"

    def ready(self) -> None:
        from inventory_project.foundation.messaging.inbox import Known

        Known.has = lambda self, message: False  # type: ignore[method-assign]


INSTALLED_APPS = [*INSTALLED_APPS, f"{__name__}.{Forgetful.__name__}"]
