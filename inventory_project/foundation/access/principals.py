"""Who stands behind a request: a name for the books, and scopes."""

from dataclasses import dataclass
from typing import cast

from rest_framework.request import Request

from inventory_project.foundation.access import scopes


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller as the API knows it. `actor` is what the ledger writes down."""

    actor: str
    scopes: frozenset[str]


ANONYMOUS = Principal(actor="anonymous", scopes=scopes.ALL)  # the embedded default: anyone on this machine


def principal_of(request: Request) -> Principal:
    """The caller, on a path that asks for one."""
    return cast(Principal, request.auth)  # the stubs think of DRF's own tokens


def actor_of(request: Request) -> str:
    """The caller's name for the ledger, such as `token:checkout`, or `anonymous` where no tokens are asked for."""
    return principal_of(request).actor
