"""The service's settings, with less patience: a second until a message that came too early comes again, five deaths.

Connections beat every five seconds, so that a RabbitMQ that is frozen is noticed in ten by who has nothing to tell it.
"""

from django.apps import AppConfig

from inventory_project.settings import *  # noqa: F403
from inventory_project.settings import INSTALLED_APPS

MESSAGE_DELAY_SECONDS = 1
MESSAGE_MAX_DELIVERIES = 5
HEARTBEAT_SECONDS = 5


class Hurried(AppConfig):
    """The broker's constant, changed."""

    name = "tests.integration.messaging"  # the folder above: beside this one, others name their own after this folder
    label = "hurried"

    def ready(self) -> None:
        from inventory_project.foundation.messaging.rabbitmq import connection

        connection.HEARTBEAT_SECONDS = HEARTBEAT_SECONDS


INSTALLED_APPS = [*INSTALLED_APPS, f"{__name__}.{Hurried.__name__}"]
