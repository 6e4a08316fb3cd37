"""Tokens of the API. The table holds only digests, so reading it does not give access."""

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
