"""`manage.py revoke_api_token NAME`: end a token."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inventory_project.access import tokens
from inventory_project.errors import Refusal


class Command(BaseCommand):
    """Ends a token for good; running processes refuse it within 5 seconds."""

    help = "Revoke a token of the API by its name."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """NAME."""
        parser.add_argument("name")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Revoke the token."""
        try:
            tokens.revoke(options["name"])
        except Refusal as refusal:
            raise CommandError(refusal.detail) from None
        self.stderr.write(f"Token {options['name']} is revoked.")
