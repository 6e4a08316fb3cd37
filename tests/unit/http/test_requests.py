"""No Content-Type, however odd, brings down the building of a request."""

import json
from io import BytesIO
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client

from inventory_project.foundation.http.requests import UTF8Request

ORDER = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"
ODD = [
    "charset=hex",
    "charset=idna",
    "charset=utf-16",
    "charset*=bogus''utf-8",
    "charset*0*=x''y",
    "a*=%",
    "charset=",
    "=;=",
]


@pytest.fixture
def call(client: Client) -> Any:
    """Calls the sample API with the environment of a WSGI server."""
    handler = WSGIHandler()

    def answer(method: str, path: str, *, query: str = "", content_type: str, body: bytes = b"") -> tuple[int, Any]:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_HOST": "localhost",
            "wsgi.input": BytesIO(body),
        }
        setup_testing_defaults(environ)
        response: Any = handler.get_response(UTF8Request(environ))
        return response.status_code, json.loads(response.content)

    return answer


@pytest.mark.parametrize("parameter", ODD)
def test_the_charset_of_a_body_has_no_say_in_the_query_string(call: Any, parameter: str) -> None:
    status, body = call(
        "GET", f"/api/orders/{ORDER}", query="quantity=7", content_type=f"application/json; {parameter}"
    )
    assert (status, body["units"]) == (200, 7)


@pytest.mark.parametrize("parameter", [*ODD[:5], "charset=bogus"])
def test_a_body_in_an_odd_charset_is_415(call: Any, parameter: str) -> None:
    status, body = call("POST", "/api/orders", content_type=f"application/json; {parameter}", body=b"{}")
    assert (status, body["code"]) == (415, "unsupported_media_type")


def test_a_body_in_utf8_is_read(call: Any) -> None:
    status, body = call("POST", "/api/orders", content_type="application/json; charset=utf-8", body=b"{}")
    assert (status, body["errors"][0]["code"]) == (400, "required")
