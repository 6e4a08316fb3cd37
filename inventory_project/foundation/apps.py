from django.apps import AppConfig


class FoundationConfig(AppConfig):
    """No models of its own: an app so that Django finds the admin's template and style sheet here."""

    name = "inventory_project.foundation"
    label = "foundation"
