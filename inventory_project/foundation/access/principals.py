"""The principal of a request: the caller's name for the books, and its scopes."""

from dataclasses import dataclass
from typing import cast

from rest_framework.request import Request

from inventory_project.foundation.access import scopes


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller of the API. `actor` is the name that the ledger records."""

    actor: str
    scopes: frozenset[str]


ANONYMOUS = Principal(actor="anonymous", scopes=scopes.ALL)  # the default on SQLite: anyone on this machine


def principal_of(request: Request) -> Principal:
    """The principal of a request, on a path that requires one."""
    return cast(Principal, request.auth)  # the stubs expect DRF's own tokens


def actor_of(request: Request) -> str:
    """The caller's name for the ledger, such as `token:checkout`, or `anonymous` if no tokens are required."""
    return principal_of(request).actor
