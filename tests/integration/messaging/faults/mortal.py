"""The hurried settings for a consumer that dies of some messages, as of a defect in a library's C code."""

import os
import signal

from django.apps import AppConfig

from tests.integration.messaging.faults.hurried import *  # noqa: F403
from tests.integration.messaging.faults.hurried import INSTALLED_APPS

FATAL = b"fatal"


class Mortal(AppConfig):
    """Whoever reads a body with this word is killed."""

    name = "tests.integration.messaging.faults"

    def ready(self) -> None:
        from inventory_project.foundation.messaging import envelope
        from inventory_project.foundation.messaging.envelope import Message
        from inventory_project.foundation.messaging.rabbitmq.messages import Delivery

        read = envelope.read

        def die(delivery: Delivery) -> Message:
            if FATAL in delivery.body:
                os.kill(os.getpid(), signal.SIGKILL)
            return read(delivery)

        envelope.read = die


INSTALLED_APPS = [*INSTALLED_APPS, f"{__name__}.{Mortal.__name__}"]
