"""Callers over HTTP: many connections that stand open at several web processes, and then ask at once."""

import http.client
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from tests.servers import children_of
from tests.service import PATIENCE_SECONDS, Service

API = "/api/inventory"


@dataclass(frozen=True, slots=True)
class Asked:
    """One POST."""

    path: str
    body: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """Its answer. `word` is the status of a reservation, or the code of a refusal."""

    status: int
    body: Any
    headers: http.client.HTTPMessage

    @property
    def word(self) -> str:
        return str(self.body["code"] if self.status >= 400 else self.body["status"])


def reservation(
    product_id: UUID, *, order_id: UUID | None = None, quantity: int = 1, headers: Mapping[str, str] | None = None
) -> Asked:
    """A hold for a new order, or for this one."""
    items = [{"product_id": str(product_id), "quantity": quantity}]
    return Asked(f"{API}/reservations", {"order_id": str(order_id or uuid4()), "items": items}, headers or {})


def settling(verb: str, reservation_id: object) -> Asked:
    """confirm, cancel, or the operator's expire."""
    place = "/admin" if verb == "expire" else API
    return Asked(f"{place}/reservations/{reservation_id}/{verb}", {})


class Line:
    """One kept connection to the service."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        self.connection.connect()

    def send(self, method: str, path: str, body: Mapping[str, object] | None = None, **headers: str) -> Told:
        """Ask, and wait for the answer."""
        text = None if body is None else json.dumps(body)
        self.connection.request(method, path, text, {"Content-Type": "application/json", **headers})
        response = self.connection.getresponse()
        return Told(response.status, json.loads(response.read()), response.headers)

    def ask(self, asked: Asked) -> Told:
        """POST."""
        return self.send("POST", asked.path, asked.body, **asked.headers)

    @property
    def is_open(self) -> bool:
        """Whether the server left it open after its answer."""
        return self.connection.sock is not None

    def close(self) -> None:
        self.connection.close()


def web_processes(service: Service) -> list[int]:
    """gunicorn's processes: the children of the master, which is a child of `serve`."""
    return [pid for master in children_of(service.process.pid) for pid in children_of(master)]


@contextmanager
def _alone(pid: int, pids: Sequence[int]) -> Iterator[None]:
    """Only this one of the processes runs, so that it is the one to take what comes."""
    others = [other for other in pids if other != pid]
    for other in others:
        os.kill(other, signal.SIGSTOP)
    try:
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


def lines(service: Service, number: int) -> list[Line]:
    """So many connections, dealt out to the web processes in turn; left to the kernel, one might have them all."""
    pids = web_processes(service)
    made: list[list[Line]] = []
    for i, pid in enumerate(pids):
        with _alone(pid, pids):
            made.append([Line(service.port) for _ in range(i, number, len(pids))])
            assert {line.send("GET", "/health/live").status for line in made[i]} <= {200}
    return [made[i % len(pids)][i // len(pids)] for i in range(number)]


def ask_at_once(service: Service, asked: Sequence[Asked]) -> list[Told]:
    """The answers to callers who all ask at the same moment, in their order."""
    made = lines(service, len(asked))
    start = threading.Barrier(len(asked))

    def ask(line: Line, one: Asked) -> Told:
        start.wait(PATIENCE_SECONDS)
        return line.ask(one)

    with ThreadPoolExecutor(len(asked)) as threads:
        told = list(threads.map(ask, made, asked))
    for line in made:
        line.close()
    return told


def words(told: Sequence[Told]) -> Counter[tuple[int, str]]:
    """How often each status was given with each word."""
    return Counter((answer.status, answer.word) for answer in told)
