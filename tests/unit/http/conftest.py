"""The sample API, called over the project's own middleware; no test here needs a database."""

from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings


@pytest.fixture
def client(settings: Settings) -> Client:
    """A caller of the sample API, let in without a token."""
    settings.ROOT_URLCONF = "tests.unit.http.sample"
    settings.API_AUTH_ENABLED = False
    settings.SECURE_SSL_REDIRECT = False
    return Client(raise_request_exception=False)


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """The response is a problem of this status and code; returns its body."""
    assert response.headers["Content-Type"] == "application/problem+json", response.content
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code), body
    assert body["type"] == f"urn:inventory-service:problem:{code}"
    assert body["title"]
    assert body["detail"]
    return body
