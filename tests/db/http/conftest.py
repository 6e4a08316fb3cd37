"""The whole application behind Django's test client, and a picture of the books to compare with."""

from collections.abc import Callable, Iterator
from io import StringIO
from typing import cast

import pytest
from django.core.management import call_command
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from pytest_django import Settings

from inventory_project.foundation.access import authentication
from reservations import lifecycle
from reservations.requests import Confirm
from tests import factories
from tests.db.http import clients
from tests.db.http.bad_inputs import JSON, Shop, books

WITH_FAST_OPERATIONS = {
    "test_availability", "test_bad_bodies", "test_bad_numbers", "test_bad_queries_and_methods",
    "test_bad_texts_and_ids", "test_reserving", "test_rights", "test_settling", "test_tracing",
}  # fmt: skip


@pytest.fixture
def _plain_http(settings: Settings) -> Iterator[None]:
    """No redirect to https, and no token remembered from another test."""
    settings.SECURE_SSL_REDIRECT = False
    authentication.verified.clear()
    yield
    authentication.verified.clear()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of the operations that are on the fast path with both kinds of callers."""
    if "client_kind" in metafunc.fixturenames:
        is_fast = metafunc.module.__name__.rpartition(".")[2] in WITH_FAST_OPERATIONS
        metafunc.parametrize("client_kind", [clients.DJANGO, clients.FAST] if is_fast else [clients.DJANGO])


@pytest.fixture
def api(db: None, _plain_http: None, settings: Settings, client_kind: str) -> Client:
    """A caller where no token is asked for."""
    settings.API_AUTH_ENABLED = False
    return clients.client(client_kind)


@pytest.fixture
def guarded_api(db: None, _plain_http: None, settings: Settings, client_kind: str) -> Client:
    """A caller where tokens are asked for."""
    settings.API_AUTH_ENABLED = True
    return clients.client(client_kind)


@pytest.fixture
def shop(api: Client) -> Shop:
    product_id = factories.product({factories.SP: 100}).pk
    active, confirmed = factories.hold(product_id, 3), factories.hold(product_id, 5)
    lifecycle.one(lifecycle.confirm_many, Confirm(reservation_id=confirmed.id, actor=factories.ACTOR))
    return Shop(product_id, active.id, confirmed.id)


@pytest.fixture
def send(api: Client, shop: Shop) -> Iterator[Callable[..., HttpResponse]]:
    """Sends one request; after the test the books are as they were before."""
    before = books()

    def request(
        method: str, path: str, body: str | bytes = b"", *, content_type: str = JSON, **headers: str
    ) -> HttpResponse:
        data = shop.fill(body) if isinstance(body, str) else body
        return cast(HttpResponse, api.generic(method, shop.fill(path), data, content_type, headers=headers))

    yield request
    assert books() == before


@pytest.fixture
def seeded(db: None) -> None:
    """What `make run` adds before the first request.

    On a busy machine the file of postal areas takes longer to read than a transaction may be idle, and the test's own
    transaction is open all the time.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    call_command("seed", "--warehouses", "--products", stdout=StringIO())
