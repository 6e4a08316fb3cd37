"""Creates and revokes API tokens, for the commands and the admin."""

from collections.abc import Collection
from datetime import timedelta

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from inventory_project.foundation.access import scopes
from inventory_project.foundation.access.models import ApiToken
from inventory_project.foundation.errors import Conflict, Invalid, NotFound

DEFAULT_DAYS = 365
MAX_DAYS = 3_650
TOKEN_PREFIX = "inv_"  # noqa: S105  # lets scanners for leaked secrets recognise our tokens


def issue(*, name: str, wanted: Collection[str], owner: User, days: int | None = DEFAULT_DAYS) -> tuple[ApiToken, str]:
    """Create a token and return it with its secret text, which is not stored and cannot be shown again.

    With `days` None it never expires. Raises `Invalid` for a malformed name, unknown scopes or days out of range, and
    `Conflict` if the name is in use.
    """
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise Invalid(f"A token lives 1 to {MAX_DAYS} days, not {days}.")
    try:
        granted = scopes.in_order(wanted)
        ApiToken(name=name, scopes=granted).clean_fields(exclude=["digest", "token_key", "user"])
    except ValueError as error:
        raise Invalid(str(error)) from None
    except ValidationError as error:
        raise Invalid("; ".join(error.messages)) from None
    expiry = None if days is None else timedelta(days=days)
    try:
        with transaction.atomic():
            created: tuple[ApiToken, str] = ApiToken.objects.create(
                user=owner, expiry=expiry, prefix=TOKEN_PREFIX, name=name, scopes=granted
            )
    except IntegrityError:  # the only constraint that a checked token can violate: its name is in use
        raise Conflict(
            f"There is a token named {name} already; revoke it or choose another name.", code="name_in_use"
        ) from None
    return created


def revoke(name: str) -> None:
    """Revoke the token with this name; it is refused everywhere within 5 seconds. Raises `NotFound`."""
    if not ApiToken.objects.filter(name=name, revoked_at=None).update(revoked_at=Now()):
        raise NotFound(f"There is no token named {name} that could be revoked.")
