from django.apps import AppConfig


class MessagingConfig(AppConfig):
    name = "inventory_project.foundation.messaging"
    label = "messaging"
    default_auto_field = "django.db.models.BigAutoField"
