"""Debian packages that run, test and measure the service; installing them is all that needs root.

    python3 tests/packages.py PACKAGE ...

installs those of the named packages that are missing, or says in one sentence what root has to do. It imports the
standard library only, because the system's own Python runs it before there is a virtual environment. A package's
service is left stopped and disabled: the tests start servers of their own, on other ports.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

POLICY = Path("/usr/sbin/policy-rc.d")  # Debian asks it whether a package may start its service
# Where Debian enables a service to start at boot: a link for each, by System V and by systemd.
BOOT_LINKS = (
    ("etc", "rc[2-5].d/S*"),
    ("etc/systemd/system", "*.wants/*.service"),
    ("etc/systemd/system", "*.wants/*.socket"),
)
SERVERS = {"postgresql": "DATABASE_URL", "redis-server": "REDIS_URL", "rabbitmq-server": "RABBITMQ_URL"}


class PackageError(Exception):
    """A package cannot be installed. The message is a sentence for the person at the terminal."""


def has_program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


def has_file(folder: str, pattern: str) -> Callable[[], bool]:
    return lambda: any(Path(folder).glob(pattern))


IS_INSTALLED: dict[str, Callable[[], bool]] = {
    "python3-venv": lambda: importlib.util.find_spec("ensurepip") is not None,
    "postgresql": has_file("/usr/lib/postgresql", "*/bin/initdb"),
    "redis-server": has_program("redis-server"),
    "rabbitmq-server": has_file("/usr/lib/rabbitmq/bin", "rabbitmq-server"),
    "wrk": has_program("wrk"),
    "pgbouncer": has_file("/usr/sbin", "pgbouncer"),
    "chromium": has_program("chromium"),
    "debootstrap": has_program("debootstrap"),
}


def missing(packages: Sequence[str]) -> list[str]:
    """Those of `packages` that are not there. A server that the environment names by its URL is not needed."""
    return [
        package
        for package in packages
        if not IS_INSTALLED[package]() and not os.environ.get(SERVERS.get(package, ""), "")
    ]


def require(packages: Sequence[str]) -> None:
    """Install those of `packages` that are missing. Raises PackageError if apt fails or the user is not root."""
    wanted = missing(packages)
    if not wanted:
        return
    names = " ".join(wanted)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        servers = [SERVERS[package] for package in wanted if package in SERVERS]
        alternative = f", or name running servers by {', '.join(servers)}" if servers else ""
        raise PackageError(
            f"Not installed: {', '.join(wanted)}. Have root run `make servers` here, or "
            f"`apt-get install --no-install-recommends {names}`{alternative}."
        )
    say(f"Installing {', '.join(wanted)} ...")
    before = boot_links()
    with services_kept_from_starting():
        apt_get("update")
        apt_get("install", "--yes", "--no-install-recommends", *wanted)
    for link in boot_links() - before:
        disable(link)


def apt_get(*arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", "-qq", *arguments],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PackageError(f"apt-get {arguments[0]} failed:\n{done.stdout[-2000:]}")


@contextlib.contextmanager
def services_kept_from_starting() -> Iterator[None]:
    """Inside the block no package that is installed may start its service. A policy that is there already stays."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def boot_links(system: Path = Path("/")) -> set[Path]:
    """The links that start a service when `system` boots."""
    return {link for folder, pattern in BOOT_LINKS for link in (system / folder).glob(pattern)}


def disable(link: Path) -> None:
    """Keep the service of a boot link from starting at boot, in the way that Debian's own tools undo."""
    if link.parent.name.endswith(".wants"):
        command = ["deb-systemd-helper", "disable", link.name]
    else:
        command = ["update-rc.d", link.name[3:], "disable"]  # S01postgresql is the link of postgresql
    # deb-systemd-helper works for a package's own scripts only, and finds this name in their environment.
    environment = os.environ | {"DPKG_MAINTSCRIPT_PACKAGE": "inventory-service"}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def main() -> int:
    try:
        require(sys.argv[1:])
    except PackageError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
