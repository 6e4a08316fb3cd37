"""The whole application behind Django's test client, and a picture of the books to compare with."""

from collections.abc import Iterator

import pytest
from django.test import Client
from pytest_django import Settings

from inventory_project.foundation.access import authentication


@pytest.fixture
def _plain_http(settings: Settings) -> Iterator[None]:
    """No redirect to https, and no token remembered from another test."""
    settings.SECURE_SSL_REDIRECT = False
    authentication.verified.clear()
    yield
    authentication.verified.clear()


@pytest.fixture
def api(db: None, _plain_http: None, settings: Settings) -> Client:
    """A caller where no token is asked for; it sees a defect as the answer 500, as a caller from outside would."""
    settings.API_AUTH_ENABLED = False
    return Client(enforce_csrf_checks=True, raise_request_exception=False)


@pytest.fixture
def guarded_api(db: None, _plain_http: None, settings: Settings) -> Client:
    """A caller where tokens are asked for."""
    settings.API_AUTH_ENABLED = True
    return Client(enforce_csrf_checks=True, raise_request_exception=False)
