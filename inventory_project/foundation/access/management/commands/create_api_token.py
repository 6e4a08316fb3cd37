"""`manage.py create_api_token NAME --scope SCOPE ...`: create a token and print it once."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError

from inventory_project.foundation.access import scopes, tokens
from inventory_project.foundation.commands import ServiceCommand


class Command(ServiceCommand):
    """Prints only the token on standard output, so that a script can read it."""

    help = "Create an API token and print it. It cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """NAME, --scope, --days or --no-expiry, --user."""
        parser.add_argument("name", help="the caller, for instance checkout; the ledger records it as token:NAME")
        parser.add_argument(
            "--scope",
            action="append",
            required=True,
            dest="scopes",
            choices=list(scopes.SENTENCES),
            help="a scope of the token; repeatable",
        )
        expiry = parser.add_mutually_exclusive_group()
        expiry.add_argument(
            "--days", type=int, default=tokens.DEFAULT_DAYS, help="days until it expires (default: %(default)s)"
        )
        expiry.add_argument("--no-expiry", action="store_true", help="the token never expires, but it can be revoked")
        parser.add_argument("--user", help="the staff user that owns the token (default: the first superuser)")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Create the token and print it."""
        days = None if options["no_expiry"] else options["days"]
        token, secret = tokens.issue(
            name=options["name"], wanted=options["scopes"], owner=_owner(options["user"]), days=days
        )
        until = f"until {token.expiry:%Y-%m-%d}" if token.expiry else "without expiry"
        self.stderr.write(f"Token {token.name}, {until}: {', '.join(token.scopes)}. Keep it: it cannot be shown again.")
        self.stdout.write(secret)


def _owner(username: str | None) -> User:
    """The staff user that owns the token. Raises CommandError if there is none."""
    staff = User.objects.filter(is_active=True, is_staff=True).order_by("pk")
    found = staff.filter(username=username) if username else staff.filter(is_superuser=True)
    owner = found.first()
    if owner is None and username:
        raise CommandError(f"There is no active staff user named {username}.")
    if owner is None:
        raise CommandError("No superuser exists to own the token: run createsuperuser, or give --user.")
    return owner
