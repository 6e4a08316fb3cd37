"""What has to be installed is said in one sentence; and who works in a checkout."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import packages

MAKEFILE = Path(__file__).parents[2] / "Makefile"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed, no server is named, and we are not root."""
    monkeypatch.setattr(packages, "IS_INSTALLED", dict.fromkeys(packages.IS_INSTALLED, lambda: False))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for variable in packages.SERVERS.values():
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.usefixtures("bare")
def test_a_user_is_told_all_that_is_missing_at_once_and_what_root_has_to_do() -> None:
    with pytest.raises(packages.PackageError) as refused:
        packages.require(["python3-venv", "postgresql", "wrk"])

    assert str(refused.value) == (
        "Not installed: python3-venv, postgresql, wrk. Have root run `make servers` here, or "
        "`apt-get install --no-install-recommends python3-venv postgresql wrk`, "
        "or name running servers by DATABASE_URL."
    )


@pytest.mark.usefixtures("bare")
def test_a_server_that_is_named_need_not_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://localhost")

    assert packages.missing(["redis-server", "wrk"]) == ["wrk"]


def test_what_is_there_asks_for_nothing() -> None:
    packages.require(["postgresql", "redis-server", "rabbitmq-server"])


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A folder that every user can reach, with the Makefile; in place of apt a program says who calls it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(MAKEFILE, folder)
        (folder / "tests").mkdir()
        (folder / "tests" / "packages.py").write_text("import os, pwd; print(pwd.getpwuid(os.getuid()).pw_name)")
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can work as somebody else")
@pytest.mark.parametrize(("owner", "worker"), [("nobody", "nobody"), ("root", "root")])
def test_root_works_in_a_checkout_as_its_owner(checkout: Path, owner: str, worker: str) -> None:
    """Else `sudo make test` would leave files that the owner's own `make test` cannot write."""
    os.chown(checkout, pwd.getpwnam(owner).pw_uid, pwd.getpwnam(owner).pw_gid)
    targets = ["--eval", "who: ; @id -un", "who", "packages-test"]
    done = subprocess.run(
        ["make", "--silent", "--directory", checkout, *targets], capture_output=True, text=True, check=False
    )

    assert done.stderr == ""
    assert done.stdout.split() == [worker, "root"]
