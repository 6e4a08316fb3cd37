"""The door of the command line: what every manage.py command of ours does with a refusal or a missing database."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, IntegrityError, OperationalError

from inventory_project.errors import Refusal


class ServiceCommand(BaseCommand):
    """A command that fails with one clear line and a non-zero exit, never with a stack trace for what is no defect."""

    requires_system_checks: list[str] = []  # `manage.py check` is for those; a command at 3 a.m. should start at once

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. Raises CommandError for each family of refusal, and when the database is away."""
        try:
            return super().execute(*args, **options)
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        except OperationalError as error:
            raise CommandError(f"The database cannot be used: {_first_line(error)}") from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted; what was not finished was rolled back.", returncode=130) from None
        except Error as error:
            if isinstance(error, IntegrityError):
                raise
            raise CommandError(
                f"The database refused: {_first_line(error)} Has `manage.py migrate` been run?"
            ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") + "."
