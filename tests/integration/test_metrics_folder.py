"""The folders that `serve` shares its counts in: none stays for good, and none is taken from a process that lives."""

import os
import signal
from pathlib import Path

from inventory_project.metrics_folder import PREFIX
from tests.servers import with_descendants
from tests.service import Service, environment, is_running, manage, wait_until


def test_the_next_serve_removes_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = environment(INVENTORY_DATA_DIR=tmp_path, TMPDIR=temporary)
    assert manage("migrate", "--verbosity", "0", env=env).returncode == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "serve.lock").touch()
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    (temporary / f"{PREFIX}without-a-lock").mkdir()
    others = {f"{PREFIX}link", f"{PREFIX}without-a-lock"}

    def folders() -> set[str]:
        return {path.name for path in temporary.glob(f"{PREFIX}*")} - others

    with Service(env=env, log=tmp_path / "living.log") as living:
        [of_the_living] = folders()
        with Service(env=env, log=tmp_path / "killed.log") as killed:
            tree = with_descendants(killed.process.pid)
            [of_the_killed] = folders() - {of_the_living}
            os.kill(killed.process.pid, signal.SIGKILL)
            wait_until(lambda: not any(is_running(pid) for pid in tree), "all processes ended", seconds=20)
        assert folders() == {of_the_living, of_the_killed}

        with Service(env=env, log=tmp_path / "next.log"):
            assert of_the_living in folders()
            assert of_the_killed not in folders()
            assert len(folders()) == 2
        assert living.metric("inventory_database_up") == 1
        assert folders() == {of_the_living}
    assert folders() == set()
    assert {path.name for path in temporary.glob(f"{PREFIX}*")} == others
    assert (elsewhere / "serve.lock").exists()
