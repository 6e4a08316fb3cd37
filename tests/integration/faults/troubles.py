"""What may happen to a Redis, each as a context at whose end it is over; and lies that it may tell."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import cycle

import redis

from tests.factories import PR, RJ, SP
from tests.servers import Redis, free_port

Client = redis.Redis
Trouble = Callable[[Redis, Client], AbstractContextManager[None]]
Lie = Callable[[Client, str], object]

LIE_VERSION = 999_999  # higher than the truth will ever be, which therefore does not overwrite the lie

# --- troubles ------------------------------------------------------------------------------------------------------


@contextmanager
def frozen(server: Redis, _client: Client) -> Iterator[None]:
    """Connections are taken and nothing is answered."""
    server.send(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send(signal.SIGCONT)


@contextmanager
def stopped(server: Redis, _client: Client) -> Iterator[None]:
    """Connections are refused; then it begins anew with what was saved, else with nothing."""
    server.stop()
    yield
    server.start()
    server.wait_until_ready()


@contextmanager
def emptied(_server: Redis, client: Client) -> Iterator[None]:
    """Everything is thrown away, and at the end what has come since."""
    client.flushall()
    yield
    client.flushall()


@contextmanager
def full(_server: Redis, client: Client) -> Iterator[None]:
    """Every write is refused for want of memory."""
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    yield
    client.config_set("maxmemory", 0)


@contextmanager
def alone(_server: Redis, client: Client) -> Iterator[None]:
    """Every write is refused for want of a replica."""
    client.config_set("min-replicas-to-write", 1)
    yield
    client.config_set("min-replicas-to-write", 0)


@contextmanager
def replica(_server: Redis, client: Client) -> Iterator[None]:
    """It answers as of an earlier moment and takes no writes: a fail-over that has not come to its end."""
    client.replicaof("127.0.0.1", free_port())
    yield
    client.replicaof("NO", "ONE")


def end_all(server: Redis, client: Client) -> None:
    """Bring the server into good order, and empty it, wherever a test has left it."""
    if server.process is None:
        server.start()
    server.send(signal.SIGCONT)
    server.wait_until_ready()
    client.replicaof("NO", "ONE")
    client.config_set("maxmemory", 0)
    client.config_set("min-replicas-to-write", 0)


# --- lies ----------------------------------------------------------------------------------------------------------


def saying(*texts: str, of: tuple[str, ...]) -> Lie:
    """Has these fields of a product's counters say so; of several texts another one each time."""
    turns = cycle(texts)
    return lambda client, key: client.hset(key, mapping=dict.fromkeys(of, next(turns)))


def without(field: str) -> Lie:
    """Has lost this field."""
    return lambda client, key: client.hdel(key, field)


def a_string(client: Client, key: str) -> None:
    """Has another type."""
    client.delete(key)
    client.set(key, "999999")


# About a product that SP, RJ and PR have. None of these says that there is nothing, so none keeps a buyer away.
INVITING: dict[str, Lie] = {
    "no counter": saying("999999", "0", "-5", "abc", of=(SP,)),
    "odd number": saying(f"{LIE_VERSION}:-5:0:0:1:5", f"{LIE_VERSION}:abc:0:0:1:5", of=(SP,)),
    "many": saying(f"{LIE_VERSION}:999999:0:0:1:5", of=(SP, RJ, PR)),
    "many, long ago": saying("0:999999:0:0:1:5", of=(SP, RJ, PR)),
    "one warehouse more": saying(f"{LIE_VERSION}:5:0:0:1:5", of=("wh-none-001",)),
    "one of three lost": without(RJ),
    "another summary": saying(f"{LIE_VERSION}::0:3", of=("_",)),
    "no summary": without("_"),
    "another type": a_string,
}
FORBIDDING: dict[str, Lie] = {
    "nothing there": saying(f"{LIE_VERSION}:0:0:0:1:5", of=(SP, RJ, PR)),
    "not for sale": saying(f"{LIE_VERSION}:10000:0:0:0:5", of=(SP, RJ, PR)),
}
