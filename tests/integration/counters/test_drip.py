"""A Redis that answers a byte at a time: the time limit is for the whole answer, also while connecting."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from uuid import uuid4

import pytest
from pytest_django import Settings

from inventory_project.foundation.breaker import Breaker
from stock.counters import copies
from tests.integration.counters import looks

PAUSE_SECONDS, BYTES = 0.03, 60  # each byte is in time, all of them take 1.8 s
SOON_SECONDS = 0.9  # the time limit is 0.05 s; the rest is for a busy machine
TRIES = 10
URLS = {"answering": "/0", "connecting": "/1"}  # only another number than 0 makes it say something on connecting


@pytest.fixture
def address() -> Iterator[str]:
    """A server that answers whatever it hears so slowly."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        yield f"redis://127.0.0.1:{server.getsockname()[1]}"


def _accept(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            threading.Thread(target=_drip, args=(client,), daemon=True).start()


def _drip(client: socket.socket) -> None:
    with client, suppress(OSError):
        client.recv(65_536)
        client.sendall(b"$1000\r\n")
        for _ in range(BYTES):
            client.sendall(b"x")
            time.sleep(PAUSE_SECONDS)


def seconds_of_a_read() -> float:
    began = time.monotonic()
    assert copies.read_at([uuid4()]) is None
    return time.monotonic() - began


@pytest.mark.parametrize("when", URLS)
def test_an_answer_in_drops_takes_no_longer_than_any_other(
    address: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(copies, "breaker", Breaker("Redis"))
    looks.use(address + URLS[when], settings)

    assert seconds_of_a_read() < SOON_SECONDS


@pytest.mark.parametrize("when", URLS)
def test_control_redis_pys_own_limit_begins_again_with_each_packet(
    address: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(copies, "breaker", Breaker("Redis", failures_allowed=TRIES + 1))
    caches = deepcopy(settings.CACHES)
    del caches["default"]["OPTIONS"]["PARSER_CLASS"]
    settings.CACHES = caches
    looks.use(address + URLS[when], settings)

    # On a busy machine a byte may come too late, which ends a read early.
    assert any(seconds_of_a_read() > BYTES * PAUSE_SECONDS / 2 for _ in range(TRIES))
