"""Who may do what: every route and method of the service, with every kind of caller."""

import re
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from pytest_django import Settings

from inventory_project.foundation.access import authentication, scopes, tokens
from inventory_project.foundation.access.models import ApiToken
from inventory_project.foundation.database import database_now
from stock.models import Product, StockMovement
from tests import factories
from tests.db.http import routes

OPEN = "open"
RIGHTS = {
    ("GET", ""): OPEN,
    ("GET", "health"): OPEN,
    ("GET", "health/live"): OPEN,
    ("GET", "health/ready"): OPEN,
    ("GET", "metrics"): OPEN,
    ("GET", "api/schema"): OPEN,
    ("GET", "api/docs"): OPEN,
    ("GET", "api/inventory/products"): scopes.STOCK_READ,
    ("GET", "api/inventory/products/<id:product_id>"): scopes.STOCK_READ,
    ("PUT", "api/inventory/products/<id:product_id>"): scopes.STOCK_WRITE,
    ("GET", "api/inventory/products/<id:product_id>/availability"): scopes.STOCK_READ,
    ("POST", "api/inventory/availability"): scopes.STOCK_READ,
    ("GET", "api/inventory/reservations"): scopes.RESERVATIONS_READ,
    ("POST", "api/inventory/reservations"): scopes.RESERVATIONS_WRITE,
    ("POST", "api/inventory/reservations/bulk"): scopes.RESERVATIONS_WRITE,
    ("GET", "api/inventory/reservations/<id:reservation_id>"): scopes.RESERVATIONS_READ,
    ("GET", "api/inventory/reservations/<id:reservation_id>/allocation"): scopes.RESERVATIONS_READ,
    ("POST", "api/inventory/reservations/<id:reservation_id>/confirm"): scopes.RESERVATIONS_WRITE,
    ("POST", "api/inventory/reservations/<id:reservation_id>/cancel"): scopes.RESERVATIONS_WRITE,
    ("POST", "api/inventory/reservations/<id:reservation_id>/extend"): scopes.RESERVATIONS_WRITE,
    ("POST", "api/inventory/reservations/<id:reservation_id>/return"): scopes.RESERVATIONS_WRITE,
    ("GET", "api/inventory/warehouses"): scopes.STOCK_READ,
    ("GET", "api/inventory/warehouses/<str:warehouse_id>"): scopes.STOCK_READ,
    ("GET", "api/inventory/stock-levels"): scopes.STOCK_READ,
    ("GET", "api/inventory/movements"): scopes.STOCK_READ,
    ("POST", "api/inventory/receipts"): scopes.STOCK_WRITE,
    ("POST", "api/inventory/adjustments"): scopes.STOCK_WRITE,
    ("POST", "admin/inventory/sync"): scopes.OPERATIONS,
    ("POST", "admin/inventory/products/<id:product_id>/reset-counter"): scopes.OPERATIONS,
    ("GET", "admin/inventory/products/<id:product_id>/debug"): scopes.OPERATIONS,
    ("POST", "admin/reservations/<id:reservation_id>/expire"): scopes.OPERATIONS,
    ("POST", "admin/products/<id:product_id>/block-sales"): scopes.SALES_BLOCK,
    ("POST", "admin/products/<id:product_id>/unblock-sales"): scopes.SALES_BLOCK,
}
GUARDED = [row for row, scope in RIGHTS.items() if scope != OPEN]
EVERYTHING = list(scopes.ALL)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.fixture
def owner(db: None) -> User:
    return User.objects.create(username="ana", is_staff=True, is_superuser=True)


@pytest.fixture
def product(guarded_api: Client) -> UUID:
    return factories.product({factories.SP: 10}).pk


@pytest.fixture
def ask(guarded_api: Client, product: UUID) -> Callable[..., HttpResponse]:
    """Calls a route that exists, with a header of one's own and a body that means nothing."""
    held = factories.hold(product)

    def call(method: str, route: str, authorization: str | None = None, **headers: str) -> HttpResponse:
        names = {"product_id": str(product), "reservation_id": str(held.id), "warehouse_id": factories.SP}
        path = "/" + re.sub(r"<\w+:(\w+)>", lambda match: names[match[1]], route)
        if authorization is not None:
            headers["Authorization"] = authorization
        body = b'{"nonsense": 1}' if method in ("POST", "PUT", "PATCH") else b""
        return cast(HttpResponse, guarded_api.generic(method, path, body, "application/json", headers=headers))

    return call


Ask = Callable[..., HttpResponse]


def bearer(owner: User, wanted: list[str], name: str = "caller") -> str:
    return f"Bearer {tokens.issue(name=name, wanted=wanted, owner=owner)[1]}"


def code(response: Any) -> str:
    assert response["Content-Type"] == "application/problem+json", response.content
    return str(response.json()["code"])


def test_every_route_has_a_row_in_the_table() -> None:
    assert routes.of_the_service() == set(RIGHTS)


@pytest.mark.parametrize(("method", "route"), GUARDED)
def test_without_a_token_a_guarded_route_is_401(ask: Ask, method: str, route: str) -> None:
    for header in (
        None,
        "",
        "Bearer",
        "Bearer inv_unknown",
        "Basic YTpi",
        "Token inv_unknown",
        "Bearer a b",
        "Bearer é",
    ):
        response = ask(method, route, header)
        assert (response.status_code, code(response)) == (401, "unauthorized"), header
        assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "route"), GUARDED)
def test_the_right_scope_alone_opens_a_route_and_all_others_do_not(
    ask: Ask, owner: User, method: str, route: str
) -> None:
    needed = RIGHTS[method, route]
    response = ask(method, route, bearer(owner, [needed], "right"))
    assert response.status_code in (200, 400), response.content  # 400: the body meant nothing, and was looked at

    response = ask(method, route, bearer(owner, sorted(scopes.ALL - {needed}), "wrong"))
    assert (response.status_code, code(response)) == (403, "forbidden")
    assert needed in response.json()["detail"]  # type: ignore[attr-defined]  # of the test client


@pytest.mark.parametrize(("method", "route"), GUARDED)
def test_a_method_without_a_row_changes_nothing_even_with_all_scopes(
    ask: Ask, owner: User, product: UUID, method: str, route: str
) -> None:
    authorization = bearer(owner, EVERYTHING)
    before = (Product.objects.values().get(pk=product), StockMovement.objects.count())
    rows = {row_method for row_method, row_route in RIGHTS if row_route == route}
    for other in set(METHODS) - rows - ({"HEAD"} if "GET" in rows else set()):
        response = ask(other, route, authorization)
        assert response.status_code == 405, (other, response.content)
        assert ask(other, route).status_code == 401, other
    assert (Product.objects.values().get(pk=product), StockMovement.objects.count()) == before


@pytest.mark.parametrize("scope", [scopes.STOCK_READ, scopes.RESERVATIONS_WRITE, scopes.SALES_BLOCK])
def test_no_method_of_another_route_lets_a_product_be_changed(
    guarded_api: Client, owner: User, product: UUID, scope: str
) -> None:
    headers = {"Authorization": bearer(owner, [scope])}
    for path in (f"/admin/products/{product}/block-sales", "/api/inventory/products"):
        stolen = guarded_api.put(path, {"sku": "x", "name": "x"}, content_type="application/json", headers=headers)
        assert (stolen.status_code, code(stolen)) == (405, "method_not_allowed")
    assert Product.objects.get(pk=product).name == "A product"


@pytest.mark.parametrize(("method", "route"), [row for row, scope in RIGHTS.items() if scope == OPEN])
def test_an_open_route_asks_for_nothing_and_minds_no_token(ask: Ask, method: str, route: str) -> None:
    for header in (None, "Bearer inv_unknown", "nonsense"):
        response = ask(method, route, header)
        assert response.status_code == (200 if route else 302), response.content


def test_the_root_leads_to_the_page_to_try_the_api(guarded_api: Client) -> None:
    response = guarded_api.get("/")
    assert (response.status_code, response["Location"]) == (302, "/api/docs")
    assert guarded_api.get("/", follow=True).status_code == 200


@pytest.mark.parametrize("ended", ["revoked", "expired", "owner_inactive"])
def test_a_token_that_has_ended_is_401(ask: Ask, owner: User, ended: str) -> None:
    authorization = bearer(owner, EVERYTHING)
    assert ask("GET", "api/inventory/products", authorization).status_code == 200
    if ended == "revoked":
        tokens.revoke("caller")
    elif ended == "expired":
        ApiToken.objects.update(expiry=database_now())
    else:
        User.objects.update(is_active=False)
    authentication.verified.clear()  # in a running process 5 seconds do this
    for method, route in GUARDED:
        response = ask(method, route, authorization)
        assert (response.status_code, code(response)) == (401, "unauthorized"), route


def test_a_revoked_token_is_believed_for_five_seconds_at_most() -> None:
    assert authentication.CACHE_SECONDS == 5


def test_the_session_of_an_administrator_opens_no_token_route(
    ask: Ask, guarded_api: Client, owner: User, product: UUID
) -> None:
    guarded_api.force_login(owner)
    assert guarded_api.get("/admin/").status_code == 200
    for method, route in GUARDED:
        response = ask(method, route)
        assert (response.status_code, code(response)) == (401, "unauthorized"), route
    assert not Product.objects.get(pk=product).is_blocked


def test_a_token_does_not_open_the_pages_of_the_admin(guarded_api: Client, owner: User) -> None:
    headers = {"Authorization": bearer(owner, EVERYTHING)}
    for path in ("/admin/", "/admin/stock/product/", "/admin/access/apitoken/", "/admin/auth/user/add/"):
        response = guarded_api.get(path, headers=headers)
        assert (response.status_code, response["Location"]) == (302, f"/admin/login/?next={path}")


def test_what_is_malformed_below_the_operations_is_404_and_no_log_in_page(guarded_api: Client) -> None:
    for path in (
        "products/5/block-sales",
        "products/x/",
        "reservations/5/expire",
        "inventory/sync/",
        "inventory/products/5/debug",
    ):
        response = guarded_api.post(f"/admin/{path}", "{}", content_type="application/json")
        assert (response.status_code, code(response)) == (404, "not_found"), path


def test_the_actor_in_the_books_is_the_token(guarded_api: Client, owner: User, product: UUID) -> None:
    headers = {"Authorization": bearer(owner, [scopes.STOCK_WRITE], "import")}
    items = [{"product_id": str(product), "quantity": 1}]
    body = {"reference": "r-1", "warehouse_id": factories.SP, "items": items}
    booked = guarded_api.post("/api/inventory/receipts", body, content_type="application/json", headers=headers)
    assert booked.status_code == 201
    assert StockMovement.objects.get(reference="r-1").actor == "token:import"


def test_with_tokens_off_every_route_is_open_and_the_caller_is_anonymous(
    ask: Ask, guarded_api: Client, settings: Settings, product: UUID
) -> None:
    settings.API_AUTH_ENABLED = False
    for method, route in GUARDED:
        for header in (None, "Bearer inv_unknown"):
            assert ask(method, route, header).status_code in (200, 400), route
    items = [{"product_id": str(product), "quantity": 1}]
    body = {"reference": "r-1", "warehouse_id": factories.SP, "items": items}
    guarded_api.post("/api/inventory/receipts", body, content_type="application/json")
    assert StockMovement.objects.get(reference="r-1").actor == "anonymous"
