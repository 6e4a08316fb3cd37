"""Follow the README on a bare Debian: in a fresh root folder with nothing but Debian's minimal system.

    python3 tests/clean_room.py [--as root|ana]

as root, or `make clean-room`. debootstrap builds the system from this machine's own apt sources in a temporary folder.
There the README's `console` blocks run line by line, from a clone of the last commit: once as root, and once as a user
without sudo, for whom root runs the lines with `sudo`. A table says what each line took and how it ended. `make test`
runs twice as root and once as the user. In the end the folder is gone, and whatever ran in it with it: it had a process
table and mounts of its own. The network is this machine's, so port 3006 must be free.
"""

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the system's Python runs this file as it stands

from tests import packages

ROOT = Path(__file__).parents[1]
USER = "ana"
REPOSITORY = "/srv/inventory-service.git"
SERVING = "Inventory Service on http://"
START_SECONDS = 600
CERTIFICATE = "/etc/{}.pem"  # not where Debian's package of certificates writes its own
RUNS_OF_TESTS = {"root": 2, USER: 1}
CERTIFICATES = re.compile(r"(SSL|REQUESTS|CURL|PIP)_[A-Z_]*CERT[A-Z_]*|[A-Z]+_CA_BUNDLE")


@dataclass(frozen=True)
class Row:
    """A line of the README, as whom it ran, how long it took, and how it ended."""

    who: str
    line: str
    seconds: float
    result: str
    is_good: bool


def told(row: Row) -> Row:
    """The row, printed as soon as its line has ended."""
    end = "ok" if row.is_good else "FAILED"
    print(f"{row.who:<5} {row.seconds:8.1f} s  {end:<6}  {row.line:<60.60}  {row.result:.100}", flush=True)
    return row


# --- what the README says ------------------------------------------------------------------------------------------


def lines_of_readme() -> list[str]:
    """The commands of the sections `Start it` and `Test it`, each whole, with its continued lines."""
    text = (ROOT / "README.md").read_text()
    sections = re.findall(r"^## (?:Start it|Test it)\n(.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)
    blocks = re.findall(r"^```console\n(.*?)^```", "".join(sections), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in commands_of(block)]


def commands_of(block: str) -> Iterator[str]:
    """The commands after `$ `; one goes on while it ends in a backslash or a quote is open."""
    command = ""
    for line in block.splitlines():
        if command:
            command += "\n" + line
        elif line.startswith("$ "):
            command = line[2:]
        if command and not command.endswith("\\") and is_whole(command):
            yield command
            command = ""


def is_whole(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


# --- the room ------------------------------------------------------------------------------------------------------


def build(room: Path) -> None:
    """A minimal Debian of this machine's release in `room`, with the user, the repository and the network."""
    release = re.search(r"^VERSION_CODENAME=(\S+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    assert release is not None, "this machine is no Debian"
    sources = debian_sources()
    mirror = next(uri for uri, suite in sources if suite == release[1])
    run("debootstrap", "--variant=minbase", release[1], str(room), mirror)
    (room / "etc/apt/sources.list").write_text("".join(f"deb {uri} {suite} main\n" for uri, suite in sources))
    for file in ("/etc/resolv.conf", "/etc/hosts"):
        shutil.copy(file, room / file[1:])
    for name, file in certificates().items():
        shutil.copy(file, f"{room}{CERTIFICATE.format(name)}")
    run(
        "git",
        "-c",
        f"safe.directory={ROOT}",
        "clone",
        "--quiet",
        "--bare",
        "--no-local",
        str(ROOT),
        f"{room}{REPOSITORY}",
    )
    run("chroot", str(room), "apt-get", "-qq", "update")
    run("chroot", str(room), "useradd", "--create-home", "--shell", "/bin/bash", USER)


def debian_sources() -> list[tuple[str, str]]:
    """Debian's own among the apt sources of this machine: the address and the suite of each."""
    listed = run("apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)|$(RELEASE)", "Created-By: Packages")
    return sorted(
        {(uri, suite) for origin, uri, suite in (row.split("|") for row in listed.split()) if origin == "Debian"}
    )


def certificates() -> dict[str, str]:
    """The variables that name this machine's certificates, without which pip reaches no package where a proxy is."""
    return {name: value for name, value in os.environ.items() if CERTIFICATES.fullmatch(name) and Path(value).is_file()}


def run(*command: str) -> str:
    """What the command prints; ends this program with its output when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


class Visitor:
    """Somebody at a terminal in the room."""

    def __init__(self, room: Path, who: str) -> None:
        self.room, self.who = room, who
        self.folder = "/root" if who == "root" else f"/home/{who}"
        self.service: subprocess.Popen[bytes] | None = None
        self.log = room / f"{who}-run.log"
        run("chroot", str(room), "chown", "--recursive", who, REPOSITORY)  # git clones no other user's repository

    def follow(self, line: str) -> Row:
        """Do what one line says, and how it went."""
        began = time.monotonic()
        if line.startswith("cd "):
            self.folder += f"/{line[3:]}"
            is_good, result = Path(f"{self.room}{self.folder}").is_dir(), ""
        elif line == "make run":
            is_good, result = self.serve()
        else:
            is_good, result = self.type(line)
        return told(Row(self.who, line.splitlines()[0], time.monotonic() - began, result, is_good))

    def type(self, line: str) -> tuple[bool, str]:
        line = line.replace("REPOSITORY", REPOSITORY)
        who = self.who
        if line.startswith("sudo "):
            who, line = "root", line[5:]
        done = subprocess.run(self.command(who, line), capture_output=True, text=True, check=False)
        output = done.stdout + done.stderr
        if line.startswith("curl"):
            return done.returncode == 0 and '"code"' not in done.stdout, done.stdout.strip()[:100]
        if done.returncode != 0:
            print(output[-6000:], flush=True)
        last = [text for text in output.splitlines() if text.strip()][-1:]
        return done.returncode == 0, last[0].strip("= ") if last else ""

    def serve(self) -> tuple[bool, str]:
        """`make run` in a terminal of its own, until it says that it serves."""
        with self.log.open("wb") as log:
            self.service = subprocess.Popen(
                self.command(self.who, "exec make run"), stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while SERVING not in self.output and self.service.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        if SERVING not in self.output:
            print(self.output[-6000:], flush=True)
        return SERVING in self.output, SERVING + self.output.partition(SERVING)[2].partition("\n")[0]

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def leave(self) -> Row:
        """Ctrl-C in the terminal of `make run`; then nothing of it may be left."""
        began = time.monotonic()
        assert self.service is not None
        os.killpg(self.service.pid, signal.SIGINT)
        self.service.wait(60)
        left = still_running()
        result = f"left running: {', '.join(left) or 'nothing'}"
        return told(Row(self.who, "Ctrl-C", time.monotonic() - began, result, not left))

    def command(self, who: str, line: str) -> list[str]:
        home = "/root" if who == "root" else f"/home/{who}"
        environment = [f"HOME={home}", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        environment += [f"{name}={CERTIFICATE.format(name)}" for name in certificates()]
        as_whom = [] if who == "root" else ["setpriv", f"--reuid={who}", f"--regid={who}", "--init-groups"]
        shell = ["bash", "-c", f"cd {self.folder} && {line}"]
        return ["chroot", str(self.room), "env", "-i", *environment, *as_whom, *shell]


def still_running() -> list[str]:
    """The programs in this process table besides this one."""
    mine = os.getpid()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:
            continue
        if int(folder.name) != mine and command:
            found.append(command[:60])
    return found


# --- the command ---------------------------------------------------------------------------------------------------


def visit(room: Path, who: str, lines: list[str]) -> list[Row]:
    """Follow the lines as `who`; the service that `make run` starts is ended before the tests."""
    visitor = Visitor(room, who)
    enabled = packages.boot_links(room)
    rows = []
    for line in lines:
        if line.startswith("sudo make") and visitor.service is not None and visitor.service.poll() is None:
            rows.append(visitor.leave())
        rows += [visitor.follow(line) for _ in range(RUNS_OF_TESTS[who] if line == "make test" else 1)]
        if not rows[-1].is_good and line != "make test":
            break  # what follows stands on it
    left = [*still_running(), *sorted(link.name for link in packages.boot_links(room) - enabled)]
    result = f"left running or enabled: {', '.join(left) or 'nothing'}"
    rows.append(told(Row(who, "(after all)", 0.0, result, not left)))
    return rows


def inside(room: Path, visitors: list[str]) -> int:
    """In a process table and mounts of its own, which end with this process: follow the README. 1 if a line failed."""
    run("mount", "-t", "proc", "proc", f"{room}/proc")
    run("mount", "--rbind", "/dev", f"{room}/dev")
    run("mount", "-t", "proc", "proc", "/proc")
    lines = lines_of_readme()
    rows = [row for who in visitors for row in visit(room, who, lines)]
    failed = [row for row in rows if not row.is_good]
    print(f"{len(rows) - len(failed)} lines succeeded, {len(failed)} failed.")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python3 tests/clean_room.py", description="Follow the README on a bare Debian."
    )
    parser.add_argument("--as", dest="who", choices=["root", USER], help="only as root, or only as a user without sudo")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    visitors = [options.who] if options.who else ["root", USER]
    if options.inside:
        return inside(options.inside, visitors)
    if os.geteuid() != 0:
        sys.exit("The clean room needs root: sudo make clean-room")
    packages.require(["debootstrap"])
    with tempfile.TemporaryDirectory(prefix="inventory-clean-room-", dir="/var/tmp") as folder:
        room = Path(folder)
        room.chmod(0o755)
        began = time.monotonic()
        build(room)
        commit = run("git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "log", "-1", "--format=%h %s").strip()
        print(f"A bare Debian after {time.monotonic() - began:.0f} s. The last commit there is {commit}", flush=True)
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        again = [sys.executable, "-B", __file__, "--inside", folder, *(["--as", options.who] if options.who else [])]
        return subprocess.run([*own, *again], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
