"""Requests to the API as callers send them, and what is read of an answer."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from reservations import lifecycle
from reservations.holds import Hold
from reservations.requests import Confirm
from stock.models import Product
from tests import factories
from tests.factories import PR, RJ, SP
from warehouses.models import PostalArea, Warehouse

API = "/api/inventory"
JSON = "application/json"


def post(api: Client, path: str, body: dict[str, Any] | None = None) -> Any:
    return api.post(path, body or {}, content_type=JSON)


def reserve(api: Client, product_id: UUID, quantity: int = 2, **more: Any) -> Any:
    items = [{"product_id": str(product_id), "quantity": quantity}]
    return post(api, f"{API}/reservations", {"order_id": str(uuid4()), "items": items} | more)


def act(api: Client, reservation_id: object, verb: str, body: dict[str, Any] | None = None) -> Any:
    return post(api, f"{API}/reservations/{reservation_id}/{verb}", body)


def confirmed(product_id: UUID, quantity: int = 2) -> Hold:
    held = factories.hold(product_id, quantity)
    return lifecycle.one(lifecycle.confirm_many, Confirm(reservation_id=held.id, actor=factories.ACTOR)).hold


def moment(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def refusal(response: Any) -> tuple[int, str]:
    assert response["Content-Type"] == "application/problem+json", response.content
    body = response.json()
    assert body.keys() >= {"type", "title", "status", "detail", "code", "request_id"}
    assert body["status"] == response.status_code
    return response.status_code, body["code"]


def statements(api: Client, path: str, body: dict[str, Any] | None = None) -> int:
    """How many SQL statements the answer took."""
    with CaptureQueriesContext(connection) as captured:
        response = api.get(path) if body is None else post(api, path, body)
    assert response.status_code == 200, response.content
    return len(captured)


def product_in_known_places() -> Product:
    """10, 20 and 30 units where postal codes with 01 are near, far and not served; of the last the place is unknown.

    One unit is held: what reads keep in memory of the places is then as new as that hold.
    """
    factories.warehouse(SP, priority=1)
    factories.warehouse(RJ, priority=2)
    factories.warehouse(PR, region="south", priority=1)
    Warehouse.objects.filter(pk=SP).update(latitude=-23.5505, longitude=-46.6333)
    Warehouse.objects.filter(pk=RJ).update(latitude=-22.9035, longitude=-43.1764)
    Warehouse.objects.filter(pk=PR).update(served_regions=["south"])
    PostalArea.objects.create(
        country="BR", prefix="01", latitude=-23.5521, longitude=-46.6453, name="Sao Paulo, SP", region="southeast"
    )
    product = factories.product({SP: 10, RJ: 20, PR: 30})
    factories.hold(product.pk, 1, SP)
    return product
