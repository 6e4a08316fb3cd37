"""Who may read the metrics, on the port of the service and on those of its other processes; and the API's documents."""

from collections.abc import Callable
from typing import Any
from wsgiref.util import setup_testing_defaults

import orjson
import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from inventory_project.foundation import side_server
from inventory_project.foundation.access import authentication, scopes, tokens

TOKEN = "m3trics-of-the-shop-0123456789abcdef"
SAMPLE = b"inventory_database_up"
REPORT = {"status": "degraded", "process": "relay", "state": "waiting", "detail": "user inventory at 10.0.0.5"}

Ask = Callable[[str, str], tuple[int, dict[str, str], bytes]]  # path and Authorization header


@pytest.fixture(autouse=True)
def _tokens_of_other_tests_are_forgotten(settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = False
    authentication.verified.clear()


def of_the_service(path: str, authorization: str) -> tuple[int, dict[str, str], bytes]:
    headers = {"Authorization": authorization} if authorization else {}
    answer = Client().get(path, headers=headers)
    return answer.status_code, dict(answer.headers), answer.content


def of_another_process(path: str, authorization: str) -> tuple[int, dict[str, str], bytes]:
    environ: dict[str, Any] = {"PATH_INFO": path, "HTTP_AUTHORIZATION": authorization}
    setup_testing_defaults(environ)
    started: list[Any] = []
    body = b"".join(side_server.Pages(lambda: (True, REPORT))(environ, lambda *answer: started.extend(answer)))
    return int(started[0].split()[0]), dict(started[1]), body


both = pytest.mark.parametrize("ask", [of_the_service, of_another_process])


def issued(*wanted: str) -> str:
    owner = User.objects.create_superuser(f"owner-{len(wanted)}")
    return f"Bearer {tokens.issue(name=f'caller-{len(wanted)}', wanted=wanted, owner=owner)[1]}"


@both
@pytest.mark.usefixtures("db")
def test_without_a_token_of_their_own_the_metrics_are_open_on_a_loopback_address(ask: Ask, settings: Settings) -> None:
    settings.METRICS_TOKEN, settings.IS_LOOPBACK = "", True

    assert ask("/metrics", "")[0] == 200


@both
@pytest.mark.usefixtures("db")
@pytest.mark.parametrize(("token", "is_loopback"), [("", False), (TOKEN, True), (TOKEN, False)])
def test_else_they_are_refused_to_all_but_operators(
    ask: Ask, settings: Settings, token: str, is_loopback: bool
) -> None:
    settings.METRICS_TOKEN, settings.IS_LOOPBACK = token, is_loopback
    reader = issued(*(scopes.ALL - {scopes.OPERATIONS}))

    for header in (
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        "Bearer inv_0",
        "Bearer é",
        reader,
    ):
        status, headers, body = ask("/metrics", header)
        assert (status, orjson.loads(body)["code"]) == (401, "unauthorized"), header
        assert headers["WWW-Authenticate"] == "Bearer"
        assert SAMPLE not in body
    assert ask("/metrics", issued(scopes.OPERATIONS))[0] == 200


@both
@pytest.mark.usefixtures("db")
def test_the_token_of_the_metrics_opens_them_and_nothing_else(ask: Ask, settings: Settings) -> None:
    settings.METRICS_TOKEN, settings.IS_LOOPBACK, settings.API_AUTH_ENABLED = TOKEN, False, True

    assert ask("/metrics", f"Bearer {TOKEN}")[0] == 200
    assert ask("/metrics", f"bearer {TOKEN}")[0] == 200
    assert of_the_service("/api/inventory/products", f"Bearer {TOKEN}")[0] == 401


def test_the_token_of_the_metrics_needs_no_database(settings: Settings) -> None:
    settings.METRICS_TOKEN, settings.IS_LOOPBACK = TOKEN, False

    assert of_another_process("/metrics", f"Bearer {TOKEN}")[0] == 200  # pytest-django lets nobody ask the database


# --- the other processes' /health ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/metrics/x", "/health/live", "/healthz", "/../metrics", "/admin/"])
def test_another_process_answers_two_paths_only(path: str) -> None:
    status, headers, body = of_another_process(path, "")

    assert (status, orjson.loads(body)["code"]) == (404, "not_found")
    assert headers["Content-Type"] == "application/problem+json"


@pytest.mark.usefixtures("db")
def test_health_names_servers_and_users_only_to_those_who_may_read_the_metrics(settings: Settings) -> None:
    settings.METRICS_TOKEN, settings.IS_LOOPBACK = TOKEN, False
    told = {name: text for name, text in REPORT.items() if name != "detail"}

    assert orjson.loads(of_another_process("/health", "")[2]) == told
    assert orjson.loads(of_another_process("/health", "Bearer other")[2]) == told
    assert orjson.loads(of_another_process("/health/", f"Bearer {TOKEN}")[2]) == REPORT


def test_a_process_that_reports_nothing_has_no_health_page() -> None:
    environ: dict[str, Any] = {"PATH_INFO": "/health"}
    setup_testing_defaults(environ)
    started: list[str] = []

    b"".join(side_server.Pages(None)(environ, lambda status, _headers: started.append(status)))

    assert started == ["404 Not Found"]


# --- the documents of the API --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("path", ["/", "/api/schema", "/api/docs"])
def test_the_documents_of_the_api_can_be_switched_off(path: str, settings: Settings) -> None:
    settings.API_DOCS = True
    assert of_the_service(path, "")[0] in (200, 302)

    settings.API_DOCS = False
    status, _, body = of_the_service(path, "")

    assert (status, orjson.loads(body)["code"]) == (404, "not_found")
