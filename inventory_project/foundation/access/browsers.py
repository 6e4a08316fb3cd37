"""Browsers in which staff has logged in before, by a signed cookie.

Behind a proxy, all clients may have one address. A stranger there can have log-ins refused for a name or for the
address, but not in a browser with this cookie: its failures are counted apart. The cookie opens nothing. It belongs to
one name, and lasts 90 days from the last log-in.
"""

import secrets
from datetime import timedelta

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

COOKIE = "staff_browser"
KEPT = timedelta(days=90)


def known(request: HttpRequest, name: str) -> str:
    """The id of the browser, if this name has logged in with it before; otherwise an empty string."""
    try:
        return _signer(name).unsign(request.COOKIES.get(COOKIE, ""), max_age=KEPT)
    except signing.BadSignature:
        return ""


def remember(request: HttpRequest, response: HttpResponse, name: str) -> None:
    """Have the browser send the cookie from now on, because this name has just logged in with it."""
    browser = known(request, name) or secrets.token_hex(8)
    response.set_cookie(
        COOKIE,
        _signer(name).sign(browser),
        max_age=KEPT,
        path="/admin/",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _signer(name: str) -> signing.TimestampSigner:
    return signing.TimestampSigner(salt=f"{COOKIE}:{name}")
