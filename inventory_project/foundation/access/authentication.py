"""`Authorization: Bearer TOKEN`: from a header to a principal.

A verified token is trusted for CACHE_SECONDS without another query, so that tokens cost a busy service almost nothing.
A revocation takes effect after at most the same time.
"""

import re
import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from knox.crypto import hash_token
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from inventory_project.foundation.access.models import ApiToken
from inventory_project.foundation.access.principals import ANONYMOUS, Principal

CACHE_SECONDS = 5.0
CACHE_SIZE = 1_024
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,200}=*")  # RFC 6750, and no longer than our tokens can be

Caller = tuple[AbstractBaseUser | AnonymousUser, Principal]


class VerifiedTokens:
    """A cache of tokens that were verified recently, by digest. When it is full, it is emptied."""

    def __init__(
        self,
        *,
        seconds: float = CACHE_SECONDS,
        size: int = CACHE_SIZE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._size, self._clock = seconds, size, clock
        self._callers: dict[str, tuple[float, Caller]] = {}

    def get(self, digest: str) -> Caller | None:
        """The caller with this digest, or None if it was not verified recently."""
        good_until, caller = self._callers.get(digest, (0.0, None))
        return caller if caller and self._clock() < good_until else None

    def put(self, digest: str, caller: Caller) -> None:
        """Remember that this digest has just been verified."""
        if len(self._callers) >= self._size:
            self._callers.clear()
        self._callers[digest] = (self._clock() + self._seconds, caller)

    def clear(self) -> None:
        """Forget all verified tokens."""
        self._callers.clear()


verified = VerifiedTokens()


class BearerTokenAuthentication(BaseAuthentication):
    """Sets `request.user` to the token's owner and `request.auth` to the principal. Only the principal decides rights.

    If API_AUTH_ENABLED is off, every caller is the anonymous principal with all scopes, whatever header is sent.
    """

    def authenticate(self, request: Request) -> Caller | None:
        """The caller, or None without the header. Raises AuthenticationFailed for a token that is not valid."""
        if not settings.API_AUTH_ENABLED:
            return AnonymousUser(), ANONYMOUS
        header = request.headers.get("Authorization")
        if header is None:
            return None
        digest = digest_of(header)
        if digest is None:
            raise AuthenticationFailed("The Authorization header must read: Bearer TOKEN.")
        return caller_of(digest)

    def authenticate_header(self, request: Request) -> str:
        """The challenge that goes with a 401."""
        return "Bearer"


def digest_of(header: str) -> str | None:
    """The digest of the token in an Authorization header; None if the header does not read `Bearer TOKEN`."""
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "bearer" or not _TOKEN.fullmatch(token.strip()):
        return None
    digest: str = hash_token(token.strip())
    return digest


def caller_of(digest: str) -> Caller:
    """The caller whose token has this digest. Raises AuthenticationFailed if it may not call."""
    if known := verified.get(digest):
        return known
    token = ApiToken.objects.usable().select_related("user").filter(digest=digest).first()
    if token is None:
        raise AuthenticationFailed("The token is unknown, revoked or expired.")
    caller = (token.user, Principal(actor=token.actor, scopes=frozenset(token.scopes)))
    verified.put(digest, caller)
    return caller
