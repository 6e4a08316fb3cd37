"""Every refusal is a problem of an exact status and code, whoever raised it."""

import json
import logging
from typing import Any
from uuid import UUID

import pytest
from django.test import Client, RequestFactory
from pytest_django import Settings
from rest_framework.exceptions import ErrorDetail, ValidationError
from structlog.contextvars import bound_contextvars

from inventory_project.foundation.http import problems
from tests.unit.http.conftest import assert_problem

ORDER = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"
BODY = {"order_id": ORDER, "items": [{"product_id": ORDER, "quantity": 2}, {"product_id": ORDER, "quantity": 3}]}
JSON = "application/json"


def post(client: Client, body: object, content_type: str = JSON, **headers: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.generic("POST", "/api/orders", data, content_type=content_type, **headers)


def test_a_right_request_is_served_as_plain_json(client: Client) -> None:
    response = post(client, BODY)
    assert (response.status_code, response.headers["Content-Type"]) == (201, JSON)
    assert response.json() == {"order_id": ORDER, "units": 5, "actor": "anonymous"}


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("invalid", 400, "invalid"),
        ("unknown", 422, "unknown_ids"),
        ("missing", 404, "not_found"),
        ("conflict", 409, "insufficient_stock"),
        ("busy", 503, "overloaded"),
        ("unknown_outcome", 503, "outcome_unknown"),
        ("http404", 404, "not_found"),
        ("denied", 403, "forbidden"),
        ("suspicious", 400, "invalid"),
        ("throttled", 429, "rate_limited"),
        ("operational", 503, "database_unavailable"),
        ("interface", 503, "database_unavailable"),
    ],
)
def test_each_refusal_has_its_status_and_code(client: Client, kind: str, status: int, code: str) -> None:
    response = client.get(f"/api/fail/{kind}")
    assert_problem(response, status, code)
    assert ("Retry-After" in response.headers) == (status in (429, 503))
    assert b"secret" not in response.content
    assert b"10.0.0.7" not in response.content


def test_a_defect_of_ours_is_500_logged_and_not_explained(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="django.request"):
        response = client.get("/api/fail/defect")
    assert_problem(response, 500, "internal")
    assert b"secret" not in response.content
    assert b"ZeroDivision" not in response.content
    assert any(record.exc_info for record in caplog.records)


def test_a_refusals_facts_stand_beside_the_standard_members(client: Client) -> None:
    body = client.get("/api/fail/conflict").json()
    assert body["shortages"] == [{"requested": 2, "available": 1}]
    assert body["title"] == "Conflict"
    assert body["detail"] == "Too few."
    unknown = client.get("/api/fail/unknown").json()
    assert unknown["unknown"] == {"product_ids": ["a", "b"], "warehouse_ids": []}


def test_a_refusals_facts_never_overwrite_the_standard_members(client: Client) -> None:
    assert_problem(client.get("/api/fail/overwriting"), 409, "reservation_expired")


def test_wrong_fields_are_listed_with_their_paths(client: Client) -> None:
    body = assert_problem(post(client, {"order_id": ORDER, "items": [{"product_id": 5, "qty": 1}]}), 400, "invalid")
    assert [(error["field"], error["code"]) for error in body["errors"]] == [
        ("items[0].product_id", "invalid"),
        ("items[0].quantity", "required"),
        ("items[0].qty", "unknown_field"),
    ]
    assert body["detail"] == "The request is not valid: items[0].product_id, items[0].quantity, items[0].qty"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": 1e400}',
        b'{"a": "\xff"}',
        json.dumps(BODY).encode("utf-16"),
        b"[" * 20_000,
        b'{"a": ' * 20_000,
        b'{"items": 1' + b"0" * 400 + b"}",
        b'{"items": 1' + b"0" * 5_000 + b"}",
        rb'{"items": "\u0000"}',
        rb'{"items": "\ud800"}',
    ],
)
def test_a_body_that_is_not_strict_json_is_400(client: Client, body: bytes) -> None:
    assert_problem(post(client, body), 400, "invalid")


def test_an_empty_body_is_told_what_it_lacks(client: Client) -> None:
    body = assert_problem(post(client, b""), 400, "invalid")
    assert [(error["field"], error["code"]) for error in body["errors"]] == [
        ("order_id", "required"),
        ("items", "required"),
    ]


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=bogus",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/xml",
        "application/merge-patch+json",
        "x" * 300,
        "/",
        ";",
    ],
)
def test_another_content_type_is_415(client: Client, content_type: str) -> None:
    assert_problem(post(client, BODY, content_type), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "application/json;charset=UTF-8", "APPLICATION/JSON"]
)
def test_json_in_utf8_is_read_however_it_is_spelled(client: Client, content_type: str) -> None:
    assert post(client, BODY, content_type).status_code == 201


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/xml", "*/*;q=0", "nonsense", ";;", "a/b;" * 3_000, "application/json; indent=8"],
)
def test_an_accept_header_that_cannot_be_met_gets_plain_json(client: Client, accept: str) -> None:
    response = client.get(f"/api/orders/{ORDER}", headers={"Accept": accept})
    assert (response.status_code, response.headers["Content-Type"].partition(";")[0]) == (200, JSON)
    assert b"\n" not in response.content.removesuffix(b"\n")
    assert_problem(client.get("/api/fail/conflict", headers={"Accept": accept}), 409, "insufficient_stock")


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options", "trace"])
def test_a_wrong_method_is_405_and_says_which_are_right(client: Client, method: str) -> None:
    response = getattr(client, method)("/api/orders")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == "POST, OPTIONS"


def test_a_method_override_is_ignored(client: Client) -> None:
    headers = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE", "X-HTTP-Method": "DELETE"}
    assert post(client, BODY, headers=headers).status_code == 201
    assert_problem(
        client.get("/api/orders?_method=POST", headers={"X-HTTP-Method-Override": "POST"}), 405, "method_not_allowed"
    )


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "a b", "[::1", "localhost:port", "x" * 5_000]
)
def test_a_hostile_host_is_400(client: Client, host: str) -> None:
    assert_problem(client.get("/api/orders", headers={"Host": host}), 400, "invalid")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/api/nothing",
        "/api/orders/",
        "/health/nothing",
        "/admin/inventory/nothing",
        "/admin/products/garbage/block-sales",
        "/admin/reservations/garbage/expire",
        "/api/%00",
        "/api/%ff",
        "/api/" + "x" * 5_000,
    ],
)
def test_a_path_that_leads_nowhere_is_a_404_problem(client: Client, path: str) -> None:
    assert_problem(client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("path", "is_admin"),
    [
        ("/admin", True),
        ("/admin/", True),
        ("/admin/stock/product/1/change/", True),
        ("/admin/reservations/", True),
        ("/admin/reservations/reservation/", True),
        ("/admin/reservations/reservation/1/change/", True),
        ("/administrator", False),
        ("/admin/inventory/sync", False),
        ("/admin/products/1/block-sales", False),
        ("/admin/reservations/1/expire", False),
        ("/api/admin/", False),
        ("/metrics", False),
    ],
)
def test_only_the_admins_own_pages_speak_html(path: str, is_admin: bool) -> None:
    request = RequestFactory().get(path)
    assert problems.speaks_html(request) == is_admin
    answers: list[Any] = [
        problems.bad_request(request, ValueError()),
        problems.permission_denied(request, ValueError()),
        problems.not_found(request, ValueError()),
        problems.server_error(request),
    ]
    assert [answer.status_code for answer in answers] == [400, 403, 404, 500]
    kind = "text/html" if is_admin else problems.CONTENT_TYPE
    assert {answer.headers["Content-Type"].partition(";")[0] for answer in answers} == {kind}


def test_a_database_away_outside_of_a_view_is_503(client: Client, settings: Settings) -> None:
    settings.MIDDLEWARE = ["tests.unit.http.test_problems.middleware_that_needs_a_database"]
    response = client.get("/api/orders")
    assert_problem(response, 503, "database_unavailable")
    assert response.headers["Retry-After"] == "1"


def middleware_that_needs_a_database(_get_response: object) -> Any:
    from tests.unit.http.sample import RAISED

    def refuse(_request: object) -> None:
        raise RAISED["operational"]

    return refuse


def test_a_problem_carries_the_request_id_of_the_logs(client: Client) -> None:
    response = client.get("/api/nothing")
    assert str(UUID(response.json()["request_id"])) == response.json()["request_id"]
    with bound_contextvars(request_id="batch-1"):
        assert problems.problem(404, "Nothing.")["request_id"] == "batch-1"
    assert "request_id" not in problems.problem(404, "Nothing.")


def test_nested_details_become_paths() -> None:
    nested: Any = {
        "a": {"b": [ErrorDetail("one", code="x")]},
        "items": {3: {"quantity": ["two"]}, 4: ["three"]},
        "rows": [{}, {"id": ["four"], "non_field_errors": ["five"]}],
        "non_field_errors": ["six"],
    }
    detail = ValidationError(nested).detail
    assert [(entry["field"], entry["code"], entry["detail"]) for entry in problems.flatten(detail)] == [
        ("a.b", "x", "one"),
        ("items[3].quantity", "invalid", "two"),
        ("items[4]", "invalid", "three"),
        ("rows[1].id", "invalid", "four"),
        ("rows[1]", "invalid", "five"),
        ("", "invalid", "six"),
    ]


def test_of_very_many_mistakes_a_hundred_are_listed(client: Client) -> None:
    body = dict.fromkeys("abc", 1) | {"items": [{str(n): 1 for n in range(200)} for _ in range(3)]}
    errors = assert_problem(post(client, body), 400, "invalid")["errors"]
    assert 20 < len(errors) <= problems.MAX_ERRORS
