"""The table of postal areas becomes what a file says of its countries, wholly or not at all."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as service
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries, Settings

from inventory_project.foundation.errors import Invalid
from tests import factories
from warehouses import network, postal_areas
from warehouses.allocation.geography import UNKNOWN, Area, Location, Point
from warehouses.files import Replaced
from warehouses.models import AllocationPolicy, NetworkVersion, PostalArea, Warehouse

pytestmark = pytest.mark.django_db

HEADER = "country,prefix,latitude,longitude,name,region,kind"
LOADED = "Postal areas of BR: 2 created, 0 updated, 0 unchanged, 0 deleted.\n"


def area(prefix: str, country: str = "BR", **changes: Any) -> PostalArea:
    values = {"latitude": -23.55, "longitude": -46.63, "name": "São Paulo, SP", "region": "southeast", **changes}
    return PostalArea(country=country, prefix=prefix, **values)


def table() -> list[dict[str, Any]]:
    return [dict(row) for row in PostalArea.objects.order_by("id").values()]


def prefixes(country: str = "BR") -> set[str]:
    return set(PostalArea.objects.filter(country=country).values_list("prefix", flat=True))


def version() -> str | None:
    return NetworkVersion.objects.values_list("version", flat=True).first()


def writes(areas: Sequence[PostalArea], *, may_shrink: bool = False) -> list[str]:
    """The first words of the statements that write."""
    with CaptureQueriesContext(connection) as queries:
        postal_areas.replace(areas, may_shrink=may_shrink)
    words = [query["sql"].split()[0] for query in queries]
    return [word for word in words if word in ("INSERT", "UPDATE", "DELETE")]


# --- replace -------------------------------------------------------------------------------------------------------


def test_a_first_load_makes_the_areas_as_they_are_given() -> None:
    assert postal_areas.replace([area("013"), area("69", name="Amazonas", region="", is_region=True)]) == Replaced(
        2, 0, 0, 0
    )
    columns = ("country", "prefix", "latitude", "longitude", "name", "region", "is_region")
    assert list(PostalArea.objects.order_by("prefix").values_list(*columns)) == [
        ("BR", "013", -23.55, -46.63, "São Paulo, SP", "southeast", False),
        ("BR", "69", -23.55, -46.63, "Amazonas", "", True),
    ]


def test_a_degree_keeps_all_its_digits() -> None:
    degrees = 0.1 + 0.2 - 46
    postal_areas.replace([area("013", longitude=degrees)])
    assert PostalArea.objects.get().longitude == degrees
    assert postal_areas.replace([area("013", longitude=degrees)]) == Replaced(0, 0, 1, 0)


def test_a_repeat_writes_nothing_and_nobody_need_read_anew() -> None:
    areas = [area("013"), area("014"), area("1000", "PT")]
    postal_areas.replace(areas)
    before = (table(), version())
    assert writes(areas) == []
    assert postal_areas.replace(areas) == Replaced(created=0, changed=0, unchanged=3, deleted=0)
    assert (table(), version()) == before


def test_the_areas_of_a_country_become_those_of_the_file() -> None:
    postal_areas.replace([area("013"), area("014"), area("015"), area("1000", "PT")])
    ids = dict(PostalArea.objects.values_list("prefix", "id"))
    new = [area("014", name="Jardins"), area("013"), area("016")]
    assert postal_areas.replace(new) == Replaced(created=1, changed=1, unchanged=1, deleted=1)
    assert prefixes() == {"013", "014", "016"}
    assert PostalArea.objects.get(prefix="014").name == "Jardins"
    assert {prefix: PostalArea.objects.get(prefix=prefix).id for prefix in ("013", "014", "1000")} == {
        prefix: ids[prefix] for prefix in ("013", "014", "1000")
    }


def test_a_file_in_which_most_areas_are_missing_is_taken_only_when_it_is_meant() -> None:
    areas = [PostalArea(country="PT", prefix=str(i), latitude=38.7, longitude=-9.1, name="Lisboa") for i in range(1, 6)]
    postal_areas.replace(areas)
    with pytest.raises(Invalid, match="3 of the 5 areas of PT are not in the file"):
        postal_areas.replace(areas[:2])
    assert PostalArea.objects.count() == 5
    assert postal_areas.replace(areas[:2], may_shrink=True) == Replaced(created=0, changed=0, unchanged=2, deleted=3)


def test_regions_that_nothing_lies_in_though_policies_or_warehouses_name_them_are_told() -> None:
    postal_areas.replace([PostalArea(country="PT", prefix="1", latitude=38.7, longitude=-9.1, name="A", region="sul")])
    AllocationPolicy.objects.create(region="south", preferences=["nearest"], split="never")
    AllocationPolicy.objects.create(preferences=["nearest"], split="never")
    factories.warehouse()
    Warehouse.objects.update(served_regions=["sul", "north"])
    assert postal_areas.warning_of_unknown_regions() == (
        "No order uses these regions of policies or warehouses, because no postal area lies in them: north, south."
    )


@pytest.mark.parametrize(
    "change",
    [{"latitude": 0.0}, {"longitude": 0.0}, {"name": "Osasco, SP"}, {"region": "south"}, {"is_region": True}],
)
def test_each_column_is_compared(change: dict[str, Any]) -> None:
    postal_areas.replace([area("013")])
    assert postal_areas.replace([area("013", **change)]) == Replaced(0, 1, 0, 0)
    [row] = table()
    assert {name: row[name] for name in change} == change


def test_no_areas_name_no_country_and_change_nothing() -> None:
    postal_areas.replace([area("013")])
    before = (table(), version())
    assert postal_areas.replace([]) == Replaced(0, 0, 0, 0)
    assert (table(), version()) == before


def test_many_areas_cost_a_statement_for_each_thousand() -> None:
    many = [area(f"{number:05}") for number in range(2_500)]
    assert writes(many) == ["INSERT"] * 3
    assert writes([area(row.prefix, name="Other") for row in many]) == ["UPDATE"] * 3
    assert writes([area("9")], may_shrink=True) == ["DELETE"] * 3 + ["INSERT"]
    assert prefixes() == {"9"}


def test_progress_ends_with_the_number_of_areas() -> None:
    postal_areas.replace([area("013"), area("014"), area("015")])
    told: list[int] = []
    postal_areas.replace([area("013"), area("014", name="Jardins"), area("016")], on_progress=told.append)
    assert told == [1, 1, 1]


def test_what_fails_in_the_middle_leaves_no_trace() -> None:
    postal_areas.replace([area("013"), area("014")])
    before = (table(), version())
    with pytest.raises(IntegrityError, match="postal_area_lies_on_the_earth"), transaction.atomic():
        postal_areas.replace([area("013", name="Other"), area("015", latitude=91.0)])
    assert (table(), version()) == before


def test_the_areas_of_all_countries_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert postal_areas.MAX_AREAS == 100_000
    monkeypatch.setattr(postal_areas, "MAX_AREAS", 3)
    postal_areas.replace([area("013"), area("1000", "PT"), area("1100", "PT")])
    before = (table(), version())
    with pytest.raises(Invalid) as refusal:
        postal_areas.replace([area("013"), area("014")])
    assert refusal.value.detail == (
        "There would be 4 postal areas, 2 of them of other countries; at most 3 can be kept, because each process "
        "has all of them in memory. Nothing was changed."
    )
    assert (table(), version()) == before
    # For the one that goes another may come.
    assert postal_areas.replace([area("014")], may_shrink=True) == Replaced(1, 0, 0, 1)


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"latitude": 90.1}, "postal_area_lies_on_the_earth"),
        ({"latitude": float("nan")}, "postal_area_lies_on_the_earth"),
        ({"longitude": -180.1}, "postal_area_lies_on_the_earth"),
        ({"prefix": "013"}, "postal_area_is_one_for_each_prefix"),
    ],
)
def test_the_database_refuses_what_is_no_area(changes: dict[str, Any], constraint: str) -> None:
    area("013").save(force_insert=True)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        area(**{"prefix": "014", **changes}).save(force_insert=True)
    assert prefixes() == {"013"}


# --- looking up ----------------------------------------------------------------------------------------------------


def test_a_code_is_located_by_one_select(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    postal_areas.replace([area("013"), area("0", is_region=True), area("013", "PT", name="Lisboa"), area("9")])
    with django_assert_num_queries(1):
        found = postal_areas.locate("01310-100")
    point = Point(-23.55, -46.63)
    assert found == Location(Area("BR", "013", point, "São Paulo, SP", "southeast", False), "prefix")
    assert postal_areas.locate("PT 013") == Location(Area("PT", "013", point, "Lisboa", "southeast", False), "exact")
    assert postal_areas.locate("09").precision == "region"
    for code in ("55", "", "ES 013", "\x00", "x" * 16):
        assert postal_areas.locate(code) == UNKNOWN


def test_a_code_without_a_country_is_of_the_country_that_is_set(settings: Settings) -> None:
    postal_areas.replace([area("013"), area("013", "PT", name="Lisboa")])
    settings.POSTAL_COUNTRY = "PT"
    found = postal_areas.locate("013"), postal_areas.locate("BR 013")
    assert [location.area.name for location in found if location.area] == ["Lisboa", "São Paulo, SP"]


def test_the_known_regions_are_those_of_areas_alone(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    factories.warehouse("wh-pr-001", region="south")
    assert postal_areas.known_regions() == []
    postal_areas.replace([area("013"), area("014"), area("69", region="north"), area("7", region="")])
    with django_assert_num_queries(1):
        assert postal_areas.known_regions() == ["north", "southeast"]


# --- British codes -------------------------------------------------------------------------------------------------

BRITISH = "\n".join(
    [
        HEADER,
        "GB,KW1,58.44,-3.09,Wick,scotland,place",
        "GB,KW15,58.98,-2.96,Kirkwall,islands,place",
        "GB,PA3,55.85,-4.43,Paisley,scotland,place",
        "GB,PA32,56.23,-5.07,Inveraray,scotland,place",
        "GB,E1 7,51.52,-0.07,Spitalfields,england,place",
        "GB,E1,51.52,-0.06,Whitechapel,england,place",
        "GB,E17,51.58,-0.02,Walthamstow,england,place",
        "GB,ec1a1bb,51.52,-0.1,Aldersgate,england,place",
    ]
)
BRITISH_PLACES = [
    ("GB KW1 5NS", "Wick", "scotland"),
    ("GB KW15NS", "Wick", "scotland"),
    ("GB KW15 1NS", "Kirkwall", "islands"),
    ("GB PA3 2SW", "Paisley", "scotland"),
    ("GB PA32 8XU", "Inveraray", "scotland"),
    ("GB E1 7HT", "Spitalfields", "england"),
    ("GB E1 6HT", "Whitechapel", "england"),
    ("GB E17 7HT", "Walthamstow", "england"),
    ("GB EC1A 1BB", "Aldersgate", "england"),
]


@pytest.fixture
def british(tmp_path: Path) -> list[PostalArea]:
    """The areas of a file of British districts, loaded."""
    path = tmp_path / "british.csv"
    path.write_text(BRITISH)
    areas = postal_areas.load(path)
    postal_areas.replace(areas)
    return areas


def test_a_british_prefix_is_stored_with_a_space_behind_its_district(british: list[PostalArea]) -> None:
    assert prefixes("GB") == {"KW1", "KW15", "PA3", "PA32", "E1 7", "E1", "E17", "EC1A 1BB"}
    assert postal_areas.replace(british) == Replaced(created=0, changed=0, unchanged=8, deleted=0)


@pytest.mark.parametrize(("code", "name", "region"), BRITISH_PLACES)
def test_a_british_code_has_the_place_and_the_region_of_its_district(
    british: list[PostalArea], code: str, name: str, region: str
) -> None:
    area = postal_areas.locate(code).area
    delivery = network.current()().seen_from(code).delivery

    assert area is not None
    assert (area.name, delivery.name, delivery.region) == (name, name, region)


def test_an_order_to_wick_is_served_from_the_mainland(british: list[PostalArea]) -> None:
    product = factories.product({"wh-inv-1": 5, "wh-kirkwall": 5})
    Warehouse.objects.filter(pk="wh-inv-1").update(served_regions=["scotland"])
    Warehouse.objects.filter(pk="wh-kirkwall").update(served_regions=["islands"])

    held = factories.hold(product.pk, 2, delivery_postal_code="GB KW1 5NS")
    other = factories.hold(product.pk, 2, delivery_postal_code="GB KW15 1NS")

    assert [line.warehouse_id for line in (*held.lines, *other.lines)] == ["wh-inv-1", "wh-kirkwall"]


def test_a_warehouse_is_placed_by_the_district_of_its_british_code(british: list[PostalArea]) -> None:
    factories.warehouse("wh-wick")
    Warehouse.objects.update(postal_code="GB KW1 5NS")

    assert network.current()().sites["wh-wick"].point == Point(58.44, -3.09)


def test_british_codes_that_were_stored_without_their_space_keep_their_meaning(british: list[PostalArea]) -> None:
    PostalArea.objects.filter(prefix="EC1A 1BB").update(prefix="EC1A1BB")
    before = table()

    found = [postal_areas.locate(code).area for code, _, _ in BRITISH_PLACES]
    seen = [network.current()().seen_from(code).delivery.name for code, _, _ in BRITISH_PLACES]

    assert [area.name for area in found if area] == seen == [name for _, name, _ in BRITISH_PLACES]
    assert postal_areas.replace(british) == Replaced(created=0, changed=0, unchanged=8, deleted=0)
    assert table() == before


def test_regions_that_were_stored_in_another_form_are_the_same_regions() -> None:
    composed, decomposed = "paran\u00e1", "parana\u0301"
    area("01", region=decomposed).save(force_insert=True)
    factories.warehouse()
    Warehouse.objects.update(served_regions=[composed])
    AllocationPolicy.objects.create(region=composed, preferences=["balance"], split="never")

    seen = network.current()().seen_from("01310-100")

    assert (seen.delivery.region, seen.delivery.policy.preferences) == (composed, ("balance",))
    assert seen[factories.SP].is_serving
    assert (postal_areas.known_regions(), postal_areas.warning_of_unknown_regions()) == ([composed], "")


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two areas of Brazil."""
    path = tmp_path / "areas.csv"
    rows = ("BR,013,-23.55,-46.63,São Paulo,southeast,place", "BR,69,-3.119,-60.0217,Amazonas,north,region")
    path.write_text("\n".join([HEADER, *rows]))
    return path


def load(path: Path) -> str:
    output = StringIO()
    call_command("load_postal_areas", path, stdout=output)
    return output.getvalue()


def test_the_command_tells_what_it_did(file: Path) -> None:
    assert load(file) == LOADED
    assert load(file) == "Postal areas of BR: 0 created, 0 updated, 2 unchanged, 0 deleted.\n"
    file.write_text("\n".join([HEADER, *[f"PT,{n},38.7,-9.1,Lisboa,,place" for n in range(1_000, 2_234)]]))
    assert load(file) == "Postal areas of PT: 1,234 created, 0 updated, 0 unchanged, 0 deleted.\n"
    assert prefixes() == {"013", "69"}


def test_the_command_names_every_country_of_the_file(file: Path) -> None:
    file.write_text(f"{file.read_text()}\nAR,1,-34.6,-58.4,Buenos Aires,,place")
    assert load(file) == "Postal areas of AR, BR: 3 created, 0 updated, 0 unchanged, 0 deleted.\n"


def test_a_wrong_file_ends_the_command_with_its_sentences_and_changes_nothing(file: Path) -> None:
    load(file)
    before = (table(), version())
    file.write_text(f"{HEADER}\nBR,014,-23,-46,Jardins,southeast,place\nBR,015,91,-46,A,southeast,town")
    with pytest.raises(CommandError) as error:
        load(file)
    assert str(error.value) == (
        f"{file}: Line 3: latitude must be degrees between -90 and 90, such as -23.55, not '91'. "
        "Line 3: kind must be one of place, region, not 'town'."
    )
    assert error.value.returncode == 1
    assert (table(), version()) == before


# --- the file of the project ---------------------------------------------------------------------------------------


def seed() -> list[str]:
    output = StringIO()
    call_command("seed", "--warehouses", stdout=output)
    return output.getvalue().splitlines()


def test_a_seed_loads_the_areas_of_brazil_where_there_are_none() -> None:
    first = seed()
    assert first == [
        "Warehouses: 3 created, 0 updated, 0 unchanged.",
        f"Postal areas of BR: {PostalArea.objects.count():,} created, 0 updated, 0 unchanged, 0 deleted.",
    ]
    assert postal_areas.locate("01310-100").precision == "prefix"
    before = (table(), version())
    assert seed() == ["Warehouses: 0 created, 0 updated, 3 unchanged."]
    assert (table(), version()) == before


def test_a_seed_leaves_other_areas_alone() -> None:
    area("1000", "PT").save(force_insert=True)
    before = table()
    assert seed() == ["Warehouses: 3 created, 0 updated, 0 unchanged."]
    assert table() == before


def test_the_file_of_the_project_is_loaded_in_few_statements_and_again_in_none() -> None:
    areas = postal_areas.load(service.BASE_DIR / "fixtures" / "postal_areas_br.csv")
    assert writes(areas) == ["INSERT"] * -(-len(areas) // 1_000)
    assert postal_areas.replace(areas) == Replaced(created=0, changed=0, unchanged=len(areas), deleted=0)
