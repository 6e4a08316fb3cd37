"""Tokens: what is kept of them, which of them open a door, and which door."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from knox.crypto import hash_token
from pytest_django import Settings
from rest_framework import viewsets
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from inventory_project.foundation import access
from inventory_project.foundation.access import authentication, scopes, tokens
from inventory_project.foundation.access.models import ApiToken
from inventory_project.foundation.access.principals import ANONYMOUS
from inventory_project.foundation.errors import Conflict, Invalid, NotFound


class LevelViewSet(viewsets.ViewSet):
    """Reads with one scope, writes with another."""

    required_scopes = {"list": scopes.STOCK_READ, "create": scopes.STOCK_WRITE}

    def list(self, request: Request) -> Response:
        """Who reads?"""
        return Response({"actor": access.actor_of(request)})

    def create(self, request: Request) -> Response:
        """Who writes?"""
        return Response({"actor": access.actor_of(request)}, status=201)

    def forgotten(self, request: Request) -> Response:
        """An action without a scope."""
        return Response()


class ClosedView(APIView):
    """A view that declares nothing."""

    def get(self, request: Request) -> Response:
        """Never reached."""
        return Response()


class OneScopeView(ClosedView):
    """A view with one scope for all it does."""

    required_scopes = scopes.OPERATIONS


class HealthView(ClosedView):
    """A view that says it is open."""

    permission_classes = (AllowAny,)


def call(method: str, header: str | None, view: Any = None) -> Response:
    view = view or LevelViewSet.as_view({"get": "list", "post": "create", "put": "forgotten"})
    headers = {} if header is None else {"Authorization": header}
    response: Response = view(APIRequestFactory().generic(method, "/", headers=headers))
    response.render()
    return response


def issue(owner: User, *wanted: str, name: str = "checkout", days: int | None = 365) -> str:
    _, secret = tokens.issue(name=name, wanted=wanted or [scopes.STOCK_READ], owner=owner, days=days)
    return secret


def test_a_token_is_kept_as_a_digest_only(owner: User) -> None:
    token, secret = tokens.issue(name="checkout", wanted=["stock:write", "stock:read"], owner=owner)
    row = ApiToken.objects.values().get()
    assert secret.startswith("inv_")
    assert len(secret) == 68
    assert secret not in str(row)
    assert row["digest"] == hash_token(secret) == token.digest
    assert row["scopes"] == ["stock:read", "stock:write"]
    lifetime = token.expiry - datetime.now(UTC)
    assert timedelta(days=364, hours=23) < lifetime <= timedelta(days=365)


@pytest.mark.parametrize(
    ("name", "wanted", "days"),
    [
        ("", ["stock:read"], 1),
        ("Check Out", ["stock:read"], 1),
        ("a\n", ["stock:read"], 1),
        ("-a", ["stock:read"], 1),
        ("x" * 65, ["stock:read"], 1),
        ("a", [], 1),
        ("a", ["stock:read", "everything"], 1),
        ("a", ["stock:read"], 0),
        ("a", ["stock:read"], 3_651),
    ],
)
def test_a_senseless_token_is_not_made(owner: User, name: str, wanted: list[str], days: int) -> None:
    with pytest.raises(Invalid):
        tokens.issue(name=name, wanted=wanted, owner=owner, days=days)
    assert ApiToken.objects.count() == 0


def test_a_name_stands_for_one_token_until_it_is_revoked(owner: User) -> None:
    issue(owner)
    with pytest.raises(Conflict) as caught:
        issue(owner)
    assert caught.value.code == "name_in_use"
    tokens.revoke("checkout")
    issue(owner)
    with pytest.raises(NotFound):
        tokens.revoke("nobody")
    assert ApiToken.objects.count() == 2
    with pytest.raises(IntegrityError, match="api_token_name_stands_for_one_token"), transaction.atomic():
        ApiToken.objects.filter(name="checkout").update(revoked_at=None)


def test_a_token_opens_the_doors_of_its_scopes_and_names_its_caller(owner: User) -> None:
    header = f"Bearer {issue(owner, scopes.STOCK_READ)}"
    assert call("GET", header).data == {"actor": "token:checkout"}
    refused = call("POST", header)
    assert (refused.status_code, refused.data["code"]) == (403, "forbidden")
    assert refused.data["detail"] == "The token lacks the scope stock:write."
    assert call("POST", f"bearer  {issue(owner, *scopes.ALL, name='all')}").status_code == 201


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer unknown",
        "Bearer a b",
        "Basic YTpi",
        "Token unknown",
        "Bearer " + "x" * 10_000,
        "Bearer \u00e9\u00e8",
        "Bearer ' OR 1=1 --",
    ],
)
def test_without_a_good_token_the_answer_is_401_with_a_challenge(db: None, header: str | None) -> None:
    response = call("GET", header)
    assert (response.status_code, response.data["code"]) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.headers["Content-Type"] == "application/problem+json"


def test_expired_revoked_and_orphaned_tokens_open_nothing(owner: User) -> None:
    secrets = {name: issue(owner, name=name) for name in ("expired", "revoked", "endless")}
    ApiToken.objects.filter(name="expired").update(expiry=datetime.now(UTC) - timedelta(seconds=1))
    ApiToken.objects.filter(name="endless").update(expiry=None)
    tokens.revoke("revoked")
    statuses = {name: call("GET", f"Bearer {secret}").status_code for name, secret in secrets.items()}
    assert statuses == {"expired": 401, "revoked": 401, "endless": 200}
    User.objects.update(is_active=False)
    authentication.verified.clear()
    assert call("GET", f"Bearer {secrets['endless']}").status_code == 401


def test_a_verified_token_costs_one_query_in_five_seconds(owner: User) -> None:
    header = f"Bearer {issue(owner)}"
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert [call("GET", header).status_code for _ in range(3)] == [200, 200, 200]
    assert len(queries) == 1
    tokens.revoke("checkout")
    assert call("GET", header).status_code == 200  # still believed
    authentication.verified.clear()
    assert call("GET", header).status_code == 401


def test_the_memory_of_verified_tokens_ends_in_time_and_is_bounded(owner: User) -> None:
    now = [100.0]
    memory = authentication.VerifiedTokens(seconds=5, size=3, clock=lambda: now[0])
    caller = (owner, ANONYMOUS)
    memory.put("a", caller)
    now[0] = 104.9
    assert memory.get("a") == caller
    now[0] = 105.0
    assert memory.get("a") is None
    for digest in "bcd":
        memory.put(digest, caller)
    assert [memory.get(digest) is not None for digest in "abcd"] == [False, False, False, True]


def test_with_tokens_off_everyone_is_anonymous_with_all_scopes(settings: Settings) -> None:
    settings.API_AUTH_ENABLED = False
    for header in (None, "Bearer unknown", "garbage"):
        response = call("POST", header)
        assert (response.status_code, response.data) == (201, {"actor": "anonymous"})


def test_a_door_that_declares_no_scope_is_closed_loudly(owner: User) -> None:
    header = f"Bearer {issue(owner, *scopes.ALL)}"
    with pytest.raises(ImproperlyConfigured, match="LevelViewSet declares no scope"):
        call("PUT", header)
    with pytest.raises(ImproperlyConfigured, match="ClosedView declares no scope"):
        call("GET", header, ClosedView.as_view())
    assert call("GET", header, OneScopeView.as_view()).status_code == 200
    assert call("GET", None, HealthView.as_view()).status_code == 200


def test_a_wrong_method_is_401_without_a_token_and_405_with_one(owner: User) -> None:
    header = f"Bearer {issue(owner)}"
    assert call("DELETE", None).status_code == 401
    assert call("DELETE", header).status_code == 405
    assert call("OPTIONS", header).status_code == 405
