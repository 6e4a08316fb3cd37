"""The warehouses, postal areas and policies in memory are those of the database, and are read once for each change."""

import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from inventory_project.foundation import database
from tests import factories
from tests.factories import PR, RJ, SP
from warehouses import network
from warehouses.allocation import policies
from warehouses.allocation.geography import Point, PostalAreas
from warehouses.allocation.policies import Policy
from warehouses.allocation.preferences import Place
from warehouses.models import AllocationPolicy, NetworkVersion, PostalArea, Warehouse
from warehouses.network import Network

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _warehouses(transactional_db: None) -> None:
    factories.warehouse(SP)
    PostalArea.objects.create(country="BR", prefix="01", latitude=-23.55, longitude=-46.63, name="São Paulo")


def current() -> Network:
    return network.current()()


def statements(work: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        work()
    return [query["sql"] for query in captured.captured_queries]


def elsewhere(work: Callable[[], T]) -> T:
    """Done by another connection, and committed."""

    def run() -> T:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


# --- read once -----------------------------------------------------------------------------------------------------


def test_it_is_read_by_one_short_statement_while_nothing_changes_and_by_two_or_three_more_after_a_change() -> None:
    first = current()
    for _ in range(3):
        assert statements(current) == ["SELECT part, version FROM warehouse_network_version"]
    assert current() is first

    Warehouse.objects.filter(pk=SP).update(priority=7)
    assert tables(statements(current)) == ["warehouse_network_version", "warehouse", "warehouse_allocation_policy"]
    assert len(statements(current)) == 1
    assert current().sites[SP].priority == 7

    # The areas are many, and are read again only where one of them has changed.
    PostalArea.objects.create(country="BR", prefix="9", latitude=0, longitude=0, name="A")
    assert tables(statements(current)) == [
        "warehouse_network_version",
        "warehouse_postal_area",
        "warehouse",
        "warehouse_allocation_policy",
    ]
    assert len(statements(current)) == 1


def tables(statements: list[str]) -> list[str]:
    return [sql.partition("FROM")[2].split()[0].strip('"') for sql in statements]


def test_places_that_were_worked_out_are_kept_until_something_changes() -> None:
    view = current().seen_from("01310-100")
    assert view[SP] == Place(SP, "southeast", 1, None, True)
    assert current().seen_from("01999999") is view
    Warehouse.objects.filter(pk=SP).update(latitude=-23.55, longitude=-46.63)
    assert current().seen_from("01310-100")[SP] == Place(SP, "southeast", 1, 0.0, True)


def test_no_more_views_are_kept_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "KEPT_PLACES", 1)
    PostalArea.objects.create(country="BR", prefix="80", latitude=-25.4, longitude=-49.3, name="Curitiba")
    seen = current()
    view = seen.seen_from("01310-100")
    assert seen.seen_from("01310-100") is view
    assert seen.seen_from("80010-000") is not view
    assert seen.seen_from("01310-100") is not view


def test_codes_of_which_nothing_is_known_share_one_view_so_that_garbage_fills_no_memory() -> None:
    seen = current()
    assert seen.seen_from("garbage") is seen.seen_from("99999-999")
    assert seen.seen_from("garbage") is not seen.seen_from("")
    assert [seen.seen_from(code).delivery.notes for code in ("", "x")] == [
        ("no_postal_code",),
        ("unknown_postal_code",),
    ]


# --- changes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "look", "before", "after"),
    [
        (lambda: Warehouse.objects.update(priority=2), lambda n: n.sites[SP].priority, 1, 2),
        (lambda: factories.warehouse(RJ), lambda n: sorted(n.sites), [SP], [RJ, SP]),
        (
            lambda: PostalArea.objects.create(country="BR", prefix="013", latitude=0, longitude=0, name="Centro"),
            lambda n: n.seen_from("01310").delivery.name,
            "São Paulo",
            "Centro",
        ),
        (
            lambda: AllocationPolicy.objects.create(preferences=["nearest"], split="never"),
            lambda n: n.seen_from("").delivery.policy.split,
            "fewest_parcels",
            "never",
        ),
    ],
    ids=["priority", "warehouse", "area", "policy"],
)
def test_what_another_process_has_changed_holds_from_the_next_look(
    change: Callable[[], object], look: Callable[[Network], Any], before: Any, after: Any
) -> None:
    assert look(current()) == before
    elsewhere(change)
    assert look(current()) == after


def test_what_is_not_committed_is_seen_by_nobody_else() -> None:
    current()
    with transaction.atomic():
        Warehouse.objects.update(priority=2)
        assert elsewhere(lambda: NetworkVersion.objects.get(pk="places").version) == network._kept.version["places"]
    assert current().sites[SP].priority == 2


def test_a_change_that_was_rolled_back_is_not_kept() -> None:
    before = current()
    with transaction.atomic():
        Warehouse.objects.update(priority=9)
        assert current().sites[SP].priority == 9
        transaction.set_rollback(True)
    assert current().sites == before.sites
    assert current().version == before.version
    assert len(statements(current)) == 1


def test_without_a_version_it_is_read_each_time() -> None:
    NetworkVersion.objects.all().delete()
    assert [len(statements(current)) for _ in range(2)] == [4, 4]
    assert current().sites.keys() == {SP}


# --- recent --------------------------------------------------------------------------------------------------------


@pytest.fixture
def looked_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_looked_at", time.monotonic() - 60)


@pytest.mark.usefixtures("looked_long_ago")
def test_recent_asks_the_database_once_in_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "SELECT part, version FROM warehouse_network_version" in statements(network.recent)
    monkeypatch.setattr(network, "RECENT_SECONDS", 3_600.0)
    elsewhere(lambda: Warehouse.objects.update(priority=2))
    assert statements(network.recent) == []
    assert network.recent().sites[SP].priority == 1
    monkeypatch.setattr(network, "RECENT_SECONDS", 0.0)
    assert network.recent().sites[SP].priority == 2


@pytest.mark.usefixtures("looked_long_ago")
def test_recent_answers_with_what_was_last_seen_while_the_database_does_not_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = current()
    with database.session_of_its_own() as session, session.transaction():
        session.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # the look waits for as long as a lock may
        session.execute("LOCK TABLE warehouse_network_version IN ACCESS EXCLUSIVE MODE")
        with caplog.at_level(logging.WARNING, logger="warehouses.network"):
            assert network.recent() is seen
    assert caplog.messages == ["the warehouses, postal areas and policies cannot be read; those last seen are used"]


def test_who_asks_while_it_is_read_for_the_first_time_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "RECENT_SECONDS", 3_600.0)
    monkeypatch.setattr(network, "_looked_at", -7_200.0)
    monkeypatch.setattr(network, "_kept", Network(network.UNVERSIONED, {}, PostalAreas([], home="BR"), {}))
    read = network._read

    def slowly(*arguments: Any, **options: Any) -> Network:
        time.sleep(0.3)
        return read(*arguments, **options)

    monkeypatch.setattr(network, "_read", slowly)

    def seen() -> set[str]:
        try:
            return set(network.recent().sites)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert [answer.result() for answer in [pool.submit(seen) for _ in range(4)]] == [{SP}] * 4


@pytest.mark.parametrize("odd", ["null", "5", '"south"', '[["a"]]', "[null]", "{}"])
def test_served_regions_that_are_no_list_of_names_stop_no_sale(odd: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE warehouse SET served_regions = %s", [odd])
    assert current().sites[SP].served_regions == frozenset()


# --- where warehouses are ------------------------------------------------------------------------------------------


def test_a_warehouse_lies_where_its_coordinates_say_else_where_its_postal_code_does_else_nowhere() -> None:
    Warehouse.objects.filter(pk=SP).update(latitude=1.5, longitude=2.5, postal_code="01001-000")
    Warehouse.objects.filter(pk=factories.warehouse(RJ).pk).update(postal_code="01001-000")
    Warehouse.objects.filter(pk=factories.warehouse(PR).pk).update(postal_code="80020-100")
    seen = current()
    points = {site.warehouse_id: site.point for site in seen.sites.values()}
    assert points == {SP: Point(1.5, 2.5), RJ: Point(-23.55, -46.63), PR: None}
    view = seen.seen_from("01310")
    assert {key: view[key].is_by_postal_code for key in points} == {SP: False, RJ: True, PR: False}


def test_a_code_that_names_no_country_is_of_the_one_that_is_set(settings: Settings) -> None:
    settings.POSTAL_COUNTRY = "PT"
    PostalArea.objects.create(country="PT", prefix="01", latitude=38.7, longitude=-9.1, name="Lisboa")
    seen = current()
    assert seen.seen_from("01310").delivery.name == "Lisboa"
    assert seen.seen_from("BR 01310").delivery.name == "São Paulo"


def test_a_warehouse_that_is_not_known_is_shown_by_its_id_and_not_kept() -> None:
    view = current().seen_from("")
    assert view["wh-none"] == Place("wh-none", "", 0)
    assert "wh-none" not in view


def test_a_warehouse_serves_the_regions_it_names_and_one_that_names_none_serves_all() -> None:
    Warehouse.objects.filter(pk=SP).update(served_regions=["south"])
    factories.warehouse(RJ)
    for prefix, region in (("80", "south"), ("69", "north"), ("7", "")):
        PostalArea.objects.create(country="BR", prefix=prefix, latitude=0, longitude=0, name=prefix, region=region)
    seen = current()
    serving = {
        code: [key for key in (SP, RJ) if seen.seen_from(code)[key].is_serving] for code in ("80", "69", "7", "")
    }
    assert serving == {"80": [SP, RJ], "69": [RJ], "7": [SP, RJ], "": [SP, RJ]}
    assert seen.seen_from("69").delivery.notes == ()
    assert seen.seen_from("7").delivery.notes == ("served_regions_unchecked",)


# --- policies ------------------------------------------------------------------------------------------------------


def insert_policy(preferences: object, *, split: str = "fewest_parcels", region: str = "") -> None:
    """Past the admin, which would have refused what makes no sense."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO warehouse_allocation_policy (region, preferences, tolerance_km, split, updated_at)"
            " VALUES (%s, %s, 50, %s, now())",
            [region, json.dumps(preferences), split],
        )


def test_policies_are_those_of_the_database() -> None:
    AllocationPolicy.objects.create(region="south", preferences=["nearest"], split="at_most", most_parcels=2)
    AllocationPolicy.objects.create(preferences=["priority", "balance"], split="by_line", tolerance_km=0)
    assert current().policies == {
        "south": Policy(region="south", preferences=("nearest",), split="at_most", most_parcels=2),
        "": Policy(preferences=("priority", "balance"), split="by_line", tolerance_km=0.0),
    }


def test_without_any_policy_the_built_in_one_holds() -> None:
    assert current().policies == {}
    assert current().seen_from("01310-100").delivery.policy is policies.BUILT_IN
    assert current().seen_from("01310-100").delivery.notes == ()


@pytest.mark.parametrize(
    ("preferences", "split", "why"),
    [
        ([], "never", "Name at least one preference"),
        (["nearest", "fewest_parcels"], "fewest_parcels", "These contradict each other"),
        (["cheapest"], "never", "There is no preference 'cheapest'"),
        (["nearest", "nearest"], "never", "A preference is named twice"),
        (["nearest"], "always", "The split is one of"),
        ("nearest", "never", "Name at least one preference"),
        ({"nearest": 1}, "never", "Name at least one preference"),
        ([["nearest"], {}, 5, None], "never", "There is no preference ['nearest']"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_replaced_by_the_built_in_one_noted_and_logged(
    preferences: object, split: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    insert_policy(preferences, split=split)
    with caplog.at_level(logging.WARNING, logger="warehouses.network"):
        delivery = current().seen_from("01310-100").delivery
        current()
    assert (delivery.policy, delivery.notes) == (policies.BUILT_IN, ("unusable_policy",))
    [record] = caplog.records
    assert record.getMessage() == "a policy cannot be followed, the built-in one is used"
    assert vars(record)["problems"].startswith(why)


def test_an_unusable_policy_of_one_region_leaves_the_others_alone() -> None:
    PostalArea.objects.update(region="southeast")
    insert_policy([], region="southeast")
    insert_policy(["priority"], split="by_line")
    seen = current()
    assert seen.seen_from("01310").delivery.notes == ("unusable_policy",)
    assert seen.seen_from("01310").delivery.policy is policies.BUILT_IN
    assert seen.seen_from("").delivery.policy.split == "by_line"
