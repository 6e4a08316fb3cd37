"""Which caller a request's lines in the log are about, and that they keep its token to themselves."""

import asyncio
import json
import logging
import sys

import pytest
from django.test import RequestFactory
from pytest_django import Settings
from structlog.contextvars import bound_contextvars, get_contextvars

from inventory_project import log_config
from inventory_project.foundation.http.logs import RequestLog, RequestLogMiddleware


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


SECRET = "inv_" + "0f" * 32
WITH_TOKENS = [
    (
        f"GET /api/inventory/products?token={SECRET}&page_size=5",
        "GET /api/inventory/products?token=inv_...&page_size=5",
    ),
    (f"GET /x?a={SECRET.replace('_', '%5F')}", "GET /x?a=inv_..."),
    (f"{SECRET} {SECRET[:30]}", "inv_... inv_..."),
    ("GET /api/inventory/products?sku=inv_12&invoice=abcdef", "GET /api/inventory/products?sku=inv_12&invoice=abcdef"),
]


@pytest.mark.parametrize(("text", "expected"), WITH_TOKENS)
def test_a_token_in_an_address_is_masked_in_the_line_of_the_event_loop(
    text: str, expected: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.LOG_FORMAT = "json"

    async def finish() -> None:
        RequestLog().finished(text, 401, {"request_id": SECRET})
        await asyncio.sleep(0)

    asyncio.run(finish())
    line = json.loads(capsys.readouterr().out)
    assert (line["request"], line["request_id"]) == (expected, "inv_...")


@pytest.mark.parametrize(("text", "expected"), WITH_TOKENS)
@pytest.mark.parametrize("is_json", [True, False])
def test_a_token_is_masked_in_every_line_of_the_log(text: str, expected: str, is_json: bool) -> None:
    config = log_config.logging_config(level="INFO", is_json=is_json)["formatters"]["structured"]
    formatter = config.pop("()")(**config)
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "asked: %s", (text,), None)
    line = formatter.format(record)
    assert f"asked: {expected}" in line
    assert SECRET[:20] not in line


FORGED = "ok\n2026-11-29T00:00:00Z [info     ] sales unblocked product_id=FORGED actor=staff:ceo\r\x1b[31m\u202e"


def formatted(record: logging.LogRecord, *, is_json: bool) -> str:
    config = log_config.logging_config(level="INFO", is_json=is_json)["formatters"]["structured"]
    formatter: logging.Formatter = config.pop("()")(**config)
    return formatter.format(record)


@pytest.mark.parametrize("is_json", [True, False])
def test_nothing_in_a_line_of_the_log_can_look_like_another_line(is_json: bool) -> None:
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "asked: %s", (FORGED,), None)
    record.reason, record.actor = FORGED, "staff:eva"

    line = formatted(record, is_json=is_json)

    assert line.isprintable()
    assert line.isascii()
    assert "staff:eva" in line
    if is_json:
        assert (json.loads(line)["event"], json.loads(line)["reason"]) == (f"asked: {FORGED}", FORGED)


def test_a_stack_trace_on_a_console_is_indented() -> None:
    try:
        raise ValueError(FORGED)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "it failed", (), sys.exc_info())

    first, *trace = formatted(record, is_json=False).splitlines()

    assert "it failed" in first
    assert len(trace) >= 3
    assert [line for line in trace if not line.startswith("  ") or "\x1b" in line] == []
