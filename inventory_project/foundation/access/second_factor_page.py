"""The page on which staff sets up a second factor, renews its backup codes or removes it."""

from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from qrcode import QRCode
from qrcode.image.svg import SvgPathFillImage

from inventory_project.foundation.access import second_factor
from inventory_project.foundation.errors import Invalid

SET_UP, RENEW, REMOVE = "set_up", "renew", "remove"


class CodeForm(forms.Form):
    """What to do, and a code that allows it."""

    action = forms.ChoiceField(choices=[(name, name) for name in (SET_UP, RENEW, REMOVE)], widget=forms.HiddenInput)
    code = forms.CharField(max_length=32, widget=forms.TextInput(attrs={"autocomplete": "one-time-code"}))


def answer(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Show the page, or do what was asked. Backup codes are shown once, on the page that answers."""
    user = cast(User, request.user)
    form = CodeForm(request.POST) if request.method == "POST" else CodeForm()
    backup_codes: list[str] = []
    if form.is_bound and form.is_valid():
        try:
            backup_codes = _done(request, user, **form.cleaned_data)
        except Invalid as refusal:
            form.add_error("code", ValidationError(refusal.detail))
        else:
            if not backup_codes:
                messages.success(request, "The second factor is removed.")
                return HttpResponseRedirect(request.path)
    is_set_up = second_factor.is_set_up(user)
    more = {"backup_codes_left": second_factor.backup_codes_left(user)} if is_set_up else _secret(user)
    return TemplateResponse(
        request,
        "admin/access/second_factor.html",
        {
            **context,
            **more,
            "title": "Second factor",
            "is_set_up": is_set_up,
            "is_required": settings.STAFF_SECOND_FACTOR == second_factor.REQUIRED,
            "backup_codes": backup_codes,
            "errors": form.errors,
        },
    )


def _done(request: HttpRequest, user: User, *, action: str, code: str) -> list[str]:
    """The new backup codes, if there are any. Raises Invalid if the code is wrong."""
    if action == REMOVE:
        second_factor.remove(user, code)
        request.session.pop(second_factor.SESSION_KEY, None)
        return []
    codes = second_factor.renew_backup_codes(user, code) if action == RENEW else second_factor.set_up(user, code)
    second_factor.remember(request, user)
    return codes


def _secret(user: User) -> dict[str, str]:
    """The secret for the user's app, as a picture and as text."""
    device = second_factor.pending(user)
    code = QRCode(border=2)
    code.add_data(device.config_url)
    picture: Any = code.make_image(image_factory=SvgPathFillImage)
    return {"picture": picture.to_string(encoding="unicode"), "secret": second_factor.secret_of(device)}
