"""The hurried settings for a process whose connections beat each second, and to which three seconds are an age."""

from django.apps import AppConfig

from tests.integration.messaging.faults.hurried import *  # noqa: F403
from tests.integration.messaging.faults.hurried import INSTALLED_APPS

HEARTBEAT_SECONDS = 1
SILENT_SECONDS = WAITING_SECONDS = 3


class Impatient(AppConfig):
    """The constants of three modules, changed."""

    name = "tests.integration.messaging.faults"

    def ready(self) -> None:
        from inventory_project.foundation.messaging import consumer, heartbeat
        from inventory_project.foundation.messaging.rabbitmq import connection

        connection.HEARTBEAT_SECONDS = HEARTBEAT_SECONDS
        heartbeat.SILENT_SECONDS = SILENT_SECONDS
        consumer.WAITING_SECONDS = WAITING_SECONDS


INSTALLED_APPS = [*INSTALLED_APPS, f"{__name__}.{Impatient.__name__}"]
