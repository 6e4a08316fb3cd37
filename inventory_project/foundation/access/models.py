"""Tokens of the API, of which the table holds only digests, so reading it does not give access; and failed log-ins."""

from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from knox.models import AbstractAuthToken, AuthTokenManager

from inventory_project.foundation.access import scopes

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}\Z"
NAME_LENGTH = 150  # of a user; a longer name is nobody's


def validate_scopes(value: object) -> None:
    """Raise Django's ValidationError unless `value` is a list of at least one known scope."""
    if not isinstance(value, list) or not value:
        raise ValidationError("A token needs at least one scope.")
    try:
        scopes.in_order(value)
    except (ValueError, TypeError) as error:
        raise ValidationError(str(error)) from None


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Queries on API tokens."""

    def usable(self) -> "ApiTokenQuerySet":
        """Tokens that are not revoked, not expired by the database's clock, and whose owner is active."""
        unexpired = Q(expiry__isnull=True) | Q(expiry__gt=Now())
        return self.filter(unexpired, revoked_at__isnull=True, user__is_active=True)


class ApiToken(AbstractAuthToken):  # type: ignore[misc]  # knox has no types
    """A caller's token: a name, scopes and an expiry. A revoked token keeps its row, because the books refer to it."""

    name = models.CharField(
        max_length=64,
        validators=[RegexValidator(NAME_PATTERN, "Lower-case letters, digits, dots, hyphens and underscores only.")],
        help_text="What the ledger writes down as the actor: token:NAME.",
    )
    user = models.ForeignKey(  # knox would delete tokens with their owner; here an owner is deactivated instead
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="api_tokens", verbose_name="answers for it"
    )
    scopes = models.JSONField(validators=[validate_scopes])
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[Any] = AuthTokenManager.from_queryset(ApiTokenQuerySet)()

    class Meta:
        verbose_name = "API token"
        constraints = (
            models.UniqueConstraint(
                fields=["name"], condition=Q(revoked_at__isnull=True), name="api_token_name_stands_for_one_token"
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def actor(self) -> str:
        """The name under which the books record the calls of this token, such as `token:checkout`."""
        return f"token:{self.name}"


class FailedLogIns(models.Model):
    """Log-ins to the admin that failed since the last success: of a name from one origin, or of all names from it.

    `lockouts` counts them and decides what they mean. A row is deleted by a success, or a day after the last failure.
    """

    name = models.CharField(max_length=NAME_LENGTH)  # as it was given, known or not; empty for all names
    origin = models.CharField(max_length=64)  # an address, or a browser
    failures = models.PositiveIntegerField(default=0)  # since the last lock-out
    lock_outs = models.PositiveIntegerField(default=0)
    locked_until = models.DateTimeField(null=True)
    failed_at = models.DateTimeField()

    class Meta:
        default_permissions = ()  # no page shows them
        constraints = (
            models.UniqueConstraint(
                fields=["name", "origin"], name="failed_log_ins_are_counted_once_for_a_name_and_origin"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name or 'all names'} from {self.origin}"
