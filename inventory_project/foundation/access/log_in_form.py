"""The form with which staff logs in to the admin: user name, password and, if it is in use, the second factor."""

from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from inventory_project.foundation.access import browsers, lockouts, log_in, second_factor
from inventory_project.foundation.access.lockouts import Origin
from inventory_project.foundation.errors import Refusal


class LogInForm(AdminAuthenticationForm):
    """Django's form of the admin, with the limits of `log_in`. A refusal is an error of the form."""

    code = forms.CharField(
        required=False,
        max_length=32,
        label="Code of the second factor",
        help_text="From your app, or a backup code. Leave it empty if you have set none up.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code"}),
    )

    def __init__(self, request: HttpRequest | None = None, *arguments: Any, **options: Any) -> None:
        super().__init__(request, *arguments, **options)
        if settings.STAFF_SECOND_FACTOR == second_factor.OFF:
            del self.fields["code"]

    def clean(self) -> dict[str, Any]:
        """Check what was entered."""
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if name and password:
            try:
                self.user_cache = log_in.check(
                    name=name, password=password, code=self.cleaned_data.get("code", ""), origin=self._origin(name)
                )
            except Refusal as refusal:
                raise ValidationError(refusal.detail) from None
        return self.cleaned_data

    def _origin(self, name: str) -> Origin:
        """The address of the connection. `X-Forwarded-For` is not trusted: anybody can send it."""
        request = cast(HttpRequest, self.request)  # the view gives one
        return Origin(lockouts.place_of(request.META.get("REMOTE_ADDR", "")), browsers.known(request, name))
