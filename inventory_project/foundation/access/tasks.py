"""The Celery tasks of access, one line each."""

from celery import shared_task
from django.core.management import call_command

from inventory_project.foundation.access import lockouts


@shared_task(name="inventory_project.access.tasks.clear_sessions")
def clear_sessions() -> None:
    """Delete the expired sessions of the admin."""
    call_command("clearsessions")


@shared_task(name="inventory_project.access.tasks.forget_failed_log_ins")
def forget_failed_log_ins() -> None:
    """Forget the failed log-ins of names and addresses that have not failed for a day."""
    lockouts.forget_old()
