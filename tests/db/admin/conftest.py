"""Staff at the admin: one who may do everything, one who may only look."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings


@pytest.fixture(autouse=True)
def _plain_http(settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = False


@pytest.fixture
def log_in(db: None) -> Callable[..., Client]:
    """A browser of a new member of staff with these permissions, such as `view_product`; `*` has them all."""

    def browser(name: str, *codenames: str) -> Client:
        user = User.objects.create_user(name, is_staff=True, is_superuser="*" in codenames)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client()
        client.force_login(user)
        return client

    return browser


@pytest.fixture
def ana(log_in: Callable[..., Client]) -> Client:
    """A superuser's browser."""
    return log_in("ana", "*")


@pytest.fixture
def rui(log_in: Callable[..., Client]) -> Client:
    """The browser of somebody who may look at products, their levels and reservations."""
    return log_in("rui", "view_product", "view_stocklevel", "view_reservation")
