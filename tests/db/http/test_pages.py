"""Lists: cursor pages over any ordering, and no parameter that is quietly ignored."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django_filters import CharFilter, FilterSet
from pytest_django import Settings
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from inventory_project.foundation.access import scopes
from inventory_project.foundation.http import filters
from inventory_project.foundation.http.views import ViewSet

UUID_TEXT = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"
START = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


class UserFilter(FilterSet):  # type: ignore[misc]  # django-filter has no types
    """By name, by time, by a flag, and by an id."""

    name = CharFilter(field_name="username")
    since = filters.MomentFilter(field_name="date_joined", lookup_expr="gte")
    staff = filters.BooleanFilter(field_name="is_staff")
    uuid = filters.UUIDFilter(field_name="first_name")


class UserSerializer(serializers.ModelSerializer[User]):
    """The name."""

    name = serializers.CharField(source="username")

    class Meta:
        model = User
        fields = ("name",)


class UserViewSet(ViewSet[User]):
    """A list along a unique name."""

    queryset = User.objects.all()
    serializer_class = UserSerializer
    filterset_class = UserFilter
    required_scopes = scopes.OPERATIONS
    ordering: Any = ("username",)

    def list(self, request: Request) -> Response:
        """A page of them."""
        return self.page()


class NewestFirst(UserViewSet):
    """Along the ids, the last one first."""

    ordering = ("-id",)


class Unordered(UserViewSet):
    """Along nothing."""

    ordering = None


class Tied(UserViewSet):
    """Along something that two rows may share."""

    ordering = ("-date_joined", "id")


@pytest.fixture(autouse=True)
def _seven_users(db: None, settings: Settings) -> None:
    settings.API_AUTH_ENABLED = False
    settings.ALLOWED_HOSTS = ["testserver"]
    for i in (3, 0, 6, 1, 5, 2, 4):
        User.objects.create(username=f"t{i}", date_joined=START + timedelta(minutes=i // 2), first_name=UUID_TEXT)


def get(query: str = "", view: type[UserViewSet] = UserViewSet) -> Response:
    response: Response = view.as_view({"get": "list"})(APIRequestFactory().get(f"/tokens?{query}"))
    response.render()
    return response


def names(response: Response) -> list[str]:
    return [row["name"] for row in response.data["results"]]


def cursor(text: str) -> str:
    return "cursor=" + b64encode(text.encode()).decode().replace("=", "%3D").replace("+", "%2B")


@pytest.mark.parametrize(
    ("view", "order"), [(UserViewSet, "0123456"), (NewestFirst, "4251603")], ids=["by_name", "newest_first"]
)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pages_show_each_row_once_forth_and_back(view: type[UserViewSet], order: str, size: int) -> None:
    expected = [f"t{i}" for i in order]
    response, seen, pages = get(f"page_size={size}", view), [], 0
    while True:
        seen += names(response)
        pages += 1
        if response.data["next"] is None:
            break
        response = get(response.data["next"].partition("?")[2], view)
    assert (seen, pages) == (expected, -(-7 // size))
    back = names(response)
    while response.data["previous"] is not None:
        response = get(response.data["previous"].partition("?")[2], view)
        back = names(response) + back
    assert back == expected


def test_a_page_has_50_rows_unless_asked_and_never_over_200() -> None:
    User.objects.bulk_create(User(username=f"u{i:03}") for i in range(210))
    sizes = {query: len(names(get(query))) for query in ("", "page_size=1", "page_size=200", "page_size=1000000000")}
    assert sizes == {"": 50, "page_size=1": 1, "page_size=200": 200, "page_size=1000000000": 200}


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("page_size=0", "page_size", "invalid"),
        ("page_size=-5", "page_size", "invalid"),
        ("page_size=many", "page_size", "invalid"),
        ("page_size=1.5", "page_size", "invalid"),
        ("page_size=", "page_size", "invalid"),
        ("page_size=%D9%A3", "page_size", "invalid"),
        ("page_size=" + "9" * 5_000, "page_size", "invalid"),
        ("page_size=1&page_size=2", "page_size", "invalid"),
        ("cursor=garbage", "cursor", "invalid"),
        ("cursor=%00", "cursor", "invalid"),
        ("cursor=%F0%9F%93%A6", "cursor", "invalid"),
        (cursor("p=%00"), "cursor", "invalid"),
        (cursor("o=x"), "cursor", "invalid"),
        (cursor("o=-1"), "cursor", "invalid"),
        (cursor("o=5&p=t1"), "cursor", "invalid"),
        ("cursor=", "cursor", "invalid"),
        (cursor("r=x"), "cursor", "invalid"),
        ("colour=red", "colour", "unknown_field"),
        ("ordering=password", "ordering", "unknown_field"),
        ("name__startswith=a", "name__startswith", "unknown_field"),
        ("format=html", "format", "unknown_field"),
        ("name=a&name=b", "name", "invalid"),
        ("name=%00", "name", "null_characters_not_allowed"),
        ("since=2026-11-22", "since", "invalid"),
        ("since=2026-11-22T09:00:00", "since", "invalid"),
        ("since=2026-11-22T09:00:00+00:00", "since", "invalid"),
        ("staff=yes", "staff", "invalid"),
        ("staff=True", "staff", "invalid"),
        ("uuid=5", "uuid", "invalid"),
        (f"uuid=urn:uuid:{UUID_TEXT}", "uuid", "invalid"),
    ],
)
def test_a_parameter_that_cannot_be_meant_is_400_and_named(query: str, field: str, code: str) -> None:
    response = get(query)
    assert (response.status_code, response.data["code"]) == (400, "invalid"), response.data
    assert [(error["field"], error["code"]) for error in response.data["errors"]] == [(field, code)]
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("position", ["garbage", "1.5", "None", "", "%00", "1_0%0A"])
def test_a_made_up_position_is_400(position: str) -> None:
    response = get(cursor(f"p={position}"), NewestFirst)
    assert (response.status_code, response.data["errors"][0]["field"]) == (400, "cursor")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name=t3", ["t3"]),
        ("name=T3", []),
        ("name='%20OR%201=1--", []),
        ("since=2026-11-22T09:02:00Z", ["t4", "t5", "t6"]),
        ("since=2026-11-22T06:02:00-03:00&page_size=2", ["t4", "t5"]),
        ("staff=false&page_size=1", ["t0"]),
        ("staff=true", []),
        (f"uuid={UUID_TEXT}&page_size=1", ["t0"]),
        ("uuid=" + UUID_TEXT.replace("0", "1"), []),
    ],
)
def test_filters_narrow_the_list(query: str, expected: list[str]) -> None:
    assert names(get(query)) == expected


def test_a_position_beyond_all_rows_is_an_empty_page() -> None:
    assert names(get(cursor("p=" + "9" * 30 + "&r=1"), NewestFirst)) == []
    assert names(get(cursor("p=zzz"))) == []


def test_an_ordering_that_is_missing_or_not_unique_is_a_defect_and_no_quiet_default() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"Tied\.ordering must begin with a unique field"):
        get(view=Tied)
    with pytest.raises(ImproperlyConfigured, match="Unordered declares no `ordering`"):
        get(view=Unordered)
