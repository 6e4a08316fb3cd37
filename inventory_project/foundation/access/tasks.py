"""The Celery tasks of access, one line each."""

from celery import shared_task
from django.core.management import call_command


@shared_task(name="inventory_project.access.tasks.clear_sessions")
def clear_sessions() -> None:
    """Delete the expired sessions of the admin."""
    call_command("clearsessions")
