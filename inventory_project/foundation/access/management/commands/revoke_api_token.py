"""`manage.py revoke_api_token NAME`: revoke an API token."""

from argparse import ArgumentParser
from typing import Any

from inventory_project.foundation.access import tokens
from inventory_project.foundation.commands import ServiceCommand


class Command(ServiceCommand):
    """Revokes a token for good. Running processes refuse it within 5 seconds."""

    help = "Revoke the API token with this name."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """NAME."""
        parser.add_argument("name")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Revoke the token."""
        tokens.revoke(options["name"])
        self.stderr.write(f"Token {options['name']} is revoked.")
