"""`manage.py sync_counters`, and `audit_stock --counters` after it: what they print, and how they end."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest
from django.db import connection
from redis import Redis

from tests import factories
from tests.factories import RJ, SP
from tests.servers import Redis as Server
from tests.service import KEY, MANAGE, Process, environment, manage, url_of_test_database, wait_until

SECONDS = r"in \d+\.\d s"


@pytest.fixture
def real(redis_server: Server, transactional_db: None) -> dict[str, str]:
    """The environment of a command that works on the tests' database and on this Redis."""
    return environment(DATABASE_URL=url_of_test_database(), REDIS_URL=redis_server.url, SECRET_KEY=KEY)


def last_line(output: str) -> str:
    return output.strip().splitlines()[-1]


def test_a_sync_says_what_was_wrong_and_what_was_done(real: dict[str, str], product: UUID, client: Redis) -> None:
    assert manage("sync_counters", env=real).returncode == 0
    client.hset(f"stock:{product}", SP, "1:999999:0:0:1:5")

    dry = manage("sync_counters", "--dry-run", "--workers", "1", env=real)
    assert (dry.returncode, dry.stderr) == (0, "")
    assert f"      {product} {SP}: 1:999999:0:0:1:5, not 1:5:0:0:1:5\n" in dry.stdout
    told = f"Compared 3 levels of 1 products {SECONDS}: 0 missing, 1 wrong, 0 repaired. Nothing was changed."
    assert re.fullmatch(told, last_line(dry.stdout))
    assert client.hget(f"stock:{product}", SP) == "1:999999:0:0:1:5"

    audited = manage("audit_stock", "--counters", env=real)
    assert audited.returncode == 1
    assert "I10  BROKEN by 1 rows  the counters agree with the levels\n" in audited.stdout
    assert manage("audit_stock", env=real).returncode == 0

    synced = manage("sync_counters", env=real)
    assert (synced.returncode, synced.stderr) == (0, "")
    assert re.fullmatch(
        f"Compared 3 levels of 1 products {SECONDS}: 0 missing, 1 wrong, 1 repaired.", last_line(synced.stdout)
    )
    audited = manage("audit_stock", "--counters", env=real)
    assert (audited.returncode, audited.stderr) == (0, "")
    assert "I10  ok  the counters agree with the levels\n" in audited.stdout


def test_a_warehouse_can_be_synced_alone(real: dict[str, str], product: UUID, client: Redis) -> None:
    factories.product({RJ: 5})
    client.flushall()
    done = manage("sync_counters", "--warehouse", SP, env=real)
    assert re.fullmatch(
        f"Compared 3 levels of 1 products {SECONDS}: 1 missing, 0 wrong, 1 repaired.", last_line(done.stdout)
    )
    unknown = manage("sync_counters", "--warehouse", "wh-none", env=real)
    assert (unknown.returncode, unknown.stderr) == (1, "CommandError: Unknown ids: wh-none.\n")


@pytest.mark.parametrize("command", [["sync_counters"], ["audit_stock", "--counters"]])
def test_without_redis_it_fails_with_one_clear_line(
    real: dict[str, str], product: UUID, redis_server: Server, command: list[str]
) -> None:
    redis_server.stop()
    done = manage(*command, env=real)
    told = "Redis does not answer, or takes no writes. 0 levels had been compared and 0 products repaired."
    assert (done.returncode, done.stderr) == (1, f"CommandError: {told}\n")


def test_while_another_process_syncs_everything_it_fails_with_one_clear_line(
    real: dict[str, str], product: UUID, somebody_syncs: None
) -> None:
    done = manage("sync_counters", env=real)
    assert (done.returncode, done.stderr) == (
        1,
        "CommandError: Another sync is running now; repeat this in a moment.\n",
    )
    assert manage("sync_counters", "--warehouse", SP, env=real).returncode == 0


def test_where_there_is_no_celery_the_jobs_beside_the_web_server_sync_every_interval(
    real: dict[str, str], product: UUID, client: Redis, tmp_path: Path
) -> None:
    client.flushall()
    often = real | {"SYNC_INTERVAL_SECONDS": "1"}
    with Process([sys.executable, str(MANAGE), "run_jobs"], env=often, log=tmp_path / "jobs.log") as jobs:
        for _ in range(2):
            wait_until(lambda: client.hget(f"stock:{product}", SP) == "1:5:0:0:1:5", "the counters are there")
            client.flushall()
        assert jobs.stop() == 0
    assert "Traceback" not in jobs.output


def test_the_job_is_in_the_list_where_there_is_a_redis_and_nowhere_else(real: dict[str, str]) -> None:
    show = (
        "import django; django.setup(); from inventory_project.jobs import JOBS; "
        "print(*[(job.task.name, job.interval_seconds, job.stoppable.__name__) for job in JOBS if 'sync' in job.name])"
    )
    with_redis = real | {"SYNC_INTERVAL_SECONDS": "7", "DJANGO_SETTINGS_MODULE": "inventory_project.settings"}
    listed = [
        subprocess.run(
            [sys.executable, "-c", show], env=env, cwd=MANAGE.parent, capture_output=True, text=True, check=True
        ).stdout
        for env in (with_redis, with_redis | {"REDIS_URL": ""})
    ]
    assert listed == ["('stock.tasks.sync_counters', 7, 'run_periodic')\n", "\n"]


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_after_the_chunks_in_hand_with_one_clear_line(
    real: dict[str, str], client: Redis, tmp_path: Path, signal_number: int
) -> None:
    _stock_many(20_000)
    slow = real | {"INVENTORY_CRASH_POINT": "sync.after_chunk=sleep:1", "SYNC_WORKERS": "1"}
    with Process([sys.executable, str(MANAGE), "sync_counters"], env=slow, log=tmp_path / "sync.log") as sync:
        wait_until(lambda: client.dbsize() > 1_000, "the first chunk")
        time.sleep(0.2)
        assert sync.stop(signal_number) == 130
    assert "Traceback" not in sync.output
    lines = sync.output.strip().splitlines()
    assert lines[-1] == "CommandError: Interrupted; what was repaired stays so."
    (compared,) = re.findall(r"Compared (\d+) levels of", sync.output)
    assert int(compared) in (3_000, 6_000)
    assert client.dbsize() == int(compared) + 1  # and how far it came


def _stock_many(number: int) -> None:
    factories.warehouse(SP)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO stock_product (id, sku, name, is_blocked, created_at, updated_at) "
            "SELECT gen_random_uuid(), 'MANY-' || n, 'One of many', false, now(), now() FROM generate_series(1, %s) n",
            [number],
        )
        cursor.execute(
            "INSERT INTO stock_level (product_id, warehouse_id, available, reserved, incoming, is_blocked, is_closed, "
            "is_low, version, updated_at) SELECT id, %s, 5, 0, 0, false, false, true, 1, now() FROM stock_product",
            [SP],
        )
