"""Which caller a request's lines in the log are about."""

import pytest
from django.test import RequestFactory
from structlog.contextvars import bound_contextvars, get_contextvars

from inventory_project.foundation.http.logs import RequestLogMiddleware


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (None, {"ip": "10.1.2.3"}),
        ("203.0.113.9, 10.0.0.1", {"ip": "10.1.2.3", "forwarded_for": "203.0.113.9, 10.0.0.1"}),
        ("x" * 5_000, {"ip": "10.1.2.3", "forwarded_for": "x" * 200}),
    ],
)
def test_the_log_has_the_address_that_is_connected_and_what_a_proxy_says(
    header: str | None, shown: dict[str, str]
) -> None:
    request = RequestFactory().get("/", headers={} if header is None else {"X-Forwarded-For": header})
    request.META["REMOTE_ADDR"] = "10.1.2.3"
    with bound_contextvars(ip="", forwarded_for=""):
        RequestLogMiddleware.bind_ip(request)
        bound = {name: value for name, value in get_contextvars().items() if name in ("ip", "forwarded_for") and value}
    assert bound == shown
