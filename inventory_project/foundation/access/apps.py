"""The Django app of the API's tokens."""

from importlib import import_module

from django.apps import AppConfig


class AccessConfig(AppConfig):
    """The app that holds the API's tokens."""

    name = "inventory_project.foundation.access"
    label = "access"
    verbose_name = "API access"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import the bearer scheme: drf-spectacular knows only the extensions that are imported."""
        import_module("inventory_project.foundation.access.schema")
