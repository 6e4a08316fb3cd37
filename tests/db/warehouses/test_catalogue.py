from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import IntegrityError, transaction
from pytest_django import DjangoAssertNumQueries

from inventory_project.foundation.errors import Invalid, NotFound
from warehouses import catalogue
from warehouses.catalogue import Result
from warehouses.models import Warehouse

pytestmark = pytest.mark.django_db


def saopaulo(**changes: object) -> Warehouse:
    values = {"id": "wh-sp-001", "name": "DC Sao Paulo", "region": "southeast", "priority": 1, **changes}
    return Warehouse(**values)


def rio() -> Warehouse:
    return Warehouse(id="wh-rj-001", name="DC Rio", region="southeast", priority=2)


def test_a_first_upsert_makes_the_warehouses_open() -> None:
    assert catalogue.upsert([saopaulo(), rio()]) == Result(created=2, changed=0, unchanged=0)
    assert set(Warehouse.objects.values_list("id", "is_active")) == {("wh-sp-001", True), ("wh-rj-001", True)}


def test_a_repeat_changes_nothing_not_even_the_time_of_change() -> None:
    catalogue.upsert([saopaulo(latitude=-23.5505, longitude=-46.6333), rio()])
    before = list(Warehouse.objects.order_by("id").values())
    again = catalogue.upsert([saopaulo(latitude=-23.5505, longitude=-46.6333), rio()])
    assert again == Result(created=0, changed=0, unchanged=2)
    assert list(Warehouse.objects.order_by("id").values()) == before


def test_the_served_regions_are_kept_and_taken_away_again() -> None:
    catalogue.upsert([saopaulo(served_regions=["southeast", "south"])])
    assert Warehouse.objects.get().served_regions == ["southeast", "south"]
    assert catalogue.upsert([saopaulo(served_regions=["southeast", "south"])]) == Result(0, 0, 1)
    assert catalogue.upsert([saopaulo()]) == Result(0, 1, 0)
    assert Warehouse.objects.get().served_regions == []


@pytest.mark.parametrize(
    ("text", "regions"),
    [("", []), (", served_regions: []", []), (", served_regions: [southeast, south]", ["southeast", "south"])],
)
def test_a_file_may_name_the_served_regions(tmp_path: Path, text: str, regions: list[str]) -> None:
    path = tmp_path / "warehouses.yaml"
    path.write_text(f"warehouses: [{{id: wh-a, name: A, region: n, priority: 1{text}}}]")
    catalogue.upsert(catalogue.load(path))
    assert Warehouse.objects.get().served_regions == regions


@pytest.mark.parametrize(
    "value",
    [
        "south",
        "null",
        "[7]",
        "[[south]]",
        "['']",
        '["so\\tuth"]',
        '[south, "south "]',
        "['a, b']",
        "[south, south]",
        str(["x" * 65]),
    ],
)
def test_served_regions_of_another_form_are_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "warehouses.yaml"
    path.write_text(f"warehouses: [{{id: wh-a, name: A, region: n, priority: 1, served_regions: {value}}}]")
    with pytest.raises(Invalid) as refusal:
        catalogue.load(path)
    [problem] = refusal.value.extra["problems"]
    assert problem.startswith(
        "Warehouse 1 (wh-a): served_regions must be a list of at most 50 regions, each once, of 1 to 64 printable "
        "characters without a comma, not "
    )
    assert Warehouse.objects.count() == 0


def test_a_list_of_fifty_served_regions_is_taken_and_one_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "warehouses.yaml"
    for number in (50, 51):
        names = ", ".join(f"r{i}" for i in range(number))
        path.write_text(f"warehouses: [{{id: wh-a, name: A, region: n, priority: 1, served_regions: [{names}]}}]")
        if number == 50:
            assert len(catalogue.load(path)[0].served_regions) == 50
    with pytest.raises(Invalid):
        catalogue.load(path)


def test_a_changed_warehouse_is_brought_up_to_date_and_keeps_when_it_was_made() -> None:
    catalogue.upsert([saopaulo(), rio()])
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    Warehouse.objects.update(created_at=long_ago, updated_at=long_ago)
    assert catalogue.upsert([rio(), saopaulo(priority=3, postal_code="01001-000")]) == Result(0, 1, 1)
    warehouse = Warehouse.objects.get(pk="wh-sp-001")
    assert (warehouse.priority, warehouse.postal_code) == (3, "01001-000")
    assert warehouse.created_at == long_ago
    assert warehouse.updated_at > long_ago
    assert Warehouse.objects.get(pk="wh-rj-001").updated_at == long_ago


def test_an_upsert_never_reopens_a_closed_warehouse() -> None:
    catalogue.upsert([saopaulo()])
    Warehouse.objects.update(is_active=False)
    assert catalogue.upsert([saopaulo(name="New name")]) == Result(0, 1, 0)
    assert Warehouse.objects.get().is_active is False


def test_a_warehouse_the_file_does_not_name_stays_as_it_is() -> None:
    catalogue.upsert([saopaulo(), rio()])
    assert catalogue.upsert([saopaulo()]) == Result(0, 0, 1)
    assert Warehouse.objects.count() == 2


@pytest.mark.parametrize("number", [1, 50])
def test_an_upsert_takes_as_many_statements_for_one_as_for_many(
    number: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    warehouses = [Warehouse(id=f"wh-{i}", name="DC", region="north", priority=1) for i in range(number)]
    with django_assert_num_queries(4):  # a savepoint, lock, insert, its release
        catalogue.upsert(warehouses)


def test_a_warehouse_is_found_by_its_id_or_refused() -> None:
    catalogue.upsert([rio()])
    assert catalogue.get("wh-rj-001").name == "DC Rio"
    for missing in ("wh-none", "", "WH-RJ-001", "wh-rj-001\n", "a\x00b", "x" * 100_000):
        with pytest.raises(NotFound):
            catalogue.get(missing)


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"id": "WH-1"}, "warehouse_id_is_lower_case_letters_digits_and_hyphens"),
        ({"id": "-wh"}, "warehouse_id_is_lower_case_letters_digits_and_hyphens"),
        ({"id": "wh\n"}, "warehouse_id_is_lower_case_letters_digits_and_hyphens"),
        ({"id": ""}, "warehouse_id_is_lower_case_letters_digits_and_hyphens"),
        ({"priority": 0}, "warehouse_priority_is_positive"),
        ({"latitude": 1.0}, "warehouse_has_both_coordinates_or_none"),
        ({"longitude": 1.0}, "warehouse_has_both_coordinates_or_none"),
        ({"latitude": -90.01, "longitude": 0.0}, "warehouse_latitude_is_within_90_degrees"),
        ({"latitude": float("nan"), "longitude": 0.0}, "warehouse_latitude_is_within_90_degrees"),
        ({"latitude": 0.0, "longitude": 180.01}, "warehouse_longitude_is_within_180_degrees"),
    ],
)
def test_the_database_refuses_what_is_no_warehouse(changes: dict[str, object], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        saopaulo(**changes).save(force_insert=True)
    assert Warehouse.objects.count() == 0


def test_a_first_add_creates_the_warehouses_and_a_repeat_changes_nothing() -> None:
    assert catalogue.add([saopaulo(), rio()]) == Result(created=2, changed=0, unchanged=0, kept=0)
    before = list(Warehouse.objects.order_by("id").values())

    assert catalogue.add([rio(), saopaulo()]) == Result(created=0, changed=0, unchanged=2, kept=0)

    assert list(Warehouse.objects.order_by("id").values()) == before


def test_an_add_leaves_what_staff_have_edited() -> None:
    catalogue.add([saopaulo(), rio()])
    Warehouse.objects.filter(pk="wh-sp-001").update(
        priority=9, served_regions=["south"], name="Edited", is_active=False
    )
    before = list(Warehouse.objects.order_by("id").values())

    result = catalogue.add([saopaulo(), rio(), saopaulo(id="wh-new")])

    assert result == Result(created=1, changed=0, unchanged=1, kept=1)
    assert str(result) == "1 created, 0 updated, 1 unchanged, 1 left as they are"
    assert list(Warehouse.objects.exclude(pk="wh-new").order_by("id").values()) == before


@pytest.mark.parametrize("number", [1, 50])
def test_an_add_takes_as_many_statements_for_one_as_for_many(
    number: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    warehouses = [Warehouse(id=f"wh-{i}", name="DC", region="north", priority=1) for i in range(number)]
    with django_assert_num_queries(4):  # a savepoint, look, insert, its release
        catalogue.add(warehouses)
