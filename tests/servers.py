"""Private PostgreSQL, Redis and RabbitMQ for tests and benchmarks, gone without a trace when the work is done.

    python -m tests.servers run [--fsync] -- COMMAND ...

runs COMMAND with DATABASE_URL, REDIS_URL and RABBITMQ_URL in its environment, and SECRET_KEY if that is unset, because
the service refuses to start on PostgreSQL without one. It ends with COMMAND's exit code. The servers listen on free
ports of 127.0.0.1 and keep their data in a fresh folder. However the run ends, be it by an error, Ctrl-C or SIGTERM,
every process below it is ended and the folder removed; only SIGKILL leaves it no time to.

A server that the environment names already is not started: the run gets a database, a Redis number or a vhost of its
own there, which is removed in the end. What the run did not make it does not touch.

A test that wants to freeze, kill or restart a server starts one of its own:

    with Redis(folder) as server:
        server.send(signal.SIGSTOP)
"""

import argparse
import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Self
from urllib.parse import unquote, urlsplit

import kombu
import psycopg
import redis
from psycopg import sql

from tests import packages

START_SECONDS = 90  # RabbitMQ needs 8 on two idle cores; a busy machine gets ten times that
STOP_SECONDS = 15
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RABBITMQ_BIN = Path("/usr/lib/rabbitmq/bin")  # the wrapper in /usr/sbin insists on the user `rabbitmq`
HANDED_OUT: set[int] = set()


class ServerError(Exception):
    """A server cannot be had; the message is a sentence for the person at the terminal."""


class Stopped(BaseException):
    """A signal asked this run to end."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


# --- processes -----------------------------------------------------------------------------------------------------


def children_of(pid: int) -> list[int]:
    """The processes that `pid` is the parent of; none if it has ended."""
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread may end between the glob and the read
            found += map(int, listing.read_text().split())
    return found


def with_descendants(pid: int) -> list[int]:
    """`pid` and every process below it, parents first."""
    found = [pid]
    for parent in found:
        found += children_of(parent)
    return found


def adopt_orphans() -> None:
    """Make this process the parent of whatever below it loses its own, so that `end_children` finds daemons too."""
    pr_set_child_subreaper = 36
    if ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0) != 0:
        raise ServerError(f"Linux refused PR_SET_CHILD_SUBREAPER: {os.strerror(ctypes.get_errno())}.")


def end_children() -> None:
    """End and reap every process below this one; returns when none is left."""
    while children := children_of(os.getpid()):
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ChildProcessError):  # its Popen object reaped it already
                os.waitpid(child, 0)


# --- servers -------------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on and that this process has not handed out before.

    It lies below the range from which Linux takes the near end of outgoing connections: a port from that range could be
    taken by a client in the seconds that a server needs to start.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in HANDED_OUT:
                HANDED_OUT.add(port)
                return port


class Server(ABC):
    """One private server, for the length of a `with` block, or by hand.

    `start` returns at once, `wait_until_ready` when the server answers; after `stop` both may be called again.
    """

    name: str
    package: str
    stop_signal = signal.SIGTERM
    user: str | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder / self.package
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """What the service takes as the server's URL."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line of the server, which stays in the foreground."""

    @abstractmethod
    def check(self) -> None:
        """Ask the server for something; raises while it does not answer."""

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def prepare(self) -> None:
        """Make what the server needs before its first start; does nothing at the next."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        if self.process is None:
            raise ServerError(f"{self.name} is not running.")
        return self.process.pid

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def start(self) -> None:
        self.prepare()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self.user,
                start_new_session=True,  # Ctrl-C is for the command, which still needs its servers to tidy up
            )

    def wait_until_ready(self) -> None:
        """Returns once the server answers; raises ServerError, with the end of its log, if it never does."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.check()
            except Exception as error:  # each client library has exceptions of its own
                ended = self.process is None or self.process.poll() is not None
                if not ended and time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
                raise ServerError(f"{self.name} did not start: {error}\n{tail}") from error

    def send(self, signal_number: int) -> None:
        """Send a signal to the server and all its processes: SIGSTOP freezes it, SIGCONT thaws it, SIGKILL kills it."""
        for pid in with_descendants(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal_number)

    def stop(self) -> None:
        """Stop in order, or else by force. The data stay for the next `start`."""
        if self.process is None:
            return
        self.send(signal.SIGCONT)
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self.process.wait()
        self.process = None


class Postgres(Server):
    """PostgreSQL with one superuser `inventory`, no password, on TCP alone.

    Without `fsync` a commit does not wait for the disk: right for tests, and wrong for anything that measures.
    """

    name = "PostgreSQL"
    package = "postgresql"
    stop_signal = signal.SIGINT  # "fast": ends the sessions instead of waiting for them

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        super().__init__(folder)
        self.fsync = fsync
        self.user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root

    def programs(self) -> list[Path]:
        """The folders of the PostgreSQLs on this machine, the newest last; Debian keeps them out of PATH."""
        folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
        return sorted(folders, key=lambda folder: int(folder.parent.name))

    @property
    def url(self) -> str:
        return f"postgres://inventory@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        super().prepare()
        data = self.folder / "data"
        if data.exists():
            return
        if self.user is not None:
            shutil.chown(self.folder, self.user)
        options = ["--username=inventory", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        made = subprocess.run(
            [str(self.programs()[-1] / "initdb"), "--pgdata", str(data), *options],
            cwd=self.folder,
            user=self.user,
            start_new_session=True,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise ServerError(f"PostgreSQL's initdb failed in {data}: {made.stderr.strip()}")

    def command(self) -> list[str]:
        durable = "on" if self.fsync else "off"
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 600,
            "fsync": durable,
            "synchronous_commit": durable,
            "full_page_writes": durable,
            # Statistics of tables that tests fill and empty, taken at any moment, would change plans from run to run.
            "autovacuum": durable,
            "timezone": "UTC",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.programs()[-1] / "postgres"), "-D", str(self.folder / "data"), *options]

    def check(self) -> None:
        psycopg.connect(self.url, connect_timeout=5).close()


class PgBouncer(Server):
    """Debian's PgBouncer in transaction mode before a PostgreSQL, for any database there."""

    name = "PgBouncer"
    package = "pgbouncer"
    stop_signal = signal.SIGINT

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        super().__init__(folder)
        self.postgres = postgres
        self.user = postgres.user  # like PostgreSQL it refuses to run as root

    @property
    def url(self) -> str:
        return f"postgres://inventory@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        super().prepare()
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={self.postgres.port} user=inventory\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nauth_type = any\n"
            "unix_socket_dir =\npool_mode = transaction\nmax_client_conn = 500\ndefault_pool_size = 10\n"
        )

    def command(self) -> list[str]:
        return ["/usr/sbin/pgbouncer", str(self.folder / "pgbouncer.ini")]

    def check(self) -> None:
        psycopg.connect(self.url, connect_timeout=5).close()


class Redis(Server):
    """Redis without a password that keeps nothing on disk."""

    name = "Redis"
    package = "redis-server"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return ["redis-server", *options, "--dir", str(self.folder)]

    def check(self) -> None:
        with redis.Redis.from_url(self.url, socket_timeout=5) as client:
            client.ping()


class RabbitMQ(Server):
    """RabbitMQ with its default user guest, an Erlang port mapper (epmd) of its own, and no plugins."""

    name = "RabbitMQ"
    package = "rabbitmq-server"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.node_port = free_port()
        self.epmd_port = free_port()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def environment(self) -> dict[str, str]:
        """For the server, and for `rabbitmqctl` when a test wants to talk to it."""
        folder = self.folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return clean | {
            "HOME": str(folder),  # where Erlang keeps its cookie
            "RABBITMQ_NODENAME": f"inventory{self.port}@localhost",
            "RABBITMQ_CONF_ENV_FILE": str(folder / "no-rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "no-advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_DIST_PORT": str(self.node_port),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # With input allowed the start script becomes the server instead of waiting beside it: one pid to signal.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput +S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}"
            ),
            "RABBITMQ_CTL_ERL_ARGS": "+S 1:1",
        }

    def prepare(self) -> None:
        super().prepare()
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = 127.0.0.1:{self.port}\n"
            "vm_memory_high_watermark.absolute = 256MB\n"
            "disk_free_limit.absolute = 50MB\n"
        )

    def command(self) -> list[str]:
        return [str(RABBITMQ_BIN / "rabbitmq-server")]

    def check(self) -> None:
        with kombu.Connection(self.url, connect_timeout=5) as connection:
            connection.connect()

    def stop(self) -> None:
        super().stop()
        with contextlib.suppress(OSError, subprocess.CalledProcessError):  # it ended before epmd had been started
            subprocess.run(["epmd", "-kill"], env=self.environment(), capture_output=True, check=True)


# --- a place of one's own on somebody else's server ----------------------------------------------------------------


@contextlib.contextmanager
def borrowed_database(url: str) -> Iterator[str]:
    """The URL of a fresh database on the server at `url`, dropped in the end with the test databases made of it."""
    name = f"inventory_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            made = connection.execute(
                "SELECT datname FROM pg_database WHERE datname = %s OR starts_with(datname, %s)", [name, f"test_{name}"]
            )
            for (database,) in made.fetchall():
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))


@contextlib.contextmanager
def borrowed_redis(url: str) -> Iterator[str]:
    """The URL of an empty database of the Redis at `url`, emptied in the end."""
    with contextlib.ExitStack() as stack:
        for number in range(15, 0, -1):  # 16 is what Redis has unless told otherwise; 0 is everybody's
            own_url = urlsplit(url)._replace(path=f"/{number}").geturl()
            client = stack.enter_context(redis.Redis.from_url(own_url, socket_timeout=5))
            # The claim comes before the look, so that of two runs that start together only one finds its claim alone.
            if client.set("claimed-by-a-test-run", "1", nx=True):
                if client.dbsize() == 1:
                    break
                client.delete("claimed-by-a-test-run")
        else:
            raise ServerError("REDIS_URL: none of the databases 1 to 15 of this Redis is empty.")
        try:
            yield own_url
        finally:
            client.flushdb()


def rabbitmqctl(*arguments: str) -> str:
    """What rabbitmqctl prints; raises ServerError with what it complains about."""
    try:
        done = subprocess.run(
            ["rabbitmqctl", "--quiet", *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except FileNotFoundError as error:
        raise ServerError("rabbitmqctl is not installed") from error
    except subprocess.SubprocessError as error:
        raise ServerError(f"rabbitmqctl {arguments[0]} failed") from error
    return done.stdout


@contextlib.contextmanager
def borrowed_vhost(url: str) -> Iterator[str]:
    """The URL of a fresh vhost of the RabbitMQ at `url`, deleted in the end.

    Only rabbitmqctl makes vhosts, and it speaks to this machine's own node. For any other broker the vhost of `url` is
    used as it is, and the run says so.
    """
    parts = urlsplit(url)
    vhost = f"inventory-{secrets.token_hex(6)}"
    try:
        if parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ServerError(f"{parts.hostname} is another machine")
        ports = rabbitmqctl("eval", "[P || {listener, _, _, _, _, P, _} <- rabbit_networking:active_listeners()].")
        if str(parts.port or 5672) not in ports.strip("[]\n").split(","):
            raise ServerError(f"rabbitmqctl does not manage the broker on port {parts.port or 5672}")
        rabbitmqctl("add_vhost", vhost)
    except ServerError as error:
        say(f"RABBITMQ_URL: no vhost of our own can be made ({error}); the one it names is used as it is.")
        yield url
        return
    try:
        rabbitmqctl("set_permissions", "--vhost", vhost, unquote(parts.username or "guest"), ".*", ".*", ".*")
        yield parts._replace(path=f"/{vhost}").geturl()
    finally:
        rabbitmqctl("delete_vhost", vhost)


# --- the command ---------------------------------------------------------------------------------------------------


def say(message: str) -> None:
    print(f"servers: {message}", file=sys.stderr, flush=True)


def urls_of_servers(stack: contextlib.ExitStack, *, fsync: bool) -> dict[str, str]:
    """The three URLs, each of a server that `stack` will end or of a place that it will remove from a named server."""
    # /tmp may be memory, where fsync measures nothing; /var/tmp is on a disk.
    base = tempfile.TemporaryDirectory(prefix="inventory-", dir="/var/tmp" if fsync else None)  # noqa: S108
    folder = Path(stack.enter_context(base))
    folder.chmod(0o711)  # the user postgres must get through to its own folder inside
    # RabbitMQ stands first: it takes the longest, and starts while PostgreSQL makes its data folder.
    servers = {
        "RABBITMQ_URL": RabbitMQ(folder),
        "REDIS_URL": Redis(folder),
        "DATABASE_URL": Postgres(folder, fsync=fsync),
    }
    borrow = {"RABBITMQ_URL": borrowed_vhost, "REDIS_URL": borrowed_redis, "DATABASE_URL": borrowed_database}
    urls: dict[str, str] = {}
    for variable in borrow:
        if named := os.environ.get(variable):
            del servers[variable]
            urls[variable] = stack.enter_context(borrow[variable](named))
    packages.require([server.package for server in servers.values()])
    began = time.monotonic()
    for server in servers.values():
        stack.callback(server.stop)
        server.start()
    for variable, server in servers.items():
        server.wait_until_ready()
        urls[variable] = server.url
    if servers:
        say(f"{', '.join(server.name for server in servers.values())} ready after {time.monotonic() - began:.1f} s")
    return urls


def run_command(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """The command's exit code, as a shell reports it; a signal to stop is handed on, with time to end in order."""
    process = subprocess.Popen(command, env=environment)
    try:
        code = process.wait()
    except Stopped as stopped:
        if stopped.signal_number != signal.SIGINT:  # the terminal sends Ctrl-C to the command as well
            process.send_signal(stopped.signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        process.kill()
        raise
    return code if code >= 0 else 128 - code


def on_stop_signal(signal_number: int, _frame: FrameType | None) -> None:
    """Unwind once; a second signal must not interrupt the tidying up."""
    ignore_stop_signals()
    raise Stopped(signal_number)


def ignore_stop_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def run(command: Sequence[str], *, fsync: bool) -> int:
    """Start the servers, run the command, stop them; the exit code."""
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"  # `pytest` means this venv's
    program = shutil.which(command[0], path=path)
    if program is None:
        say(f"{command[0]}: no such command")
        return 127
    for number in STOP_SIGNALS:
        signal.signal(number, on_stop_signal)
    try:
        adopt_orphans()
        with contextlib.ExitStack() as stack:
            try:
                urls = urls_of_servers(stack, fsync=fsync)
                secret_key = os.environ.get("SECRET_KEY") or secrets.token_urlsafe(64)
                return run_command(
                    [program, *command[1:]], os.environ | urls | {"SECRET_KEY": secret_key, "PATH": path}
                )
            finally:
                ignore_stop_signals()
    except Stopped as stopped:
        return 128 + stopped.signal_number
    except (ServerError, packages.PackageError, psycopg.Error, redis.RedisError) as error:
        say(str(error))
        return 1
    finally:
        end_children()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.servers", description="Run a command beside private servers."
    )
    commands = parser.add_subparsers(required=True)
    run_parser = commands.add_parser("run", help="run COMMAND with DATABASE_URL, REDIS_URL and RABBITMQ_URL set")
    run_parser.add_argument("--fsync", action="store_true", help="let PostgreSQL's commits wait for the disk")
    run_parser.add_argument("command", nargs="+", metavar="COMMAND", help="what to run, after --")
    arguments = parser.parse_args()
    return run(arguments.command, fsync=arguments.fsync)


if __name__ == "__main__":
    sys.exit(main())
