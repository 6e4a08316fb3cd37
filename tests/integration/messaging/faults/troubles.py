"""What may happen to a server, each as a context at whose end it is over; and a look at what RabbitMQ has."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.servers import RABBITMQ_BIN, RabbitMQ, Server
from tests.service import wait_until

Trouble = Callable[[RabbitMQ], AbstractContextManager[None]]

CTL_SECONDS = 60


def ctl(server: RabbitMQ, *arguments: str) -> str:
    """What rabbitmqctl says."""
    done = subprocess.run(
        [str(RABBITMQ_BIN / "rabbitmqctl"), "--quiet", *arguments],
        env=server.environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=CTL_SECONDS,
    )
    return done.stdout


def connections(server: RabbitMQ) -> list[str]:
    """The state of each: running, and in an alarm blocked, of who publishes, or blocking, of who does not."""
    return sorted(ctl(server, "list_connections", "state", "--no-table-headers").split())


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Connections are refused; what was persistent is there again at the end."""
    server.stop()
    try:
        yield
    finally:
        server.start()
        server.wait_until_ready()


@contextmanager
def killed(server: Server) -> Iterator[None]:
    """The same without a good-bye."""
    server.send(signal.SIGKILL)
    with stopped(server):
        yield


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Connections are taken and nothing is answered."""
    server.send(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send(signal.SIGCONT)


@contextmanager
def in_alarm(server: RabbitMQ) -> Iterator[None]:
    """The disk is too full, as RabbitMQ sees it: it reads nothing more from who publishes."""
    ctl(server, "set_disk_free_limit", "100000GB")
    try:
        wait_until(lambda: "disk" in ctl(server, "eval", "rabbit_alarm:get_alarms()."), "in alarm")
        yield
    finally:
        ctl(server, "set_disk_free_limit", "50MB")
