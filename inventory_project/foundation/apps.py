from django.apps import AppConfig


class FoundationConfig(AppConfig):
    """An app without models. It exists so that Django finds the admin's templates and style sheet here."""

    name = "inventory_project.foundation"
    label = "foundation"
