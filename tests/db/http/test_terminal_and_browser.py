"""What people see who ask by hand: a prompt on a line of its own, paths with a slash too many, an icon."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from django.contrib.auth.models import User
from django.test import Client

from inventory_project.urls import OPEN_PAGES
from tests.db.http import routes
from tests.db.http.test_rights import OPEN, RIGHTS

JSON = "application/json"
ICON = "/static/inventory_project/favicon.svg"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/health/live", 200),
        ("GET", "/health/ready", 200),
        ("GET", "/api/inventory/products", 200),
        ("GET", "/api/schema", 200),
        ("GET", "/api/nothing", 404),
        ("GET", "/api/inventory/products?nonsense=1", 400),
        ("POST", "/health", 405),
        ("POST", "/api/inventory/availability", 413),
        ("GET", "/api/inventory/products/018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f", 404),
    ],
)
def test_every_json_answer_ends_with_one_newline(api: Client, method: str, path: str, status: int) -> None:
    body = b" " * 300_000 if status == 413 else b""
    answer = api.generic(method, path, body, JSON, headers={"Accept": JSON})

    assert answer.status_code == status
    assert "json" in answer["Content-Type"]
    assert re.search(rb"[^\n]\n\Z", answer.content)
    assert answer["Content-Length"] == str(len(answer.content)) if "Content-Length" in answer else True


def test_a_host_that_is_refused_is_told_so_with_a_newline(api: Client) -> None:
    refused = api.get("/health", headers={"Host": "evil.example"})

    assert (refused.status_code, refused.content[-2:]) == (400, b"}\n")


def test_pages_in_other_formats_are_left_alone(api: Client) -> None:
    assert not api.get("/api/docs").content.endswith(b"\n\n")
    assert api.get("/metrics")["Content-Type"].startswith("text/plain")


def test_the_pages_that_forgive_a_slash_are_those_that_are_open_to_all() -> None:
    assert {route for row in routes.of_the_service() if RIGHTS[row] == OPEN and (route := row[1])} == set(OPEN_PAGES)


@pytest.mark.parametrize("page", OPEN_PAGES)
def test_a_slash_at_the_end_of_an_open_page_leads_to_the_page(api: Client, page: str) -> None:
    moved = api.get(f"/{page}/?x=1")

    assert (moved.status_code, moved["Location"]) == (301, f"/{page}?x=1")
    assert api.post(f"/{page}/", content_type=JSON).status_code == 405


def test_control_a_slash_at_the_end_of_a_path_of_the_api_is_404(api: Client) -> None:
    assert api.get("/api/inventory/products/").status_code == 404


def icon_of(page: Any) -> str:
    """Where the page says that its icon is."""
    return re.search(r'<link rel="icon"[^>]* href="([^"]+)"', page.content.decode())[1]  # type: ignore[index]


def test_the_pages_of_the_admin_and_of_the_api_have_our_icon(api: Client) -> None:
    assert icon_of(api.get("/admin/login/")) == icon_of(api.get("/api/docs")) == ICON

    api.force_login(User.objects.create_superuser("ana"))
    assert icon_of(api.get("/admin/")) == icon_of(api.get("/admin/stock/product/")) == ICON


def test_the_icon_is_served_also_where_a_browser_looks_for_it_by_itself(api: Client) -> None:
    assert api.get("/favicon.ico")["Location"] == ICON

    icon = api.get(ICON)
    assert (icon.status_code, icon["Content-Type"]) == (200, "image/svg+xml")
    assert ElementTree.fromstring(b"".join(icon.streaming_content)).tag.endswith("svg")  # type: ignore[attr-defined]  # noqa: S314
