"""`manage.py unlock_staff NAME`: let a user log in to the admin again after a lock-out."""

from argparse import ArgumentParser
from typing import Any

from inventory_project.foundation.access import lockouts
from inventory_project.foundation.commands import ServiceCommand


class Command(ServiceCommand):
    """Forgets the failed log-ins of a name, or those from an address."""

    help = "Forget the failed log-ins of a user name, or of an address, and with them its lock-out."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """NAME or --address."""
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("name", nargs="?", help="the user name")
        whose.add_argument("--address", help="an address, for all names")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Unlock the name or the address."""
        if options["address"]:
            lockouts.unlock_address(options["address"])
            self.stderr.write(f"Log-ins from {options['address']} are accepted again.")
        else:
            lockouts.unlock_name(options["name"])
            self.stderr.write(f"Log-ins of {options['name']} are accepted again.")
