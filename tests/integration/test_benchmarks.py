"""The benchmark runs and says all it promises."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import (
    against,
    allocation,
)
from tests.servers import RabbitMQ, borrowed_database, borrowed_redis

pytestmark = pytest.mark.timeout(600)  # a quick run starts some thirty processes
COMMAND = [sys.executable, "-m", "benchmarks", "--quick"]
VERBS = (
    ("reserve_many", 64),
    ("textbook", 1),
    ("reserve_many", 1),
    ("confirm_many", 64),
    ("cancel_many", 64),
    ("sweep", 64),
)
RESERVING = [("bare empty view", "order"), ("bare textbook", "hot"), ("ours", "hot")]
SPREAD = [(name, scene) for scene in ("warm", "cold") for name in ("bare textbook", "ours")]
BULK = ("ours", "hot, 64 in a call", 8)
EVERYTHING_ELSE = [
    ("ours, no group commit", "hot", 64),
    ("ours, no group commit", "cold", 64),
    BULK,
    ("ours", "sold out", 64),
    ("ours without Redis", "sold out", 64),
    *(
        (name, scene, 64)
        for scene in ("read", "read of 20")
        for name in ("bare empty view", "ours", "ours without Redis")
    ),
    ("ours", "confirm", 64),
]
KINDS = ["web", "jobs", "postgresql", "redis", "rabbitmq"]  # of processes
OVER_HTTP_BARS = {
    "hot product, 64 connections: ours / bare textbook": 8,
    "spread over 10,000 products: ours / bare textbook": 5,
    "hot: ours / bare empty DRF view": 1,
    "p99 hot at 64 connections: bare textbook / ours": 12,
    "lone caller, latency: bare textbook / ours": 1.2,
    "availability reads: ours / bare empty DRF view": 4,
    "sold-out refusals: ours / bare empty DRF view": 3,
    "bulk reserve of 64: orders a second / single at 64 connections": 1.5,
    "256 connections: rate / rate at 64": 1,
    "hot / spread, ours": 0.9,
}
# What a run of a few seconds does not judge.
LONG = {
    "first 100,000 reservations on a new installation / after ANALYZE": 0.9,
    "web process memory after 10 minutes of load": 150,
    "relay and autovacuum kept up with all turns": 0.5,
}
BARS = {
    **OVER_HTTP_BARS,
    **LONG,
    "reserve_many, batches of 64, one core": 4_000,
    "allocations among 20 warehouses, one core": 5_000,
    "1 million levels and 1 million holds / 10 thousand": 0.85,
    "orders consumed by one consumer": 1_500,
    "one consumer: in batches / one message in a transaction": 5,
    "events published by the relay": 3_000,
    "from request to published event at rest load, p99": 250,
}
needs_git = pytest.mark.skipif(
    shutil.which("git") is None or not (against.ROOT / ".git").exists(), reason="neither git nor a history is needed"
)
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed: `make bench` installs it")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What a quick run of all parts printed, and the JSON it wrote.

    It has a RabbitMQ of its own: the Celery worker of another test would take the jobs of this one's.
    """
    folder = tmp_path_factory.mktemp("benchmarks")
    output = folder / "quick.json"
    with (
        borrowed_database(os.environ["DATABASE_URL"]) as url,
        borrowed_redis(os.environ["REDIS_URL"]) as redis_url,
        RabbitMQ(folder) as rabbitmq,
    ):
        environment = os.environ | {"DATABASE_URL": url, "REDIS_URL": redis_url, "RABBITMQ_URL": rabbitmq.url}
        command = [*COMMAND, "--soak", "1", "--output", str(output)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, json.loads(output.read_text())


@needs_wrk
def test_every_verb_has_every_figure_for_both_scenes(quick: tuple[str, dict[str, Any]]) -> None:
    figures = quick[1]["in_process"]
    assert [(row["scene"], row["name"], row["batch_size"]) for row in figures] == [
        (scene, *verb) for scene in ("one product", "50 products") for verb in VERBS
    ]
    for row in figures:
        assert (row["times_textbook"] is not None) == (row["name"] == "reserve_many")
        assert is_a_range(row["per_second"])
        assert 0 < row["batch_p50_ms"] <= row["batch_p99_ms"]
        assert row["requests"] == {64: 2 * 2 * 64, 1: 2 * 8}[row["batch_size"]]


@needs_wrk
def test_every_kind_of_order_has_its_rate_of_allocations(quick: tuple[str, dict[str, Any]]) -> None:
    figures = quick[1]["allocation"]
    assert [(row["name"], row["warehouses"]) for row in figures] == [(case.name, 20) for case in allocation.cases()]
    assert all(is_a_range(row["per_second"]) for row in figures)


def test_a_version_is_held_against_itself_in_one_run() -> None:
    command = [sys.executable, "-m", "benchmarks", "--rounds", "1", "against", "."]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.endswith("now / .")
    assert [row[:40].rstrip() for row in rows] == [
        *(f"{scene}, batches of {size}" for scene in ("one product", "1,000 products") for size in (64, 1)),
        *(f"4 callers, 20 warehouses, batches of {size}" for size in (64, 8, 1)),
    ]


@needs_wrk
@needs_git
def test_an_earlier_version_comes_out_of_git(tmp_path: Path) -> None:
    against.check_out("HEAD", tmp_path)
    assert (tmp_path / "manage.py").is_file()
    assert (tmp_path / "benchmarks" / "turns.py").is_file()


@needs_wrk
def test_every_contender_over_http_has_every_figure(quick: tuple[str, dict[str, Any]]) -> None:
    figures = quick[1]["over_http"]
    assert [(row["name"], row["scene"], row["connections"]) for row in figures] == [
        *((*contender, connections) for connections in (1, 64, 256) for contender in RESERVING),
        *((*contender, 64) for contender in SPREAD),
        *EVERYTHING_ELSE,
    ]
    for row in figures:
        assert row["as_expected"] > 0
        assert (row["wrong"], row["unanswered"]) == (0, 0)
        assert is_a_range(row["per_second"])
        assert 0 < row["p50_ms"]["median"] <= row["p99_ms"]["median"]
        assert row["cpu_seconds_per_1000"] > 0
        assert list(row["cpu_by_kind_per_1000"]) == KINDS
        is_bulk = (row["name"], row["scene"], row["connections"]) == BULK
        assert (row["of_empty"] is not None) == (row["name"] != "bare empty view" and not is_bulk)
        is_beside_the_textbook = row["scene"] in ("hot", "warm", "cold") and row["name"].startswith("ours")
        assert (row["times_textbook"] is not None) == is_beside_the_textbook


@needs_wrk
def test_the_relay_has_published_what_the_turns_left(quick: tuple[str, dict[str, Any]]) -> None:
    upkeep = quick[1]["upkeep"]
    assert upkeep["largest_backlog"] >= 0
    assert 0 < upkeep["longest_settling_seconds"] < 60


@needs_wrk
def test_a_profile_is_kept_as_text(quick: tuple[str, dict[str, Any]]) -> None:
    text = "\n".join(quick[1]["profile"])
    assert text in quick[0]
    assert "reservations a second while py-spy looked" in text or text.startswith("No profile: py-spy saw nothing")


@needs_wrk
def test_the_first_reservations_of_an_installation_are_compared_with_those_after_an_analyze(
    quick: tuple[str, dict[str, Any]],
) -> None:
    fresh = quick[1]["fresh"]
    assert fresh["reservations"] == 500
    assert all(is_a_range(fresh[figure]) for figure in ("first", "after_analyze", "first_to_after_analyze"))
    assert (fresh["wrong"], fresh["unanswered"]) == (0, 0)


def is_a_range(found: dict[str, float]) -> bool:
    return 0 < found["lowest"] <= found["median"] <= found["highest"]


@needs_wrk
def test_the_day_is_of_the_four_kinds_and_nobody_is_turned_away(quick: tuple[str, dict[str, Any]]) -> None:
    day = quick[1]["day"]
    assert [kind["kind"] for kind in day["kinds"]] == ["read", "reserve", "confirm", "cancel"]
    assert sum(kind["as_expected"] for kind in day["kinds"]) == day["rate"] * day["seconds"] == 100
    assert all(kind["p50_ms"] <= kind["p99_ms"] <= kind["longest_ms"] for kind in day["kinds"])


@needs_wrk
def test_books_of_two_sizes_are_filled_synced_measured_and_found_sound(quick: tuple[str, dict[str, Any]]) -> None:
    growth = quick[1]["growth"]
    verbs = ["reserve_many", "confirm_many", "cancel_many", "sweep"]
    assert (growth["small_levels"], growth["large_levels"]) == (30, 300)
    assert [row["name"] for row in growth["small"]] == [row["name"] for row in growth["large"]] == verbs
    assert all(is_a_range(growth["large_to_small"][verb]) for verb in verbs)
    assert growth["sync"]["levels"] == 300
    assert all(growth["sync"][kind] > 0 for kind in ("into_empty_redis", "full", "quiet"))


@needs_wrk
def test_orders_are_consumed_both_ways_and_their_events_are_published_and_heard(
    quick: tuple[str, dict[str, Any]],
) -> None:
    events = quick[1]["events"]
    assert events["messages"] == 600
    rates = ("consumed", "consumed_one_by_one", "times_one_by_one", "published")
    assert all(is_a_range(events[figure]) for figure in rates)
    assert 0 < events["delay_p50_ms"] <= events["delay_p99_ms"]
    assert 0 < events["rest_events"] <= 2 * 20


@needs_wrk
def test_the_soak_has_looked_at_the_memory_of_the_web_processes(quick: tuple[str, dict[str, Any]]) -> None:
    soak = quick[1]["soak"]
    assert len(soak["samples_mb"]) >= 3  # at the start, in the middle, at the end
    assert 30 < soak["largest_mb"] < 500


@needs_wrk
def test_the_machine_and_how_the_database_treats_the_disk_are_told(quick: tuple[str, dict[str, Any]]) -> None:
    machine = quick[1]["machine"]
    assert machine.keys() >= {"cpu", "cores", "memory_gib", "kernel", "python", "django", "gunicorn", "wrk", "redis"}
    assert machine["postgresql"]["fsync"] in ("on", "off")
    assert machine["service"]["WEB_WORKERS"] >= 1
    assert quick[1]["noise"].keys() == {"load_before", "stolen_cpu_seconds"}


@needs_wrk
def test_the_run_ends_with_a_verdict_on_each_promise_and_an_audit_that_found_nothing(
    quick: tuple[str, dict[str, Any]],
) -> None:
    printed, result = quick
    assert {row["figure"]: row["bar"] for row in result["verdict"]} == BARS
    lines = {line.split(" | ")[0].strip("| "): line for line in printed.splitlines() if line.startswith("| ")}
    for row in result["verdict"]:
        word = {True: "REACHED", False: "MISSED", None: "NOT MEASURED"}[row["is_reached"]]
        assert lines[row["figure"]].rstrip("| ").endswith(f" {word}")
        assert f" {row['told']} " in lines[row["figure"]]
    assert [row["figure"] for row in result["verdict"] if row["is_reached"] is None] == list(LONG)
    assert (result["damage"], result["wrong_answers"]) == ({}, 0)
    assert "No answer was wrong.\nThe audit found nothing." in printed


@needs_wrk
def test_a_chart_is_drawn_of_the_results(quick: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    results, svg = tmp_path / "results.json", tmp_path / "chart.svg"
    results.write_text(json.dumps(quick[1]))
    subprocess.run([sys.executable, "-m", "benchmarks", "chart", str(results), str(svg)], check=True)
    assert svg.read_text().count("</svg>") == 1


@needs_wrk  # for the lack of it is said before
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
