"""The admin's sessions: which cookies are asked about, and what is left of one after a log-out."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

pytestmark = pytest.mark.django_db

COOKIE = "sessionid"
NO_KEYS = ['"\\000aaaaaaaaaa"', '"\\000' + "a" * 31 + '"', "a" * 31, "A" * 32, "a" * 33, "é" * 32, "", "../" * 11]
ADMIN, LOG_IN, NOWHERE = "/admin/", "/admin/login/", "/nope"


@pytest.fixture(autouse=True)
def plain_http(settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = False


def status(path: str, cookie: str) -> int:
    return Client(headers={"cookie": f"{COOKIE}={cookie}"}).get(path).status_code


@pytest.mark.parametrize("cookie", NO_KEYS)
@pytest.mark.parametrize(("path", "expected"), [(ADMIN, 302), (LOG_IN, 200), (NOWHERE, 404), ("/health/live", 200)])
def test_a_cookie_that_is_no_key_is_no_session(path: str, expected: int, cookie: str) -> None:
    with CaptureQueriesContext(connection) as captured:
        assert status(path, cookie) == expected
    assert [query["sql"] for query in captured if "django_session" in query["sql"]] == []


@pytest.mark.parametrize("path", [NOWHERE, "/health/live", "/api/schema"])
def test_only_the_admin_reads_the_session(path: str) -> None:
    with CaptureQueriesContext(connection) as captured:
        status(path, "a" * 32)
    assert [query["sql"] for query in captured if "django_session" in query["sql"]] == []


def test_control_the_admin_reads_it() -> None:
    with CaptureQueriesContext(connection) as captured:
        assert status(ADMIN, "a" * 32) == 302
    assert any("django_session" in query["sql"] for query in captured)


def test_a_session_ends_after_eight_hours_and_with_the_log_out(client: Client) -> None:
    client.force_login(User.objects.create_superuser("ana"))
    assert client.get(ADMIN).status_code == 200
    left = Session.objects.get().expire_date - timezone.now()
    assert timedelta(hours=7, minutes=59) < left <= timedelta(hours=8)
    cookie = client.cookies[COOKIE].value
    client.post("/admin/logout/")
    assert not Session.objects.exists()
    assert status(ADMIN, cookie) == 302
