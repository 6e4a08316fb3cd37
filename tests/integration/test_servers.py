"""The private servers: they come, they can be frozen, killed and restarted, and they go."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import redis

from tests.servers import Redis, with_descendants

LAUNCHER = [sys.executable, "-m", "tests.servers", "run", "--"]
SERVER_URLS = ("DATABASE_URL", "REDIS_URL", "RABBITMQ_URL")


def test_a_run_ends_with_the_exit_code_of_its_command() -> None:
    assert subprocess.run([*LAUNCHER, "sh", "-c", "exit 7"], check=False).returncode == 7


def test_a_run_whose_command_dies_of_a_signal_ends_as_a_shell_would() -> None:
    assert subprocess.run([*LAUNCHER, "sh", "-c", "kill -KILL $$"], check=False).returncode == 128 + signal.SIGKILL


def test_a_command_that_does_not_exist_is_named() -> None:
    done = subprocess.run([*LAUNCHER, "no-such-command"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (127, "servers: no-such-command: no such command\n")


def test_a_named_server_lends_a_place_that_is_removed_in_the_end() -> None:
    database, redis_url = os.environ["DATABASE_URL"], os.environ["REDIS_URL"]
    leave_something = (
        "import os, psycopg, redis;"
        "c = psycopg.connect(os.environ['DATABASE_URL'], autocommit=True);"
        "c.execute(f'CREATE DATABASE test_{c.info.dbname}');"
        "redis.Redis.from_url(os.environ['REDIS_URL']).set('left', 'behind');"
        "print(c.info.dbname, os.environ['REDIS_URL'].rpartition('/')[2])"
    )
    done = subprocess.run(
        [*LAUNCHER, sys.executable, "-c", leave_something], capture_output=True, text=True, check=True
    )
    name, number = done.stdout.split()
    assert f"/{name}" not in database
    assert not redis_url.endswith(f"/{number}")
    with psycopg.connect(database) as connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"%{name}%"]).fetchall()
    assert left == []
    with redis.Redis.from_url(f"{redis_url.rpartition('/')[0]}/{number}") as client:
        assert client.dbsize() == 0


def processes_below(pid: int) -> dict[int, str]:
    """Names of the process and of all below it; one that ends while we look is left out."""
    names: dict[int, str] = {}
    for descendant in with_descendants(pid):
        with contextlib.suppress(OSError):
            names[descendant] = Path(f"/proc/{descendant}/comm").read_text().strip()
    return names


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_stop_leaves_no_process_and_no_folder(stop_signal: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in SERVER_URLS}
    # The command leaves a daemon behind, in a session of its own: the worst guest there can be.
    command = ["sh", "-c", "setsid sh -c 'echo $$; exec sleep 300' & exec sleep 300"]
    with subprocess.Popen([*LAUNCHER, *command], env=environment, stdout=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout is not None
            daemon = int(run.stdout.readline())
            processes = processes_below(run.pid)
            redis_server = next(pid for pid, name in processes.items() if name == "redis-server")
            folder = Path(f"/proc/{redis_server}/cwd").resolve().parent
        finally:
            run.send_signal(stop_signal)

    assert run.returncode == 128 + stop_signal
    assert daemon in processes
    assert {"postgres", "redis-server", "beam.smp", "epmd"} <= set(processes.values())
    assert [name for pid, name in processes.items() if Path(f"/proc/{pid}").exists()] == []
    assert folder.name.startswith("inventory-")
    assert not folder.exists()


def test_a_server_of_a_tests_own_can_be_frozen_thawed_killed_and_restarted(tmp_path: Path) -> None:
    with Redis(tmp_path) as server, redis.Redis.from_url(server.url, socket_timeout=0.2) as client:
        server.send(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        assert time.monotonic() - began >= 0.2

        server.send(signal.SIGCONT)
        assert client.ping() is True

        server.send(signal.SIGKILL)
        server.stop()
        with pytest.raises(redis.ConnectionError):
            client.ping()

        server.start()
        server.wait_until_ready()
        assert client.ping() is True
        port = server.port
    with pytest.raises(redis.ConnectionError, match=re.escape(f"127.0.0.1:{port}")):
        redis.Redis.from_url(server.url).ping()
