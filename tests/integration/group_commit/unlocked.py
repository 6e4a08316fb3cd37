"""The service's settings for a control: no web process locks a row."""

from django.apps import AppConfig

from inventory_project.settings import *  # noqa: F403
from inventory_project.settings import INSTALLED_APPS


class Unlocked(AppConfig):
    """FOR NO KEY UPDATE is left out of every statement."""

    name = "tests.integration.group_commit"

    def ready(self) -> None:
        from inventory_project.foundation import database

        database.for_no_key_update = lambda table: ""


INSTALLED_APPS = [*INSTALLED_APPS, f"{__name__}.{Unlocked.__name__}"]
