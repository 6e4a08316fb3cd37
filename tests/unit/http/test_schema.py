"""The OpenAPI document says which refusals and which scope an operation has."""

from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


@pytest.fixture
def document() -> dict[str, Any]:
    generator = SchemaGenerator(urlconf="tests.unit.http.sample")  # type: ignore[no-untyped-call]
    made: dict[str, Any] = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return made


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    validate_schema(document)  # type: ignore[no-untyped-call]
    assert document["components"]["schemas"]["Problem"]["required"] == ["type", "title", "status", "detail", "code"]


def test_each_operation_lists_its_refusals_as_problems(document: dict[str, Any]) -> None:
    create = document["paths"]["/api/orders"]["post"]
    retrieve = document["paths"]["/api/orders/{order_id}"]["get"]
    assert list(create["responses"]) == ["201", "400", "401", "403", "405", "409", "413", "415", "422", "429", "503"]
    assert list(retrieve["responses"]) == ["200", "400", "401", "403", "404", "405", "429", "503"]
    for status, response in (create["responses"] | retrieve["responses"]).items():
        if status >= "400":
            assert response["content"] == PROBLEM


def test_each_operation_names_its_scope_and_asks_for_a_bearer_token(document: dict[str, Any]) -> None:
    create = document["paths"]["/api/orders"]["post"]
    assert (create["summary"], create["description"]) == ("Place an order.", "Needs the scope `reservations:write`.")
    assert create["security"] == [{"bearerToken": []}]
    scheme = document["components"]["securitySchemes"]["bearerToken"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert "`sales:block`: Block and unblock the sales of a product." in scheme["description"]


def test_an_id_in_a_path_is_described_as_a_uuid(document: dict[str, Any]) -> None:
    parameters = document["paths"]["/api/orders/{order_id}"]["get"]["parameters"]
    assert {parameter["name"]: parameter["schema"] for parameter in parameters} == {
        "order_id": {"type": "string", "format": "uuid"},
        "quantity": {"type": "integer", "minimum": 1, "maximum": 100},
    }


def test_a_bounded_list_is_described_with_its_bound(document: dict[str, Any]) -> None:
    items = document["components"]["schemas"]["OrderInRequest"]["properties"]["items"]
    assert (items["type"], items["maxItems"], items["items"]["$ref"]) == (
        "array",
        3,
        "#/components/schemas/LineInRequest",
    )
