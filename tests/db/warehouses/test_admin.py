from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from warehouses import catalogue
from warehouses.admin import WarehouseAdmin
from warehouses.models import Warehouse

pytestmark = pytest.mark.django_db

LIST = "/admin/warehouses/warehouse/"
CHANGE = f"{LIST}wh-sp-001/change/"
FORM = {
    "name": "DC Sao Paulo",
    "region": "southeast",
    "priority": "1",
    "postal_code": "",
    "latitude": "",
    "longitude": "",
}


@pytest.fixture
def staff(settings: Settings, admin_client: Client) -> Client:
    """A superuser with one warehouse to look at."""
    settings.SECURE_SSL_REDIRECT = False
    catalogue.upsert([Warehouse(id="wh-sp-001", name="DC Sao Paulo", region="southeast", priority=1)])
    return admin_client


def test_the_list_is_searched_and_filtered(staff: Client) -> None:
    assert reverse("admin:warehouses_warehouse_changelist") == LIST
    assert b"wh-sp-001" in staff.get(f"{LIST}?q=paulo").content
    assert b"0 warehouses" in staff.get(f"{LIST}?q=nowhere").content
    assert b"0 warehouses" in staff.get(f"{LIST}?is_active__exact=0").content


def test_a_warehouse_is_made_with_its_id(staff: Client) -> None:
    response = staff.post(f"{LIST}add/", {"id": "wh-mg-001", **FORM})
    assert response.status_code == 302
    assert Warehouse.objects.get(pk="wh-mg-001").is_active is True


def test_a_change_writes_the_form_but_neither_the_id_nor_whether_it_is_open(staff: Client) -> None:
    response = staff.post(CHANGE, {**FORM, "id": "wh-other", "name": "New name", "is_active": ""})
    assert response.status_code == 302
    [warehouse] = Warehouse.objects.all()
    assert (warehouse.id, warehouse.name, warehouse.is_active) == ("wh-sp-001", "New name", True)


def test_a_save_does_not_reopen_a_warehouse_closed_meanwhile(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model = WarehouseAdmin.save_model

    def closed_just_before(*args: Any, **kwargs: Any) -> None:
        Warehouse.objects.update(is_active=False)
        save_model(*args, **kwargs)

    monkeypatch.setattr(WarehouseAdmin, "save_model", closed_just_before)
    assert staff.post(CHANGE, {**FORM, "name": "New name"}).status_code == 302
    warehouse = Warehouse.objects.get()
    assert (warehouse.name, warehouse.is_active) == ("New name", False)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"latitude": "10"}, "Give both the latitude and the longitude, or none of them."),
        ({"latitude": "91", "longitude": "0"}, "The latitude is between -90 and 90."),
        ({"latitude": "0", "longitude": "181"}, "The longitude is between -180 and 180."),
        ({"priority": "0"}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_form_says_what_is_wrong_and_changes_nothing(
    staff: Client, changes: dict[str, str], sentence: str
) -> None:
    before = list(Warehouse.objects.values())
    response = staff.post(CHANGE, {**FORM, **changes})
    assert response.status_code == 200
    assert sentence in response.content.decode()
    assert list(Warehouse.objects.values()) == before


def test_an_id_of_another_form_is_refused(staff: Client) -> None:
    response = staff.post(f"{LIST}add/", {**FORM, "id": "WH 1"})
    assert response.status_code == 200
    assert "Lower-case letters, digits and hyphens only" in response.content.decode()
    assert Warehouse.objects.count() == 1


def test_a_warehouse_cannot_be_deleted(staff: Client) -> None:
    assert b"deletelink" not in staff.get(CHANGE).content
    assert b"delete_selected" not in staff.get(LIST).content
    assert staff.post(CHANGE.replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
    assert Warehouse.objects.count() == 1
