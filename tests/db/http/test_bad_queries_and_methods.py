"""Queries, methods, headers and hosts that the API does not know are refused."""

import json

import pytest

from tests.db.http.bad_inputs import API, ASK, JSON, NOBODY, Send, refusal

# --- lists over HTTP -------------------------------------------------------------------------------------------------

LIST_PATHS = ("products", "reservations", "warehouses", "stock-levels", "movements")


@pytest.mark.parametrize("path", LIST_PATHS)
def test_a_list_is_bounded_and_refuses_what_it_does_not_know(send: Send, path: str) -> None:
    for size in ("1000000000", "9" * 20):
        answer = send("GET", f"{API}/{path}?page_size={size}")
        assert answer.status_code == 200, answer.content
        assert 1 <= len(json.loads(answer.content)["results"]) <= 200
    for query, field in (
        ("page_size=0", "page_size"),
        ("page_size=-5", "page_size"),
        ("page_size=many", "page_size"),
        ("page_size=1e9", "page_size"),
        ("cursor=garbage", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=cD0lMDA=", "cursor"),
        ("colour=red", "colour"),
        ("ordering=-password", "ordering"),
        ("order_by=id", "order_by"),
        ("id__gt=1", "id__gt"),
        ("format=xml", "format"),
        ("%00=1", "\\u0000"),
    ):
        response = send("GET", f"{API}/{path}?{query}")
        assert refusal(response) == (400, "invalid", {field}), (query, response.content)


@pytest.mark.parametrize(
    ("path", "field", "values"),
    [
        ("reservations", "order_id", ["5", "%00", f"urn:uuid:{NOBODY}", NOBODY.replace("-", "")]),
        ("reservations", "product_id", ["5", f"%7B{NOBODY}%7D"]),
        ("reservations", "status", ["active", "GONE", "%00", "ACTIVE,EXPIRED"]),
        ("stock-levels", "product_id", ["5", "*"]),
        ("stock-levels", "warehouse_id", ["%00"]),
        ("stock-levels", "low", ["yes", "True", "1"]),
        ("movements", "product_id", ["5"]),
        ("movements", "kind", ["SALE", "%00"]),
        ("movements", "reference", ["%00"]),
        ("movements", "since", ["yesterday", "2026-11-22", "2026-11-22T09:00:00"]),
        ("movements", "until", ["0", "2026-13-01T00:00:00Z"]),
        ("products", "sku", ["%00"]),
    ],
)
def test_a_filter_value_that_cannot_be_meant_is_400(send: Send, path: str, field: str, values: list[str]) -> None:
    for value in values:
        response = send("GET", f"{API}/{path}?{field}={value}")
        assert refusal(response) == (400, "invalid", {field}), (value, response.content)
    repeated = send("GET", f"{API}/{path}?{field}=a&{field}=b")
    assert refusal(repeated) == (400, "invalid", {field})


def test_a_filter_with_choices_names_them(send: Send) -> None:
    response = send("GET", f"{API}/reservations?status=GONE")
    assert [error["detail"] for error in json.loads(response.content)["errors"]] == [
        "One of ACTIVE, CONFIRMED, EXPIRED, CANCELLED is required."
    ]


@pytest.mark.parametrize(
    "path",
    ["/products/<product>", "/reservations/<active>", "/reservations/<active>/allocation", "/warehouses/wh-sp-001"],
)
def test_a_single_thing_takes_no_parameters_that_change_it(send: Send, path: str) -> None:
    assert send("GET", f"{API}{path}?format=xml&page_size=5").status_code == 200


def test_availability_refuses_a_parameter_it_does_not_know(send: Send) -> None:
    response = send("GET", f"{API}/products/<product>/availability?qty=5&warehouse=x")
    assert refusal(response) == (400, "invalid", {"qty", "warehouse"})
    known = "Unknown parameter. Allowed parameters: postal_code, quantity, warehouse_id."
    assert [error["detail"] for error in json.loads(response.content)["errors"]] == [known, known]
    response = send("GET", f"{API}/products/<product>/availability?quantity=1&quantity=2")
    assert refusal(response) == (400, "invalid", {"quantity"})
    response = send("GET", f"{API}/products/<product>/availability?warehouse_id=WH%20SP")
    assert refusal(response) == (400, "invalid", {"warehouse_id"})


# --- methods, headers, hosts -----------------------------------------------------------------------------------------

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
ALLOWED = {
    f"{API}/products": {"GET"},
    f"{API}/products/<product>": {"GET", "PUT"},
    f"{API}/products/<product>/availability": {"GET"},
    f"{API}/availability": {"POST"},
    f"{API}/reservations": {"GET", "POST"},
    f"{API}/reservations/<active>": {"GET"},
    **{f"{API}/reservations/<active>/{verb}": {"POST"} for verb in ("confirm", "cancel", "extend", "return")},
    f"{API}/reservations/<active>/allocation": {"GET"},
    f"{API}/warehouses": {"GET"},
    f"{API}/warehouses/wh-sp-001": {"GET"},
    f"{API}/stock-levels": {"GET"},
    f"{API}/movements": {"GET"},
    f"{API}/receipts": {"POST"},
    f"{API}/adjustments": {"POST"},
    "/admin/reservations/<active>/expire": {"POST"},
    "/admin/products/<product>/block-sales": {"POST"},
    "/admin/products/<product>/unblock-sales": {"POST"},
    "/api/schema": {"GET"},
    "/api/docs": {"GET"},
    "/": {"GET"},
}


@pytest.mark.parametrize("path", ALLOWED)
def test_a_method_that_the_path_does_not_know_is_405(send: Send, path: str) -> None:
    for method in set(METHODS) - ALLOWED[path]:
        response = send(method, path, ASK)
        assert refusal(response)[:2] == (405, "method_not_allowed"), (method, response.content)
        named = {allowed.strip() for allowed in response["Allow"].split(",")}
        assert named - {"HEAD"} == ALLOWED[path]


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_header_does_not_change_the_method(send: Send, name: str) -> None:
    assert send("GET", f"{API}/products", **{name: "POST"}).status_code == 200
    assert refusal(send("POST", f"{API}/products/<product>", **{name: "PUT"}))[0] == 405
    read = send("GET", f"{API}/reservations/<active>?_method=DELETE", **{name: "DELETE"})
    assert json.loads(read.content)["status"] == "ACTIVE"
    assert refusal(send("GET", f"{API}/reservations/<active>/cancel", **{name: "POST"}))[0] == 405


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "localhost@evil.example", "localhost:port", "a b", "", "[::1"]
)
def test_a_host_that_is_not_ours_is_400(send: Send, host: str) -> None:
    for method, path in (("GET", f"{API}/products"), ("POST", f"{API}/reservations"), ("GET", "/api/schema")):
        assert refusal(send(method, path, Host=host))[:2] == (400, "invalid"), host


def test_a_forwarded_host_is_not_believed(send: Send) -> None:
    listed = send("GET", f"{API}/movements?page_size=1", **{"X-Forwarded-Host": "evil.example"})
    assert json.loads(listed.content)["next"].startswith("/api/inventory/movements?")


@pytest.mark.parametrize(
    "accept", ["text/html", "application/xml", "*/*;q=garbage", "application/json; indent=8", "\x00", ""]
)
def test_an_accept_header_that_cannot_be_met_gets_json(send: Send, accept: str) -> None:
    answer = send("GET", f"{API}/products/<product>", Accept=accept)
    assert (answer.status_code, answer["Content-Type"]) == (200, JSON)
    assert refusal(send("GET", f"{API}/nothing", Accept=accept))[0] == 404
