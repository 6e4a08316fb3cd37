"""What may happen to a server, each as a context at whose end it is over; and a look at what RabbitMQ has."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from pika.exceptions import AMQPError

from inventory_project.foundation.messaging.rabbitmq.connection import BrokerUnavailable
from tests.servers import RABBITMQ_BIN, RabbitMQ, Server
from tests.service import wait_until

Trouble = Callable[[RabbitMQ], AbstractContextManager[None]]

CTL_SECONDS = 60
HEALINGS = 5
REST_SECONDS = 1.0  # before each, for what else is about to end

Result = TypeVar("Result")


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


def heal(server: RabbitMQ) -> None:
    """Start again what moves messages to the dead letters, if it has ended; see `on_a_healthy_node`."""
    ctl(server, "eval", "supervisor:restart_child(rabbit_sup, rabbit_fifo_dlx_sup).")


def on_a_healthy_node(server: RabbitMQ, work: Callable[[], Result]) -> Result:
    """What `work` returns, on a node that is healed first where need be. `work` may be done several times.

    Each of our queues has a process on the node that moves its messages to the next queue. If the queue is deleted
    before that process is ready, as soon after a restart, the process ends twice and its supervisor for good. From then
    on the node ends every connection that declares such a queue with INTERNAL_ERROR (541): rabbitmq-server #16652.
    """
    for _ in range(HEALINGS):
        try:
            return work()
        except (AMQPError, OSError, BrokerUnavailable):
            time.sleep(REST_SECONDS)
            heal(server)
    return work()


@contextmanager
def unable_to_make_queues(server: RabbitMQ) -> Iterator[None]:
    """Whoever declares one of our queues loses the connection, by INTERNAL_ERROR."""
    ctl(server, "eval", "supervisor:terminate_child(rabbit_sup, rabbit_fifo_dlx_sup).")
    try:
        yield
    finally:
        heal(server)


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
        server.wait_until_ready()


@contextmanager
def in_alarm(server: RabbitMQ) -> Iterator[None]:
    """The disk is too full, as RabbitMQ sees it: it reads nothing more from who publishes."""
    ctl(server, "set_disk_free_limit", "100000GB")
    try:
        wait_until(lambda: "disk" in ctl(server, "eval", "rabbit_alarm:get_alarms()."), "in alarm")
        yield
    finally:
        ctl(server, "set_disk_free_limit", "50MB")
