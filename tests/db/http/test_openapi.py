"""The OpenAPI document: it is valid, it lists every route, and the service does what it says, whatever is sent."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings
from schemathesis import Case, GenerationMode
from schemathesis import checks as promises
from schemathesis.specs.openapi.schemas import OpenApiSchema

from inventory_project.foundation.access import scopes, tokens
from inventory_project.foundation.http.schema import PROBLEM
from inventory_project.wsgi import application
from reservations import lifecycle
from reservations.requests import Confirm
from tests import factories
from tests.db.http import routes

DOCUMENT: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
OPERATIONS = sorted(
    (method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item if method != "parameters"
)
# Not in the document: what programs do not call as an API.
UNDESCRIBED = {"", "health", "health/live", "health/ready", "metrics", "api/schema", "api/docs"}
CHECKS = [
    promises.not_a_server_error,
    promises.status_code_conformance,
    promises.content_type_conformance,
    promises.response_schema_conformance,
    promises.response_headers_conformance,
]
JSON = "application/json"
EXAMPLES = 12  # of each operation, of each kind


def as_openapi(route: str) -> str:
    """`api/inventory/products/<id:product_id>` as the document writes it."""
    parts = ["{" + part[1:-1].partition(":")[2] + "}" if part.startswith("<") else part for part in route.split("/")]
    return "/" + "/".join(parts)


def test_the_document_is_valid() -> None:
    validate_schema(DOCUMENT)  # type: ignore[no-untyped-call]


def test_the_document_lists_exactly_the_routes() -> None:
    described = {(method, as_openapi(route)) for method, route in routes.of_the_service() if route not in UNDESCRIBED}
    assert described == set(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_operation_says_what_it_needs_and_how_it_refuses(method: str, path: str) -> None:
    operation = DOCUMENT["paths"][path][method.lower()]
    assert operation["security"] == [{"bearerToken": []}]
    assert operation["summary"].endswith(".")
    assert operation["summary"] not in operation["description"]
    assert any(f"`{scope}`" in operation["description"] for scope in scopes.ALL)
    refused = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
    assert {"400", "401", "403", "405", "503"} <= refused.keys()
    assert ("404" in refused) == ("{" in path)
    assert ({"413", "415"} <= refused.keys()) == ("requestBody" in operation)
    for status, answer in refused.items():
        assert answer["content"].keys() == {"application/problem+json"}, status
    assert DOCUMENT["components"]["schemas"]["Problem"] == PROBLEM


# --- the examples ----------------------------------------------------------------------------------------------------

# Refused here, where there is no Redis; tests/integration/sync has them succeed.
OF_REDIS = ("/admin/inventory/sync", "/admin/inventory/products/{product_id}/reset-counter")
TAKING_A_BODY = [
    (method, path) for method, path in OPERATIONS if "requestBody" in DOCUMENT["paths"][path][method.lower()]
]


def test_the_groups_begin_with_what_a_newcomer_wants_and_hold_every_operation() -> None:
    groups = [tag["name"] for tag in DOCUMENT["tags"]]
    assert groups == ["reservations", "availability", "products", "stock", "warehouses", "operations"]
    used = {path: DOCUMENT["paths"][path][method.lower()]["tags"] for method, path in OPERATIONS}
    assert {name for names in used.values() for name in names} == set(groups)
    assert {path for path, names in used.items() if names == ["operations"]} == {p for p in used if "/admin/" in p}
    assert used["/api/inventory/products/{product_id}/availability"] == ["availability"]


@pytest.mark.usefixtures("seeded")
def test_the_example_of_a_warehouse_is_one_that_is_seeded(api: Client) -> None:
    path = "/api/inventory/warehouses/{warehouse_id}"
    [parameter] = DOCUMENT["paths"][path]["get"]["parameters"]
    [example] = parameter["examples"].values()
    assert api.get(path.format(warehouse_id=example["value"])).status_code == 200


@pytest.mark.parametrize("path", OF_REDIS)
def test_what_needs_redis_says_so(path: str) -> None:
    assert "`no_counters` without Redis, so always on SQLite" in DOCUMENT["paths"][path]["post"]["description"]


def examples_of(method: str, path: str) -> dict[str, Any]:
    """The bodies that the page fills in, by their names; an empty one where nothing has to be said."""
    content = DOCUMENT["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]
    examples = {example["summary"]: example["value"] for example in content.get("examples", {}).values()}
    if not examples:
        assert path.endswith(("/cancel", "/expire", "/reset-counter"))
    return examples or {"Nothing": {}}


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(("method", "path"), TAKING_A_BODY)
def test_every_example_succeeds_on_the_seeded_service(api: Client, method: str, path: str) -> None:
    parameters = DOCUMENT["paths"][path][method.lower()].get("parameters", [])
    ids = {p["name"]: next(iter(p["examples"].values()))["value"] for p in parameters if "examples" in p}
    holds = examples_of("POST", "/api/inventory/reservations").values()
    for name, body in examples_of(method, path).items():
        for hold in holds if "{reservation_id}" in path else [None]:
            if hold is not None:
                held = api.post("/api/inventory/reservations", hold | {"order_id": uuid4()}, JSON).json()
                ids["reservation_id"] = held["id"]
            if path.endswith("/return"):
                api.post(f"/api/inventory/reservations/{held['id']}/confirm", {}, JSON)
            answer = api.generic(method, path.format(**ids), json.dumps(body), JSON)
            assert answer.status_code in ((409,) if path in OF_REDIS else (200, 201)), (name, answer.content)


# --- any input at all ------------------------------------------------------------------------------------------------


class Aim:
    """Puts ids that exist where an example has made some up, so that more than 404 and 422 is seen."""

    def __init__(self) -> None:
        product = factories.product({factories.SP: 100_000})
        self.product_id = str(product.pk)
        held, sold = factories.hold(product.pk), factories.hold(product.pk, 10_000)
        lifecycle.one(lifecycle.confirm_many, Confirm(reservation_id=sold.id, actor=factories.ACTOR))
        self.reservation_ids = [str(held.id), str(sold.id)]

    def at(self, case: Case[Any], choice: int) -> None:
        reservation_id = self.reservation_ids[choice % len(self.reservation_ids)]
        known = {"product_id": self.product_id, "reservation_id": reservation_id, "warehouse_id": factories.SP}
        case.path_parameters = {name: known[name] for name in case.path_parameters or {}}
        case.body = self._known(case.body)
        if isinstance(case.body, dict) and "minutes" in case.body:
            case.body.pop("expires_at", None)  # the one rule that OpenAPI has no words for: not both

    def _known(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._known(entry) for entry in value[:1]]  # a document names each product once
        if not isinstance(value, dict):
            return value
        known = {"product_id": self.product_id, "warehouse_id": factories.SP, "product_ids": [self.product_id]}
        return {name: known.get(name) or self._known(member) for name, member in value.items()}


@pytest.fixture
def caller(db: None, settings: Settings) -> dict[str, str]:
    """The headers of a caller who may do all there is."""
    settings.SECURE_SSL_REDIRECT = False
    settings.API_AUTH_ENABLED = True
    settings.ALLOWED_HOSTS = ["localhost"]
    owner = User.objects.create(username="ana", is_staff=True, is_superuser=True)
    _, secret = tokens.issue(name="fuzzer", wanted=list(scopes.ALL), owner=owner)
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def described(caller: dict[str, str]) -> Iterator[OpenApiSchema]:
    """The document as the service serves it, and the service itself, in this process and this test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)  # as Django's test client does
    yield schemathesis.openapi.from_wsgi("/api/schema", application)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_whatever_is_sent_the_answer_is_a_declared_one(
    described: OpenApiSchema, caller: dict[str, str], method: str, path: str
) -> None:
    aim = Aim()
    operation = described[path][method]
    sensible = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    senseless = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    statuses = set()

    @hypothesis_settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(data=st.data(), choice=st.integers(0, 5))
    def examples(data: st.DataObject, choice: int) -> None:
        case = data.draw(sensible)
        if choice:
            aim.at(case, choice)
        answer = case.call(headers=caller)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

        case = data.draw(senseless)
        answer = case.call(headers=caller)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    examples()
    assert statuses & ({409} if path in OF_REDIS else {200, 201}), statuses
