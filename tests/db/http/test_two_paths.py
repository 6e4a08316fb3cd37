"""The fast path and Django answer the same request in the same way: status, headers and body."""

import json
from itertools import islice
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from pytest_django import Settings

from inventory_project.foundation.access import scopes, tokens
from reservations import lifecycle
from reservations.requests import Confirm
from stock import blocking
from tests import factories
from tests.db.http import clients
from tests.db.http.calls import API, JSON
from tests.unit.http import mutants

ORDER, OTHER_ORDER = "0d9f1c6a-5b7e-4c1d-8a3f-2e6b9c4d7f10", "1d9f1c6a-5b7e-4c1d-8a3f-2e6b9c4d7f10"
NOBODY = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"
CHANGING = {"id", "request_id", "expires_at", "created_at", "settled_at", "as_of"}  # of two answers to the same request
MUTANTS = 40  # of each request


class Pair:
    """Two clients; each sees the books as they were before the other one's request."""

    def __init__(self, token: str) -> None:
        self.django, self.fast = clients.client(clients.DJANGO), clients.client(clients.FAST)
        self.token = token

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[Any, Any]:
        """The two answers, as what must be equal of them."""
        headers = {"authorization": f"Bearer {self.token}", "x-request-id": "same", **headers}
        return tuple(_asked(client, method, path, body, headers) for client in (self.django, self.fast))


def _asked(client: Client, method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
    with transaction.atomic():
        answer: Any = client.generic(method, path, body, JSON, headers=headers)
        transaction.set_rollback(True)
    kept = {name.lower(): value for name, value in answer.headers.items()}
    if "location" in kept:
        kept["location"] = kept["location"].rpartition("/")[0]  # the rest is the id
    return answer.status_code, kept, _without_changing(json.loads(answer.content))


def _without_changing(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: name if name in CHANGING and inner else _without_changing(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_changing(inner) for inner in value]
    return value


@pytest.fixture
def pair(db: None, settings: Settings) -> Pair:
    settings.API_AUTH_ENABLED, settings.SECURE_SSL_REDIRECT = True, False
    owner = User.objects.create_superuser("ana")
    _, token = tokens.issue(name="shop", wanted=scopes.ALL, owner=owner)
    return Pair(token)


@pytest.fixture
def requests(pair: Pair) -> dict[str, tuple[str, str, Any]]:
    """A request of each kind and outcome that the fast path knows."""
    product, scarce = factories.product({factories.SP: 100, factories.RJ: 50}), factories.product({factories.SP: 1})
    blocked = factories.product({factories.SP: 100})
    blocking.block_product(blocked.pk, reason="recall", actor=factories.ACTOR)
    held, gone = factories.hold(product.pk, 3), factories.hold(product.pk, 2)
    lifecycle.one(lifecycle.confirm_many, Confirm(reservation_id=gone.id, actor=factories.ACTOR))
    item = {"product_id": str(product.pk), "quantity": 2}

    def order(*items: dict[str, Any], order_id: str = ORDER, **more: Any) -> dict[str, Any]:
        return {"order_id": order_id, "items": list(items), **more}

    reservations = f"{API}/reservations"
    lacking = {"product_id": str(scarce.pk), "quantity": 2}
    return {
        "reserved": ("POST", reservations, order(item)),
        "everything": (
            "POST",
            reservations,
            order(
                {**item, "warehouse_id": factories.SP},
                delivery_postal_code="01310-100",
                ttl_minutes=5,
                allow_split=False,
            ),
        ),
        "replay": (
            "POST",
            reservations,
            order({"product_id": str(product.pk), "quantity": 3}, order_id=str(held.order_id)),
        ),
        "conflict": ("POST", reservations, order(item, order_id=str(held.order_id))),
        "lacking": ("POST", reservations, order(lacking)),
        "blocked": ("POST", reservations, order({"product_id": str(blocked.pk), "quantity": 1})),
        "unknown product": ("POST", reservations, order({"product_id": NOBODY, "quantity": 1})),
        "unknown warehouse": ("POST", reservations, order({**item, "warehouse_id": "wh-none"})),
        "bulk": (
            "POST",
            f"{reservations}/bulk",
            {
                "orders": [
                    order(item),
                    order(lacking, order_id=OTHER_ORDER),
                    order(item),
                    order({**item, "product_id": NOBODY}),
                ]
            },
        ),
        "confirmed": ("POST", f"{reservations}/{held.id}/confirm", {}),
        "confirmed in part": (
            "POST",
            f"{reservations}/{held.id}/confirm",
            {"items": [{"product_id": str(product.pk), "quantity": 1}]},
        ),
        "confirmed before": ("POST", f"{reservations}/{gone.id}/confirm", {}),
        "cancelled": ("POST", f"{reservations}/{held.id}/cancel", {}),
        "cannot be cancelled": ("POST", f"{reservations}/{gone.id}/cancel", {}),
        "unknown reservation": ("POST", f"{reservations}/{NOBODY}/cancel", {}),
        "available": ("GET", f"{API}/products/{product.pk}/availability", None),
        "available there": ("GET", f"{API}/products/{product.pk}/availability?postal_code=01310-100&quantity=2", None),
        "unknown and available": ("GET", f"{API}/products/{NOBODY}/availability", None),
        "many": ("POST", f"{API}/availability", {"product_ids": [str(product.pk), str(scarce.pk)]}),
        "one of them twice": ("POST", f"{API}/availability", {"product_ids": [str(product.pk), str(product.pk)]}),
        "more than an order may have": ("GET", f"{API}/products/{product.pk}/availability?quantity=10001", None),
        "without a postal code": ("POST", reservations, order(item, delivery_postal_code=None)),
        "with an empty postal code": ("POST", reservations, order(item, delivery_postal_code="")),
        "with what is no postal code": ("POST", reservations, order(item, delivery_postal_code="N/A")),
        "from any warehouse": ("POST", reservations, order({**item, "warehouse_id": None})),
    }


Requests = dict[str, tuple[str, str, Any]]


def encoded(body: Any) -> bytes:
    return b"" if body is None else json.dumps(body).encode()


def test_each_kind_of_request_is_answered_the_same(pair: Pair, requests: Requests) -> None:
    for name, (method, path, body) in requests.items():
        by_django, by_fast_path = pair.ask(method, path, encoded(body))
        assert by_django == by_fast_path, name
    assert pair.fast.answered >= len(requests) - 6  # type: ignore[attr-defined]  # availability: there are no counters


def test_requests_with_mistakes_are_answered_the_same(pair: Pair, requests: Requests) -> None:
    for name, (method, path, body) in requests.items():
        if body:
            for mutant in islice(mutants.of(json.dumps(body), name), MUTANTS):
                by_django, by_fast_path = pair.ask(method, path, mutant)
                assert by_django == by_fast_path, (name, mutant)
    assert pair.fast.answered > MUTANTS  # type: ignore[attr-defined]  # not all of them were left to Django


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer inv_unknown"},
        {"authorization": "Basic YTpi"},
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json; charset=UTF-8"},
        {"host": "evil.example"},
        {"host": "testserver:99999"},
        {"cookie": "sessionid=abc"},
        {"x-request-id": "\x7f"},
        {"accept": "text/html"},
        {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        {"x-forwarded-proto": "https"},
    ],
    ids=str,
)
def test_unusual_headers_are_answered_the_same(pair: Pair, requests: Requests, headers: dict[str, str]) -> None:
    for name in ("reserved", "cancelled", "many", "lacking"):
        method, path, body = requests[name]
        by_django, by_fast_path = pair.ask(method, path, encoded(body), **headers)
        if "\x7f" in headers.get("x-request-id", ""):
            by_django[2].pop("request_id", None), by_fast_path[2].pop("request_id", None)
        assert by_django == by_fast_path, name


def test_over_https_only_what_came_by_the_proxy_is_answered(pair: Pair, requests: Requests, settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    method, path, body = requests["reserved"]
    for client in (pair.django, pair.fast):
        answer: Any = client.generic(
            method, path, encoded(body), JSON, headers={"authorization": f"Bearer {pair.token}"}
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "https_required")


def test_a_token_without_the_scope_is_refused_by_both(pair: Pair, requests: Requests) -> None:
    owner = User.objects.get(username="ana")
    _, token = tokens.issue(name="reader", wanted=[scopes.RESERVATIONS_READ], owner=owner)
    for method, path, body in requests.values():
        by_django, by_fast_path = pair.ask(method, path, encoded(body), authorization=f"Bearer {token}")
        assert by_django == by_fast_path
        assert by_django[0] == 403
    assert pair.fast.answered == 0  # type: ignore[attr-defined]


def test_a_defect_is_500_and_says_nothing_on_both(
    pair: Pair, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_requests: object, **_options: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("reservations.reserving.check", broken)
    by_django, by_fast_path = pair.ask(*requests["reserved"][:2], encoded(requests["reserved"][2]))
    assert by_django[0] == by_fast_path[0] == 500
    assert by_django[2] == by_fast_path[2]
