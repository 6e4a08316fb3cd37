"""The suite runs as on a bare machine: nothing that a developer's shell exports decides what passes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What .ci/run lets through, what `make test` adds, and what pytest, its plug-ins and Django (TZ) set themselves.
KNOWN = re.compile(
    r"CI|HOME|LANG|LC_[A-Z]+|PATH|PWD|OLDPWD|SHLVL|TERM|_|"
    r"PIP_[A-Z_]+|(SSL|REQUESTS|CURL)_[A-Z_]+|(https?|no|HTTPS?|NO)_(proxy|PROXY)|"
    r"MAKE[A-Z_]*|MFLAGS|PYTHON|ARGS|"
    r"DATABASE_URL|REDIS_URL|RABBITMQ_URL|SECRET_KEY|"
    r"PYTEST_[A-Z_]+|DJANGO_SETTINGS_MODULE|TZ|COLUMNS|LINES|KMP_[A-Z_]+"
)
MADE_BY_MAKE = pytest.mark.skipif("MAKELEVEL" not in os.environ, reason="the suite was not started by make")
IN_CI = pytest.mark.skipif("CI" not in os.environ, reason="outside CI the developer's Python and shell are used")


@MADE_BY_MAKE
def test_no_setting_of_python_itself_reaches_the_suite() -> None:
    names = {name for name in os.environ if name.startswith("PYTHON") and name != "PYTHON"}

    assert names == set()


@IN_CI
def test_ci_empties_the_environment() -> None:
    assert {name for name in os.environ if not KNOWN.fullmatch(name)} == set()


@IN_CI
def test_ci_uses_debians_own_python_where_it_is_new_enough() -> None:
    debians = Path("/usr/bin/python3")
    program = "import sys; sys.exit(sys.version_info < (3, 11))"
    if not debians.exists() or subprocess.run([debians, "-c", program], check=False).returncode != 0:
        pytest.skip("Debian's Python is missing, or too old")

    assert sys.base_prefix == "/usr"


def test_every_pinned_package_of_the_short_lists_is_in_the_full_ones_with_a_hash() -> None:
    for name in ("requirements", "requirements-dev"):
        full = (ROOT / f"{name}.txt").read_text().lower()
        for line in (ROOT / f"{name}.in").read_text().lower().splitlines():
            if line and not line.startswith(("#", "-r")):
                pin = re.sub(r"\[.*?\]", "", line)
                assert re.search(rf"^{re.escape(pin)}( ;.*)? \\\n    --hash=sha256:", full, re.MULTILINE), pin


def test_a_cache_that_cannot_be_written_does_not_fail_the_tests(tmp_path: Path) -> None:
    """As after `sudo make test`, which left root's files. A folder below a file cannot be made by root either."""
    (tmp_path / "test_nothing.py").write_text(
        "from hypothesis import given, strategies\n\n\n"
        "@given(strategies.integers())\ndef test_nothing(number):\n    assert number == number\n"
    )
    blocked = tmp_path / "file"
    blocked.touch()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT, tmp_path),
            *("-o", f"cache_dir={blocked}/cache"),
        ],
        env=os.environ | {"HYPOTHESIS_STORAGE_DIRECTORY": str(blocked / "hypothesis")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
