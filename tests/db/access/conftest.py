"""A staff user who answers for tokens, and a process that remembers none."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from inventory_project.foundation.access import authentication


@pytest.fixture(autouse=True)
def _tokens_are_asked_for(settings: Settings) -> Iterator[None]:
    settings.API_AUTH_ENABLED = True
    settings.SECURE_SSL_REDIRECT = False
    authentication.verified.clear()
    yield
    authentication.verified.clear()


@pytest.fixture
def owner(db: None) -> User:
    """An active superuser."""
    return User.objects.create_superuser("ana", password="a long pass phrase")
