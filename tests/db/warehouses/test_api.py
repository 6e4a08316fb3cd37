from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from inventory_project.foundation.access import scopes, tokens
from warehouses import catalogue
from warehouses.models import Warehouse

pytestmark = pytest.mark.django_db

PATH = "/api/inventory/warehouses"


@pytest.fixture(autouse=True)
def warehouses(settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = False
    catalogue.upsert(catalogue.load(settings.BASE_DIR / "fixtures" / "warehouses.yaml"))


@pytest.fixture
def anybody(settings: Settings, client: Client) -> Client:
    """A caller where no token is asked for."""
    settings.API_AUTH_ENABLED = False
    return client


def token(scope: str) -> dict[str, Any]:
    owner, _ = User.objects.get_or_create(username="owner")
    _, secret = tokens.issue(name=scope.replace(":", "-"), wanted=[scope], owner=owner)
    return {"Authorization": f"Bearer {secret}"}


def test_the_list_has_every_warehouse_by_id(anybody: Client) -> None:
    Warehouse.objects.filter(pk="wh-rj-001").update(is_active=False)
    response = anybody.get(PATH)
    assert response.status_code == 200
    body = response.json()
    assert body["next"] is None
    assert body["previous"] is None
    assert [(row["id"], row["is_active"]) for row in body["results"]] == [
        ("wh-pr-001", True),
        ("wh-rj-001", False),
        ("wh-sp-001", True),
    ]


def test_one_warehouse_shows_what_the_file_says_of_it(anybody: Client) -> None:
    response = anybody.get(f"{PATH}/wh-sp-001")
    assert response.status_code == 200
    assert response.json() == {
        "id": "wh-sp-001",
        "name": "DC Sao Paulo",
        "region": "southeast",
        "priority": 1,
        "postal_code": "01001-000",
        "latitude": -23.5505,
        "longitude": -46.6333,
        "served_regions": [],
        "is_active": True,
    }


@pytest.mark.parametrize("stored", ["null", "5", '"south"', '[["a"]]', "[null]", '{"south": 1}', '["south", 5]'])
def test_served_regions_that_are_no_list_of_names_are_shown_as_they_count(anybody: Client, stored: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE warehouse SET served_regions = %s WHERE id = 'wh-sp-001'", [stored])
    assert anybody.get(f"{PATH}/wh-sp-001").json()["served_regions"] == []
    response = anybody.get(PATH)
    assert response.status_code == 200
    assert [row["served_regions"] for row in response.json()["results"]] == [[], [], []]


def test_pages_are_walked_by_cursor(anybody: Client) -> None:
    seen: list[str] = []
    path: str | None = f"{PATH}?page_size=1"
    while path and len(seen) < 10:
        body = anybody.get(path).json()
        seen += [row["id"] for row in body["results"]]
        path = body["next"]
    assert path is None
    assert seen == ["wh-pr-001", "wh-rj-001", "wh-sp-001"]


def test_a_page_is_one_statement(anybody: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(1):
        assert anybody.get(PATH).status_code == 200


@pytest.mark.parametrize("name", ["wh-none", "WH-SP-001", "%00", "wh-sp-001%0a", "%F0%9F%93%A6", "x" * 2_000])
def test_an_id_that_names_no_warehouse_is_404(anybody: Client, name: str) -> None:
    response = anybody.get(f"{PATH}/{name}")
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "not_found"


@pytest.mark.parametrize("query", ["region=south", "page_size=many", "cursor=garbage", "ordering=name"])
def test_an_unknown_or_senseless_parameter_is_400(anybody: Client, query: str) -> None:
    response = anybody.get(f"{PATH}?{query}")
    assert response.status_code == 400
    body = response.json()
    assert body["code"] == "invalid"
    assert [error["field"] for error in body["errors"]] == [query.partition("=")[0]]


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_warehouses_are_only_read_here(anybody: Client, method: str) -> None:
    for path in (PATH, f"{PATH}/wh-sp-001"):
        response = getattr(anybody, method)(path, {"name": "x"}, content_type="application/json")
        assert response.status_code == 405
        assert response.json()["code"] == "method_not_allowed"
    assert Warehouse.objects.count() == 3


def test_reading_needs_a_token_with_its_scope(client: Client, settings: Settings) -> None:
    settings.API_AUTH_ENABLED = True
    assert client.get(PATH).status_code == 401
    assert client.get(PATH, headers=token(scopes.STOCK_READ)).status_code == 200
    assert client.get(PATH, headers=token(scopes.RESERVATIONS_WRITE)).status_code == 403
