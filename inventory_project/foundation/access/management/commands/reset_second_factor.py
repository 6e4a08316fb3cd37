"""`manage.py reset_second_factor NAME`: remove the second factor of a user who has lost it."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User

from inventory_project.foundation.access import second_factor
from inventory_project.foundation.commands import ServiceCommand
from inventory_project.foundation.errors import NotFound


class Command(ServiceCommand):
    """Removes a user's second factor. The user can set up another one."""

    help = "Remove the second factor of a user who has lost it, with its backup codes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """NAME."""
        parser.add_argument("name", help="the user name")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Remove the second factor."""
        user = User.objects.filter(username=options["name"]).first()
        if user is None:
            raise NotFound(f"There is no user named {options['name']}.")
        second_factor.reset(user)
        self.stderr.write(f"The second factor of {options['name']} is removed.")
