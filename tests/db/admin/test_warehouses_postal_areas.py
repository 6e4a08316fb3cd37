"""Postal areas are looked at and looked for; who wants others loads a file."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.db.admin.pages import change
from warehouses.models import PostalArea

pytestmark = pytest.mark.django_db

MODEL = "warehouses_postalarea"
LIST = "/admin/warehouses/postalarea/"


@pytest.fixture(autouse=True)
def _areas(db: None) -> None:
    for country, prefix, name, region in (
        ("BR", "0", "São Paulo", "southeast"),
        ("BR", "013", "São Paulo, SP", "southeast"),
        ("BR", "01310", "Bela Vista", "southeast"),
        ("BR", "69", "Amazonas", "north"),
        ("PT", "1000", "Lisboa", ""),
        ("GB", "SW1A", "London", ""),
    ):
        is_region = len(prefix) < 3
        PostalArea.objects.create(
            country=country, prefix=prefix, name=name, region=region, latitude=1, longitude=2, is_region=is_region
        )


def found(client: Client, **query: Any) -> list[str]:
    response = client.get(LIST, query)
    assert response.status_code == 200
    return [row.prefix for row in response.context["cl"].result_list]


@pytest.mark.parametrize(
    ("term", "prefixes"),
    [
        ("", ["0", "013", "01310", "69", "SW1A", "1000"]),
        ("01310-100", ["0", "013", "01310"]),  # the areas that the code lies in
        (" 01", ["0", "013", "01310"]),  # and those below
        ("013", ["0", "013", "01310"]),
        ("1000-001", ["1000"]),
        ("sw1a 1aa", ["SW1A"]),
        ("SW1A", ["SW1A"]),
        ("sw1 0aa", []),  # of the district SW1, in which SW1A is not known to lie
        ("são", ["0", "013"]),
        ("vista", ["01310"]),
        ("Lisbon", []),
        ("%", []),
        ("99", []),
    ],
)
def test_a_search_takes_a_code_its_beginning_or_a_part_of_a_name(ana: Client, term: str, prefixes: list[str]) -> None:
    assert found(ana, q=term) == prefixes


def test_filters_take_the_country_and_the_region(ana: Client) -> None:
    assert found(ana, country="PT") == ["1000"]
    assert found(ana, region="north") == ["69"]
    assert found(ana, country="BR", region="southeast", q="vista") == ["01310"]


def test_nobody_adds_changes_or_deletes_an_area(ana: Client) -> None:
    area = PostalArea.objects.get(prefix="69")
    before = list(PostalArea.objects.order_by("id").values())
    page = ana.get(change(MODEL, area.pk))
    assert (page.status_code, b"_save" in page.content, b"deletelink" in page.content) == (200, False, False)
    everything = {"country": "BR", "prefix": "7", "name": "X", "latitude": "0", "longitude": "0"}
    assert ana.post(f"{LIST}add/", everything).status_code == 403
    assert ana.post(change(MODEL, area.pk), everything).status_code == 403
    assert ana.post(change(MODEL, area.pk).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
    assert list(PostalArea.objects.order_by("id").values()) == before


def test_the_list_takes_as_many_statements_for_few_as_for_many(ana: Client) -> None:
    ana.get(LIST)
    with CaptureQueriesContext(connection) as few:
        assert len(found(ana)) == 6
    PostalArea.objects.bulk_create(
        PostalArea(country="BR", prefix=f"8{number:04}", name="x", region="south", latitude=0, longitude=0)
        for number in range(200)
    )
    with CaptureQueriesContext(connection) as many:
        assert len(found(ana)) == 50
    assert len(many) == len(few)
