"""The benchmark runs, says all it promises, and compares like with like."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db.models import Model

from benchmarks import textbook
from inventory_project.messaging.models import OutboxEvent
from reservations import lifecycle
from reservations.models import Reservation, ReservationItem
from reservations.requests import Item, Reserve
from stock.models import StockLevel, StockMovement
from tests import factories
from tests.servers import borrowed_database

COMMAND = [sys.executable, "-m", "benchmarks", "--quick"]
SCENES = ("one product", "100 products")
CONTENDERS = (
    ("reserve_many", 64),
    ("textbook", 1),
    ("reserve_many", 1),
    ("confirm_many", 64),
    ("cancel_many", 64),
    ("expire_due", 64),
)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What a quick run printed, and the JSON it wrote."""
    output = tmp_path_factory.mktemp("benchmarks") / "quick.json"
    with borrowed_database(os.environ["DATABASE_URL"]) as url:
        environment = os.environ | {"DATABASE_URL": url}
        command = [*COMMAND, "--output", str(output)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, json.loads(output.read_text())


def test_every_contender_has_every_figure_for_both_scenes(quick: tuple[str, dict[str, Any]]) -> None:
    figures = quick[1]["figures"]
    assert [(row["scene"], row["name"], row["batch_size"]) for row in figures] == [
        (scene, *contender) for scene in SCENES for contender in CONTENDERS
    ]
    for row in figures:
        ratios = {name: row.pop(name) for name in ("ratio", "ratio_lowest", "ratio_highest")}
        assert all((value is not None) == (row["name"] == "reserve_many") for value in ratios.values())
        assert all(value for value in row.values())
        assert row["per_second_slowest_round"] <= row["per_second"] <= row["per_second_fastest_round"]
        assert row["batch_p50_ms"] <= row["batch_p99_ms"]
        assert row["requests"] == {64: 2 * 2 * 64, 1: 2 * 64}[row["batch_size"]]


def test_the_machine_and_how_the_database_treats_the_disk_are_told(quick: tuple[str, dict[str, Any]]) -> None:
    machine = quick[1]["machine"]
    assert machine.keys() == {"cpu", "cores", "memory_gib", "kernel", "python", "django", "psycopg", "postgresql"}
    assert machine["postgresql"]["fsync"] in ("on", "off")
    assert quick[1]["noise"].keys() == {"load_before", "stolen_cpu_seconds"}


def test_the_run_ends_with_a_verdict_and_an_audit_that_found_nothing(quick: tuple[str, dict[str, Any]]) -> None:
    printed, result = quick
    assert result["audit"] == {}
    assert "The audit found nothing." in printed
    slowest = min(
        row["per_second"] for row in result["figures"] if (row["name"], row["batch_size"]) == ("reserve_many", 64)
    )
    is_met = slowest >= 2_000
    assert result["verdict"] == {"per_second": slowest, "bar_per_second": 2_000, "is_met": is_met}
    assert f"{'REACHED' if is_met else 'MISSED'}: {slowest:,.0f} reservations/s" in printed


@pytest.mark.usefixtures("transactional_db")
def test_the_textbook_way_writes_the_same_rows() -> None:
    stock = {factories.SP: 50, factories.RJ: 60, factories.PR: 2}
    ours, theirs = factories.product(stock).pk, factories.product(stock).pk
    requests = {
        id_: Reserve(order_id=uuid4(), items=(Item(id_, 3),), ttl_minutes=15, actor="test") for id_ in (ours, theirs)
    }
    lifecycle.one(lifecycle.reserve_many, requests[ours])
    textbook.reserve(requests[theirs])

    assert rows_about(theirs, requests[theirs]) == rows_about(ours, requests[ours])
    assert factories.broken_invariants() == []


def rows_about(product_id: UUID, request: Reserve) -> dict[str, Any]:
    """All that a reservation wrote, with names in place of ids and without the moments."""
    reservation = Reservation.objects.get(order_id=request.order_id)
    item = ReservationItem.objects.get(reservation=reservation)
    names = {
        str(product_id): "product",
        str(request.order_id): "order",
        str(reservation.pk): "reservation",
        str(item.pk): "item",
        reservation.expires_at.isoformat(): "end",
    }
    found: dict[str, list[Model]] = {
        "reservation": [reservation],
        "item": [item],
        "movement": list(StockMovement.objects.filter(line_id=item.pk)),
        "event": list(OutboxEvent.objects.filter(subject=str(reservation.pk))),
        "level": list(StockLevel.objects.filter(product_id=product_id).order_by("warehouse_id")),
    }
    own = {"movement": {"id"}, "event": {"id", "event_id"}, "level": {"id"}}
    moments = {"created_at", "expires_at", "occurred_at", "updated_at"}
    written = {
        kind: [
            {
                field.attname: getattr(row, field.attname)
                for field in row._meta.concrete_fields
                if field.attname not in moments | own.get(kind, set())
            }
            for row in rows
        ]
        for kind, rows in found.items()
    }
    text = json.dumps(written, default=str, sort_keys=True)
    for id_, name in names.items():
        text = text.replace(id_, name)
    assert reservation.expires_at - reservation.created_at == timedelta(minutes=15)
    result: dict[str, Any] = json.loads(text)
    return result


def test_a_database_that_is_in_use_is_left_alone() -> None:
    with borrowed_database(os.environ["DATABASE_URL"]) as url:
        environment = os.environ | {"DATABASE_URL": url}
        manage = [sys.executable, "manage.py"]
        subprocess.run([*manage, "migrate", "--verbosity", "0"], env=environment, check=True)
        subprocess.run(
            [*manage, "seed", "--warehouses", "--products"], env=environment, check=True, capture_output=True
        )
        done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "This database is in use, and a benchmark fills it: name an empty one.\n"
