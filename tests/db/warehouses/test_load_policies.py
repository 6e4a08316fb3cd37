"""manage.py load_policies: the policies of a file are in force, and no others, or nothing has changed."""

import logging
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, transaction

from tests.service import url_of_test_database
from warehouses import network, policy_files
from warehouses.allocation.policies import Policy
from warehouses.models import AllocationPolicy, NetworkVersion, PostalArea

pytestmark = pytest.mark.django_db

EXAMPLE = settings.BASE_DIR / "fixtures" / "policies.yaml"
NORTH = Policy(region="north", preferences=("fewest_parcels", "nearest", "priority", "balance"), tolerance_km=300.0)
ANYWHERE = Policy(
    preferences=("nearest", "balance", "fewest_parcels", "priority"),
    tolerance_km=100.0,
    split="at_most",
    most_parcels=2,
)
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Makes a file of policies."""

    def write(text: str) -> Path:
        path = tmp_path / "policies.yaml"
        path.write_text(text)
        return path

    return write


def load(path: Path) -> str:
    output = StringIO()
    call_command("load_policies", path, stdout=output)
    return output.getvalue()


def in_force() -> dict[str, Policy | None]:
    return network.current()().policies


def trace() -> tuple[list[dict[str, Any]], list[str]]:
    """Every row, and what says that others must read them anew."""
    rows = [dict(row) for row in AllocationPolicy.objects.order_by("region").values()]
    return rows, sorted(NetworkVersion.objects.values_list("version", flat=True))


def test_the_policies_of_the_file_are_in_force_at_once_and_no_others() -> None:
    AllocationPolicy.objects.create(region="south", preferences=["balance"], split="never")
    AllocationPolicy.objects.create(region="north", preferences=["balance"], split="never")
    PostalArea.objects.create(country="BR", prefix="69", latitude=-3, longitude=-60, name="Manaus", region="north")
    before = AllocationPolicy.objects.get(region="north")
    assert load(EXAMPLE) == "Allocation policies: 1 created, 1 updated, 0 unchanged, 1 deleted.\n"
    assert in_force() == {"north": NORTH, "": ANYWHERE}
    after = AllocationPolicy.objects.get(region="north")
    assert (after.pk, after.updated_at > before.updated_at) == (before.pk, True)  # so a form opened before is stale


def test_a_repeat_writes_nothing() -> None:
    load(EXAMPLE)
    before = trace()
    assert load(EXAMPLE).startswith("Allocation policies: 0 created, 0 updated, 2 unchanged, 0 deleted.\n")
    assert trace() == before


def test_regions_that_nothing_lies_in_are_told() -> None:
    assert load(EXAMPLE).splitlines()[1:] == [
        "No order uses these regions of policies or warehouses, because no postal area lies in them: north."
    ]


def test_a_row_that_cannot_be_followed_is_mended(write: Write) -> None:
    AllocationPolicy.objects.create(region="", preferences="nearest", split="never")
    assert in_force() == {"": None}
    path = write("policies: [{preferences: [nearest], split: never}]")
    assert load(path) == "Allocation policies: 0 created, 1 updated, 0 unchanged, 0 deleted.\n"
    assert in_force() == {"": Policy(preferences=("nearest",), split="never")}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("policies: []", "A file lists 1 to 1000 policies, not 0."),
        (
            "policies: [{preferences: [nearest], split: never}, {region: a, preferences: [far]}]",
            "Policy 2 (a): There is no preference 'far'; there are fewest_parcels, nearest, priority, balance.",
        ),
    ],
)
def test_a_wrong_file_changes_nothing(write: Write, text: str, sentence: str) -> None:
    load(EXAMPLE)
    before = trace()
    path = write(text)
    with pytest.raises(CommandError) as error:
        load(path)
    assert str(error.value) == f"{path}: {sentence}"
    assert trace() == before


@pytest.mark.django_db(transaction=True)
def test_who_saves_a_policy_meanwhile_waits_and_who_reads_does_not() -> None:
    load(EXAMPLE)
    with psycopg.connect(url_of_test_database(), autocommit=True) as other, transaction.atomic():
        load(EXAMPLE)  # which writes nothing, so no row of anything is locked
        other.execute("SET lock_timeout = '100ms'")
        assert other.execute("SELECT count(*) FROM warehouse_allocation_policy").fetchone() == (2,)
        with pytest.raises(psycopg.errors.LockNotAvailable):  # as the admin does before it saves
            other.execute("SELECT 1 FROM warehouse_allocation_policy FOR NO KEY UPDATE")


@pytest.mark.django_db(transaction=True)
def test_a_file_that_fails_half_way_leaves_everything_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    AllocationPolicy.objects.create(region="north", preferences=["balance"], split="never")
    AllocationPolicy.objects.create(region="south", preferences=["balance"], split="never")
    before = trace()
    save = AllocationPolicy.save

    def only_what_is_there(policy: AllocationPolicy, **options: Any) -> None:
        if "force_insert" in options:
            raise OperationalError("the server is gone")
        save(policy, **options)

    monkeypatch.setattr(AllocationPolicy, "save", only_what_is_there)
    with pytest.raises(CommandError, match="the server is gone"):
        load(EXAMPLE)
    assert trace() == before


def test_each_policy_is_logged_as_it_was_and_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    AllocationPolicy.objects.create(region="south", preferences=["balance"], split="never")
    AllocationPolicy.objects.create(region="north", preferences=["balance"], split="never", tolerance_km=7)
    with caplog.at_level(logging.INFO, logger=policy_files.__name__):
        load(EXAMPLE)
    lines = [vars(record) for record in caplog.records]
    assert [(line["msg"], line["region"], line["actor"]) for line in lines] == [
        ("policy deleted", "south", "command:load_policies"),
        ("policy put in force", "north", "command:load_policies"),
        ("policy put in force", "every other region", "command:load_policies"),
    ]
    before = "Policy(region='north', preferences=('balance',), tolerance_km=7.0, split='never'"
    assert lines[1]["before"].startswith(before)
    assert (lines[0]["policy"], lines[2]["before"]) == ("None", "None")
