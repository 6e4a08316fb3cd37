"""No body is read beyond the limit, announced or not."""

import json
from io import BytesIO
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from inventory_project.foundation.http.body_limit import BodyLimitMiddleware
from tests.unit.http.conftest import assert_problem

LIMIT = 262_144
ORDER = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"
BODY = json.dumps({"order_id": ORDER, "items": [{"product_id": ORDER, "quantity": 2}]}).encode()


@pytest.fixture(autouse=True)
def _limit(settings: Settings) -> None:
    settings.MAX_BODY_BYTES = LIMIT


class Counting(BytesIO):
    """An input that never blocks and knows how much of it was read."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def chunked(body: bytes, content_type: str = "application/json") -> dict[str, Any]:
    """The environment as gunicorn makes it of a chunked request: no length, and an input that ends."""
    return {
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": "",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": Counting(body),
        "wsgi.input_terminated": True,
    }


def test_a_body_at_the_limit_passes_and_one_byte_more_is_413(client: Client) -> None:
    full = BODY + b" " * (LIMIT - len(BODY))
    assert client.post("/api/orders", full, content_type="application/json").status_code == 201
    assert_problem(client.post("/api/orders", full + b" ", content_type="application/json"), 413, "too_large")


@pytest.mark.parametrize("length", ["262145", "9" * 18, "9" * 5_000])
def test_a_length_over_the_limit_is_refused_unread(client: Client, length: str) -> None:
    stream = Counting(BODY)
    environ: dict[str, Any] = {"CONTENT_LENGTH": length, "wsgi.input": stream, "CONTENT_TYPE": "application/json"}
    assert_problem(client.generic("POST", "/api/orders", **environ), 413, "too_large")
    assert stream.taken == 0


def test_a_chunked_body_is_read_as_one_with_a_length(client: Client) -> None:
    response = client.generic("POST", "/api/orders", **chunked(BODY))
    assert (response.status_code, response.json()["units"]) == (201, 2)


def test_a_chunked_body_over_the_limit_is_413_and_read_no_further(client: Client) -> None:
    environ = chunked(BODY + b" " * 10 * LIMIT)
    assert_problem(client.generic("POST", "/api/orders", **environ), 413, "too_large")
    assert environ["wsgi.input"].taken == LIMIT + 1


def test_a_body_without_length_and_without_end_is_not_waited_for(client: Client) -> None:
    environ = chunked(BODY) | {"wsgi.input_terminated": False}
    assert_problem(client.generic("POST", "/api/orders", **environ), 400, "invalid")
    assert environ["wsgi.input"].taken == 0


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/octet-stream"])
def test_the_limit_holds_whatever_the_content_type(client: Client, content_type: str) -> None:
    body = b" " * (LIMIT + 1)
    assert_problem(client.generic("POST", "/api/orders", body, content_type=content_type), 413, "too_large")


def test_forms_pass_for_the_admin_reads_them_and_django_bounds_them() -> None:
    seen = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(request.POST["note"])
        return HttpResponse()

    request = RequestFactory().post("/admin/stock/", {"note": "x" * (LIMIT + 1)})
    assert BodyLimitMiddleware(view)(request).status_code == 200
    assert seen == ["x" * (LIMIT + 1)]
