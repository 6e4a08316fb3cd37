"""The headers of every answer, and pages that need nothing that these headers forbid."""

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from inventory_project.foundation.http.headers import CONTENT_SECURITY_POLICY
from tests import factories
from tests.db.http import clients
from tests.db.http.calls import API, JSON

NOBODY = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"
POLICY = "Content-Security-Policy"


def directives(policy: str) -> dict[str, list[str]]:
    return {name: sources for name, *sources in (directive.split() for directive in policy.split("; "))}


def test_the_policy_allows_nothing_from_elsewhere_and_nothing_inline() -> None:
    assert directives(CONTENT_SECURITY_POLICY) == {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }


@pytest.mark.parametrize(
    ("path", "status", "cache"),
    [
        ("/", 302, "no-store"),
        (f"{API}/products", 200, "no-store"),
        (f"{API}/products?nonsense=1", 400, "no-store"),
        (f"{API}/products/{NOBODY}", 404, "no-store"),
        ("/nowhere", 404, "no-store"),
        ("/health", 200, "no-store"),
        ("/health/", 301, "no-store"),
        ("/metrics", 200, "no-store"),
        ("/api/schema", 200, "no-store"),
        ("/api/docs", 200, "no-store"),
        ("/admin/", 302, "max-age=0, no-cache, no-store, must-revalidate, private"),
        ("/admin/login/", 200, "max-age=0, no-cache, no-store, must-revalidate, private"),
        ("/static/inventory_project/admin.css", 200, "max-age=60, public"),
    ],
)
def test_every_answer_has_the_policy_and_is_not_stored(api: Client, path: str, status: int, cache: str) -> None:
    answer = api.get(path)

    answer.close()
    assert answer.status_code == status
    assert (answer.headers[POLICY], answer.headers["Cache-Control"]) == (CONTENT_SECURITY_POLICY, cache)


def test_what_is_redirected_to_https_or_refused_for_its_host_has_them_too(api: Client, settings: Settings) -> None:
    refused = api.get("/health", headers={"Host": "evil.example"})
    settings.SECURE_SSL_REDIRECT = True
    moved = clients.client(clients.DJANGO).get("/admin/login/")

    assert (refused.status_code, moved.status_code) == (400, 301)
    assert refused.headers[POLICY] == moved.headers[POLICY] == CONTENT_SECURITY_POLICY


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("kind", [clients.DJANGO, clients.FAST])
def test_both_paths_send_them(kind: str) -> None:
    client = clients.client(kind)

    answer = client.post(f"{API}/reservations/{NOBODY}/cancel", b"", JSON)

    assert (answer.status_code, client.answered) == (404, int(kind == clients.FAST))  # type: ignore[attr-defined]
    assert (answer.headers[POLICY], answer.headers["Cache-Control"]) == (CONTENT_SECURITY_POLICY, "no-store")


def test_no_script_can_read_the_cookie_of_the_forms(api: Client) -> None:
    assert api.get("/admin/login/").cookies["csrftoken"]["httponly"] is True


# --- what the pages need -------------------------------------------------------------------------------------------


class Inline(HTMLParser):
    """Collects what a page has inline: scripts, handlers of events, and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [f"<{tag} {name}>" for name in given if name == "style" or name.startswith("on")]
        self.found += [f"<{tag} {name}={value}>" for name, value in attrs if (value or "").startswith("javascript:")]
        is_data = tag == "script" and given.get("type") == "application/json"
        self._in = tag if tag in ("script", "style") and not is_data else ""

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in and data.strip():
            self.found.append(f"<{self._in}>{data}")


def inline(page: str) -> list[str]:
    parser = Inline()
    parser.feed(page)
    return parser.found


def test_what_is_inline_is_found() -> None:
    page = '<a style="x" onclick="x" href="javascript:x"><script>x</script><script src="x"></script><style>x</style>'

    assert inline(page) == ["<a style>", "<a onclick>", "<a href=javascript:x>", "<script>x", "<style>x"]


@pytest.fixture
def page(api: Client, settings: Settings) -> Callable[[str], str]:
    """Any page of a superuser, which must be there."""
    settings.STAFF_SECOND_FACTOR = "optional"
    api.force_login(User.objects.create_superuser("ana"))

    def read(path: str) -> str:
        answer = api.get(path)
        assert answer.status_code == 200, path
        return answer.content.decode()

    return read


def test_no_page_needs_anything_inline(page: Callable[[str], str]) -> None:
    product = factories.product({factories.SP: 10})
    hold = factories.hold(product.pk, 3)
    paths = ["/api/docs", "/admin/", "/admin/second-factor/", "/admin/password_change/"]
    paths += [
        reverse("admin:auth_user_password_change", args=[User.objects.get().pk]),
        reverse("admin:stock_product_change", args=[product.pk]),
        reverse("admin:stock_product_history", args=[product.pk]),
        reverse("admin:reservations_reservation_change", args=[hold.id]),
        reverse("admin:auth_user_delete", args=[User.objects.get().pk]),
    ]
    for model in admin.site._registry:
        paths.append(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"))
    with_form = ("auth_user", "access_apitoken", "warehouses_warehouse", "django_celery_beat_periodictask")
    paths += [reverse(f"admin:{name}_add") for name in with_form]

    found = {path: inline(page(path)) for path in paths}

    assert {path: pieces for path, pieces in found.items() if pieces} == {}
