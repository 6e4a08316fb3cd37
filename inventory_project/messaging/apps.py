from django.apps import AppConfig


class MessagingConfig(AppConfig):
    name = "inventory_project.messaging"
    label = "messaging"
    default_auto_field = "django.db.models.BigAutoField"
