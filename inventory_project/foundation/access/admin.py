"""API tokens in the admin: create one (it is shown once) and revoke it. A token cannot be edited."""

from typing import Any, cast

import django_otp.plugins.otp_static.admin
import django_otp.plugins.otp_totp.admin  # noqa: F401  # they register the models that are unregistered below
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from inventory_project.foundation.access import scopes, tokens
from inventory_project.foundation.access.models import ApiToken


class ApiTokenForm(forms.ModelForm):  # type: ignore[type-arg]  # no subscript at run time
    """The form for a new token."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, f"{scope}: {sentence}") for scope, sentence in scopes.SENTENCES.items()],
        widget=forms.CheckboxSelectMultiple,
    )
    days = forms.IntegerField(
        min_value=1,
        max_value=tokens.MAX_DAYS,
        initial=tokens.DEFAULT_DAYS,
        required=False,
        help_text="Days until the token expires. Leave empty for a token that never expires.",
    )

    class Meta:
        model = ApiToken
        fields = ("name", "scopes")

    def clean_name(self) -> str:
        """The name. Raises ValidationError if a token that is not revoked has it."""
        name: str = self.cleaned_data["name"]
        if ApiToken.objects.filter(name=name, revoked_at=None).exists():
            raise ValidationError("A token with this name exists already. Revoke it or choose another name.")
        return name


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin[ApiToken]):
    """The admin of API tokens: list, create and revoke."""

    form = ApiTokenForm
    list_display = ("name", "scope_list", "user", "created", "expiry", "state")
    list_filter = ("revoked_at",)
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    ordering = ("-created",)
    actions = ("revoke_selected",)

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> tuple[str, ...]:
        """The fields of the form for a new token, or the details of an existing one."""
        if obj is None:
            return ("name", "scopes", "days")
        return ("name", "scope_list", "user", "created", "expiry", "revoked_at")

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """False: a token cannot be edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """False: the books refer to it, so a token is revoked and its row stays."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whether the user may revoke tokens: the right to change them includes it."""
        return request.user.has_perm("access.change_apitoken")

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        """Issue the token that the form describes, and show its secret once."""
        data = form.cleaned_data
        owner = cast(User, request.user)  # the admin requires a login
        issued, secret = tokens.issue(name=data["name"], wanted=data["scopes"], owner=owner, days=data["days"])
        obj.__dict__.update(issued.__dict__)
        self.message_user(request, f"The token (it cannot be shown again): {secret}", messages.WARNING)

    @admin.action(description="Revoke the selected tokens", permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Revoke the selected tokens. Those that are revoked already stay unchanged."""
        count = queryset.filter(revoked_at=None).update(revoked_at=Now())
        self.message_user(request, f"Revoked: {count}. Running processes refuse them within 5 seconds.")

    @admin.display(description="scopes")
    def scope_list(self, token: ApiToken) -> str:
        """The scopes of the token on one line."""
        return ", ".join(token.scopes)

    @admin.display(description="state")
    def state(self, token: ApiToken) -> str:
        """Whether the token can be used. It is for display only and uses this machine's clock."""
        if token.revoked_at:
            return "revoked"
        return "expired" if token.expiry and token.expiry <= timezone.now() else "usable"


# They would show the secrets of other users, or how to make one for them.
admin.site.unregister([StaticDevice, TOTPDevice])
