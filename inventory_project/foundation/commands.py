"""The command line's door: how our manage.py commands report a refusal or an unusable database."""

import signal
from argparse import ArgumentTypeError
from collections.abc import Callable
from threading import Event
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, IntegrityError, OperationalError

from inventory_project.foundation import values
from inventory_project.foundation.errors import Refusal


def stop_on_signals() -> Event:
    """An event that SIGTERM and Ctrl-C set. A command checks it and stops after the work in progress."""
    stop = Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    return stop


def require_broker() -> None:
    """Raise CommandError if no RabbitMQ is configured."""
    if not settings.RABBITMQ_URL:
        raise CommandError("RABBITMQ_URL is not set; without RabbitMQ events go to the log.")


def id_argument(text: str) -> UUID:
    """A `type` for add_argument: an id as every other door reads it."""
    try:
        return values.read_uuid(text)
    except values.WrongValue:
        raise ArgumentTypeError(f"invalid UUID value: {text!r}") from None


def whole_argument(least: int, most: int) -> Callable[[str], int]:
    """A `type` for add_argument: a whole number in these bounds, in plain digits."""

    def read_number(text: str) -> int:
        try:
            number = values.read_whole(text)
        except values.WrongValue:
            number = least - 1
        if not least <= number <= most:
            raise ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return number

    return read_number


class ServiceCommand(BaseCommand):
    """A command that reports expected failures in one line with a non-zero exit code, not with a stack trace."""

    requires_system_checks: list[str] = []  # `manage.py check` runs those; a command in an emergency starts at once

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. Raises CommandError for every refusal, and if the database is unreachable."""
        try:
            return super().execute(*args, **options)
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        except OperationalError as error:
            raise CommandError(why_unusable(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted; what was not finished was rolled back.", returncode=130) from None
        except Error as error:
            if isinstance(error, IntegrityError):
                raise
            raise CommandError(
                f"The database refused: {_first_line(error)} Has `manage.py migrate` been run?"
            ) from error


def why_unusable(error: OperationalError) -> str:
    """One line for a database that is unreachable, misnamed or too busy, with the reason that its server gives."""
    return f"The database cannot be used: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") + "."
