"""The Django app of the API's tokens."""

from importlib import import_module

from django.apps import AppConfig


class AccessConfig(AppConfig):
    """Tokens of the API; shown as such in the admin."""

    name = "inventory_project.foundation.access"
    label = "access"
    verbose_name = "API access"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Make the bearer scheme known to drf-spectacular, which finds its extensions by their being imported."""
        import_module("inventory_project.foundation.access.schema")
