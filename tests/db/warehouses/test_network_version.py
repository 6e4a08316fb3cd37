"""Every change of a warehouse, an area or a policy gives the network's version a new value; nothing else does."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection, transaction

from stock.models import StockLevel
from tests import factories
from tests.factories import SP
from tests.service import environment, manage
from warehouses import catalogue, postal_areas
from warehouses.models import AllocationPolicy, NetworkVersion, PostalArea, Warehouse

pytestmark = pytest.mark.django_db

TABLES = ("warehouse", "warehouse_postal_area", "warehouse_allocation_policy")


@pytest.fixture(autouse=True)
def _network(db: None) -> None:
    """A row of each table."""
    factories.warehouse()
    PostalArea.objects.create(country="BR", prefix="013", latitude=-23.5, longitude=-46.6, name="A")
    AllocationPolicy.objects.create(region="south", preferences=["nearest"], split="never")


def version() -> str:
    return "".join(NetworkVersion.objects.order_by("part").values_list("version", flat=True))


def sql(statement: str) -> Callable[[], None]:
    def run() -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    return run


WAREHOUSE = "name, region, priority, postal_code, served_regions, is_active, created_at, updated_at"
AREA = "country, prefix, latitude, longitude, name, region, is_region"
POLICY = "region, preferences, tolerance_km, split, updated_at"
CHANGES: dict[str, Callable[[], object]] = {
    "a warehouse made": lambda: factories.warehouse("wh-new"),
    "a warehouse changed": lambda: Warehouse.objects.filter(pk=SP).update(priority=2),
    "a warehouse closed": lambda: Warehouse.objects.get(pk=SP).save(update_fields=["is_active"]),
    "a warehouse deleted": lambda: Warehouse.objects.filter(pk=SP).delete(),
    "an area made": lambda: PostalArea.objects.create(country="BR", prefix="1", latitude=0, longitude=0, name="B"),
    "an area changed": lambda: PostalArea.objects.update(name="B"),
    "an area deleted": lambda: PostalArea.objects.get().delete(),
    "a policy made": lambda: AllocationPolicy.objects.create(preferences=["nearest"], split="never"),
    "a policy changed": lambda: AllocationPolicy.objects.update(tolerance_km=7),
    "a policy deleted": lambda: AllocationPolicy.objects.get().delete(),
    "SQL makes a warehouse": sql(
        f"INSERT INTO warehouse (id, {WAREHOUSE}) SELECT 'wh-sql', {WAREHOUSE} FROM warehouse"  # noqa: S608
    ),
    "SQL changes a warehouse": sql("UPDATE warehouse SET latitude = 1, longitude = 1"),
    "SQL deletes a warehouse": sql("DELETE FROM warehouse"),
    "SQL makes an area": sql(
        f"INSERT INTO warehouse_postal_area ({AREA}) VALUES ('BR', '2', 0, 0, 'C', '', false)"  # noqa: S608
    ),
    "SQL changes an area": sql("UPDATE warehouse_postal_area SET latitude = 1"),
    "SQL deletes an area": sql("DELETE FROM warehouse_postal_area"),
    "SQL makes a policy": sql(
        f"INSERT INTO warehouse_allocation_policy ({POLICY}) VALUES ('', '[]', 1, 'never', now())"  # noqa: S608
    ),
    "SQL changes a policy": sql("UPDATE warehouse_allocation_policy SET split = 'by_line'"),
    "SQL deletes a policy": sql("DELETE FROM warehouse_allocation_policy"),
    "a table emptied at a stroke": sql("TRUNCATE warehouse_postal_area"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_gives_a_value_that_never_was(change: str) -> None:
    before = dict(NetworkVersion.objects.values_list("part", "version"))
    CHANGES[change]()
    after = dict(NetworkVersion.objects.values_list("part", "version"))
    # What is kept of the areas need not be read again for a warehouse or a policy.
    changed = "areas" if "area" in change or "table" in change else "places"
    assert {part for part in before if before[part] != after[part]} == {changed}


def test_what_is_taken_back_takes_the_value_back_and_it_never_comes_again() -> None:
    before = version()
    values = set()
    for _ in range(2):
        with transaction.atomic():
            Warehouse.objects.update(priority=9)
            values.add(version())
            transaction.set_rollback(True)
        assert version() == before
    assert len(values - {before}) == 2


def test_two_changes_have_two_values() -> None:
    values = [version()]
    for priority in (2, 2):
        Warehouse.objects.update(priority=priority)
        values.append(version())
    assert len(set(values)) == 3


def test_neither_stock_nor_reservations_change_it() -> None:
    product = factories.product({SP: 5})
    before = version()
    held = factories.hold(product.pk, 2)
    factories.make_overdue(held)
    factories.receive(product.pk, SP, 3)
    StockLevel.objects.update(low_stock_threshold=1)
    product.name = "Another"
    product.save(update_fields=["name"])
    assert version() == before


def test_a_repeat_of_a_file_leaves_it() -> None:
    warehouses = [Warehouse(id="wh-a", name="A", region="north", priority=1, served_regions=["north"])]
    areas = [PostalArea(country="PT", prefix="1", latitude=38.7, longitude=-9.1, name="Lisboa")]
    catalogue.upsert(warehouses)
    postal_areas.replace(areas)
    before = version()
    catalogue.upsert(warehouses)
    postal_areas.replace(areas)
    assert version() == before


def test_a_database_of_sqlite_takes_a_file_of_warehouses_that_changes_one(tmp_path: Path) -> None:
    """Its upsert has an ON CONFLICT of its own, which SQLite would put in the place of a trigger's OR REPLACE."""
    env = environment(INVENTORY_DATA_DIR=tmp_path)
    assert manage("migrate", "--verbosity", "0", env=env).returncode == 0
    for priority in (1, 2):
        own = tmp_path / "own.yaml"
        own.write_text(f"warehouses: [{{id: wh-a, name: A, region: south, priority: {priority}}}]")
        done = manage("seed", "--warehouses", "--update", "--file", str(own), env=env)
        assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Warehouses: 0 created, 1 updated, 0 unchanged.\n"


def test_a_database_of_sqlite_has_the_triggers_too(tmp_path: Path) -> None:
    done = manage("migrate", "--verbosity", "0", env=environment(INVENTORY_DATA_DIR=tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    with closing(sqlite3.connect(tmp_path / "inventory.sqlite3")) as database, database:
        triggers = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
        assert triggers >= {
            f"{table}_changes_the_network_by_{event}" for table in TABLES for event in ("INSERT", "UPDATE", "DELETE")
        }
        database.create_function("REGEXP", 2, lambda pattern, text: re.search(pattern, text) is not None)
        values = []
        for statement in (
            f"INSERT INTO warehouse (id, {WAREHOUSE}) VALUES ('wh-a', 'A', 'x', 1, '', '[]', 1, 'now', 'now')",  # noqa: S608
            "UPDATE warehouse SET priority = 2",
            "DELETE FROM warehouse",
            f"INSERT INTO warehouse_postal_area ({AREA}) VALUES ('BR', '2', 0, 0, 'C', '', 0)",  # noqa: S608
            "UPDATE warehouse_postal_area SET latitude = 1",
            "DELETE FROM warehouse_postal_area",
            f"INSERT INTO warehouse_allocation_policy ({POLICY}) VALUES ('', '[]', 1, 'never', '2026-01-01')",  # noqa: S608
            "UPDATE warehouse_allocation_policy SET split = 'by_line'",
            "DELETE FROM warehouse_allocation_policy",
        ):
            before = dict(database.execute("SELECT part, version FROM warehouse_network_version"))
            database.execute(statement)
            after = dict(database.execute("SELECT part, version FROM warehouse_network_version"))
            changed = "areas" if "area" in statement else "places"
            assert {part for part in before if before[part] != after[part]} == {changed}, statement
            values.append(after[changed])
    assert len(set(values)) == 9
