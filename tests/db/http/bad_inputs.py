"""What the tests of bad inputs share: the shop that a request meets, and what is read of a refusal.

The rows of these tests are those of the bad-input table. Bodies are written by hand, because no JSON library would
write them. Chunked bodies and charsets that upset Django before any view is reached need a real server:
tests/integration.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db.models import Sum
from django.http import HttpResponse

from stock.models import StockLevel

API = "/api/inventory"
NOBODY = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"
ORDER = "018f4e3a-7c1b-7d2e-9a40-000000000001"
JSON = "application/json"
ASK = f'{{"order_id": "{ORDER}", "items": [{{"product_id": "{NOBODY}", "quantity": 1}}]}}'
COUNTED = ("access", "messaging", "reservations", "stock", "warehouses")


def books() -> dict[str, Any]:
    """How many rows each table of ours has, and the sums over all stock levels."""
    models = [model for label in COUNTED for model in apps.get_app_config(label).get_models()]
    counts: dict[str, Any] = {model.__name__: model._default_manager.count() for model in models}
    columns = ("available", "reserved", "incoming", "version")
    return counts | StockLevel.objects.aggregate(**{column: Sum(column) for column in columns})


@dataclass(frozen=True)
class Shop:
    """What is there before the bad request: a product with stock, an active and a confirmed reservation of it."""

    product: UUID
    active: UUID
    confirmed: UUID

    def fill(self, text: str) -> str:
        """The text with its `{names}` replaced; JSON's own braces stay as they are."""
        for name in ("product", "active", "confirmed"):
            text = text.replace(f"<{name}>", str(getattr(self, name)))
        return text


Send = Callable[..., HttpResponse]


def refusal(response: HttpResponse) -> tuple[int, str, set[str]]:
    """Status, code and the fields named; the answer must be a problem that repeats its status."""
    assert response["Content-Type"] == "application/problem+json", response.content
    body = json.loads(response.content)
    assert body["status"] == response.status_code
    assert body["type"] == f"urn:inventory-service:problem:{body['code']}"
    assert body["detail"]
    return response.status_code, body["code"], {error["field"] for error in body.get("errors", [])}
