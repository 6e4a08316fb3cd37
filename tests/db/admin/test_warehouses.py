"""A warehouse's page says how its place is known, and takes the regions it serves as a person writes them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from inventory_project.foundation import database
from inventory_project.foundation.admin import BUSY
from tests import factories
from tests.db.admin.pages import change, told
from tests.factories import PR, SP
from warehouses.models import NetworkVersion, PostalArea, Warehouse

pytestmark = pytest.mark.django_db

MODEL = "warehouses_warehouse"
LIST = "/admin/warehouses/warehouse/"
ADD = f"{LIST}add/"
FORM = {"name": "DC Sao Paulo", "region": "southeast", "priority": "1"}
LAST = "By distance it comes last."


@pytest.fixture(autouse=True)
def _areas(db: None) -> None:
    for prefix, name, is_region in (
        ("01", "São Paulo, SP", False),
        ("01001000", "Sé", False),
        ("69", "Amazonas", True),
    ):
        PostalArea.objects.create(
            country="BR", prefix=prefix, latitude=-3.5, longitude=-60.25, name=name, region="north", is_region=is_region
        )


def books() -> tuple[list[Any], list[Any]]:
    """What a refused save must leave as it is."""
    return list(Warehouse.objects.order_by("id").values()), list(NetworkVersion.objects.order_by("part").values())


def place_of(client: Client, **fields: Any) -> str:
    warehouse = factories.warehouse()
    Warehouse.objects.filter(pk=warehouse.pk).update(**fields)
    form = client.get(change(MODEL, SP)).context["adminform"]
    [place] = [field.contents() for fieldset in form for line in fieldset for field in line if named(field) == "place"]
    return str(place)


def named(field: Any) -> str:
    name = field.field["name"] if field.is_readonly else field.field.name
    return str(name)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"latitude": 0.0, "longitude": 0.0}, "Known by its coordinates."),
        ({"latitude": 1.5, "longitude": 2.5, "postal_code": "01001-000"}, "Known by its coordinates."),
        (
            {"postal_code": "01001-000"},
            "Known by its postal code: Sé (BR 01001000, at -3.5, -60.25). The whole code is known.",
        ),
        (
            {"postal_code": "br 01310-100"},
            "Known by its postal code: São Paulo, SP (BR 01, at -3.5, -60.25). The code's beginning is known, which is "
            "a town or a part of one.",
        ),
        (
            {"postal_code": "69005-000"},
            "Known by its postal code: Amazonas (BR 69, at -3.5, -60.25). No more than a wide region is known, and "
            "this is its middle.",
        ),
        (
            {"postal_code": "PT 01001"},
            f"Not known, because no postal area has the beginning of its postal code. {LAST}",
        ),
        ({}, f"Not known, because it has neither coordinates nor a postal code. {LAST}"),
    ],
)
def test_a_warehouse_says_how_its_place_is_known(ana: Client, fields: dict[str, Any], sentence: str) -> None:
    assert place_of(ana, **fields) == sentence.replace("'", "&#x27;")


def test_the_form_for_a_new_warehouse_says_nothing_of_a_place(ana: Client) -> None:
    page = ana.get(ADD).content.decode()
    assert ("served_regions" in page, "field-place" in page, "field-created_at" in page) == (True, False, False)


@pytest.mark.parametrize(
    ("text", "regions"),
    [
        ("southeast, south", ["southeast", "south"]),
        (" north ,, central-west , ", ["north", "central-west"]),
        ("", []),
        (" , ", []),
    ],
)
def test_served_regions_are_written_with_commas(ana: Client, text: str, regions: list[str]) -> None:
    assert ana.post(ADD, {**FORM, "id": SP, "served_regions": text}).status_code == 302
    assert Warehouse.objects.get().served_regions == regions
    field = ana.get(change(MODEL, SP)).context["adminform"].form["served_regions"]
    assert field.value() == ", ".join(regions)


def test_served_regions_are_changed_and_taken_away(ana: Client) -> None:
    factories.warehouse()
    assert ana.post(change(MODEL, SP), {**FORM, "served_regions": "north"}).status_code == 302
    assert Warehouse.objects.get().served_regions == ["north"]
    assert ana.post(change(MODEL, SP), {**FORM, "served_regions": ""}).status_code == 302
    assert Warehouse.objects.get().served_regions == []


@pytest.mark.parametrize("text", ["north, north", "x" * 65, "nor\x07th", ", ".join(f"r{n}" for n in range(51))])
def test_served_regions_that_make_no_sense_are_a_form_error(ana: Client, text: str) -> None:
    factories.warehouse()
    before = books()
    response = ana.post(change(MODEL, SP), {**FORM, "served_regions": text})
    assert response.status_code == 200
    assert response.context["adminform"].form.errors == {
        "served_regions": [
            "Give a list of at most 50 regions, each once, of 1 to 64 printable characters without a comma."
        ]
    }
    assert f'value="{text}"' in response.content.decode()
    assert books() == before


def test_a_served_region_that_nothing_else_names_is_taken_and_told(ana: Client) -> None:
    factories.warehouse(PR, region="south")  # whose own region says nothing about where orders go to
    factories.warehouse()
    response = ana.post(change(MODEL, SP), {**FORM, "served_regions": "south, north, soth, nort"})
    assert Warehouse.objects.get(pk=SP).served_regions == ["south", "north", "soth", "nort"]
    assert told(ana, response)[0] == "Unknown served regions: nort, soth, south. No postal area belongs to them."


@pytest.mark.parametrize("stored", ["null", "5", '"south"', '[["a"]]', "[null]", '{"south": 1}', '["south", 5]'])
def test_served_regions_that_are_no_list_of_names_count_as_none_and_a_save_mends_them(
    ana: Client, log_in: Callable[..., Client], stored: str
) -> None:
    factories.warehouse()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE warehouse SET served_regions = %s", [stored])
    page = ana.get(change(MODEL, SP))
    assert ana.get(LIST).status_code == page.status_code == 200
    assert page.context["adminform"].form["served_regions"].value() is None
    clerk = log_in("eva", "view_warehouse")
    assert '<div class="readonly">all</div>' in clerk.get(change(MODEL, SP)).content.decode()
    assert ana.post(change(MODEL, SP), {**FORM, "served_regions": ""}).status_code == 302
    assert Warehouse.objects.get().served_regions == []


@pytest.mark.django_db(transaction=True)
def test_a_warehouse_that_somebody_else_changes_just_now_is_told(ana: Client) -> None:
    factories.warehouse()
    before = books()
    with database.session_of_its_own() as another, another.transaction():
        another.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        another.execute("SELECT FROM warehouse_network_version FOR UPDATE")
        response = ana.post(change(MODEL, SP), {**FORM, "name": "Another"})
        assert (response.status_code, response["Location"]) == (302, change(MODEL, SP))
        assert told(ana, response) == [BUSY]
    assert books() == before


def test_who_may_only_look_sees_the_place_and_saves_nothing(log_in: Callable[..., Client]) -> None:
    clerk = log_in("eva", "view_warehouse")
    assert place_of(clerk) == f"Not known, because it has neither coordinates nor a postal code. {LAST}"
    Warehouse.objects.update(served_regions=["north", "south"])
    before = list(Warehouse.objects.values())
    assert "north, south" in clerk.get(change(MODEL, SP)).content.decode()
    assert clerk.post(change(MODEL, SP), {**FORM, "served_regions": "north"}).status_code == 403
    assert list(Warehouse.objects.values()) == before


def test_a_small_number_of_degrees_can_be_sent_back_as_it_is_shown(ana: Client) -> None:
    factories.warehouse()
    Warehouse.objects.update(latitude=0.00001, longitude=-46.5)
    form = ana.get(change(MODEL, SP)).context["adminform"].form
    shown = {name: str(form[name].value()) for name in ("latitude", "longitude")}

    assert shown == {"latitude": "0.00001", "longitude": "-46.5"}
    assert ana.post(change(MODEL, SP), {**FORM, **shown, "name": "Another"}).status_code == 302
    assert Warehouse.objects.values_list("name", "latitude", "longitude").get() == ("Another", 0.00001, -46.5)
