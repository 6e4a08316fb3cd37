"""Clients that are silent, slow or never read: they cost a connection each, and nobody else notices them."""

import json
import math
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from reservations.models import Reservation
from tests import factories
from tests.integration.faults import crowd as crowd_script
from tests.integration.group_commit.callers import API, Line, reservation
from tests.integration.group_commit.conftest import serving
from tests.service import PATIENCE_SECONDS, Service, wait_until

SILENT, HALF_SENT, BUYERS, PURCHASES = 2_000, 500, 16, 40
# p99 of a purchase, to the one without the crowd. `make test` runs other tests meanwhile, so there it says nothing.
MOST_TIMES_AS_LONG = 2.0 if os.environ.get("TEST_SOAK") else math.inf
ROUNDS = 3  # of which one must keep to it: another program on the machine may disturb one
OTHER_ADDRESS = ("127.0.0.2", 0)  # where the hostile clients are, so that buyers are not among them
LARGE = b"GET /static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
DEADLINES = {"WEB_HEAD_SECONDS": 2, "WEB_BODY_SECONDS": 2, "WEB_WRITE_SECONDS": 2}
HEAD = b"POST /api/inventory/reservations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LONG = {"WEB_MAX_CONNECTIONS_PER_ADDRESS": 16, "WEB_HEAD_SECONDS": 300}
SLOW = "reserve.after_lock=sleep:1"


@pytest.fixture
def books(transactional_db: None) -> Iterator[None]:
    yield
    assert factories.broken_invariants() == []


def served(folder: Path, **values: object) -> Service:
    return serving(folder / "serve.log", WEB_WORKERS=1, **values)


@pytest.fixture(scope="module")
def _short(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with served(tmp_path_factory.mktemp("short"), **DEADLINES) as service:
        yield service


@pytest.fixture(scope="module")
def _long(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with served(tmp_path_factory.mktemp("long"), **LONG, INVENTORY_CRASH_POINT=SLOW) as service:
        yield service


@pytest.fixture
def short(_short: Service, books: None) -> Service:
    """A service with short deadlines."""
    return _short


@pytest.fixture
def long(_long: Service, books: None) -> Service:
    """A service that waits long for a head, takes 16 connections of an address, and a second for each batch."""
    return _long


class Closed:
    """How many connections the service has closed for this reason since this was made."""

    def __init__(self, service: Service, reason: str) -> None:
        self.service, self.sample = service, f'inventory_http_connections_closed_total{{reason="{reason}"}}'
        self.before = service.metric(self.sample) or 0.0

    def __call__(self) -> float:
        return (self.service.metric(self.sample) or 0.0) - self.before


def opened(service: Service, sent: bytes = b"", *, at: tuple[str, int] | None = None) -> socket.socket:
    """A connection over which these bytes have been sent."""
    client = socket.create_connection(("127.0.0.1", service.port), PATIENCE_SECONDS, source_address=at)
    client.sendall(sent)
    return client


def answered(client: socket.socket) -> bytes:
    """All that the service sends until it closes the connection."""
    received = b""
    try:
        while piece := client.recv(65_536):
            received += piece
    except ConnectionResetError:
        pass
    finally:
        client.close()
    return received


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def body_of(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


# --- deadlines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(b"", "silent"), (b"G", "slow_head"), (HEAD + b"X-A: ", "slow_head")],
    ids=["none", "G", "head"],
)
def test_a_client_that_does_not_go_on_with_its_head_is_closed(short: Service, sent: bytes, reason: str) -> None:
    closed = Closed(short, reason)
    assert answered(opened(short, sent)) == b""
    assert closed() == 1


def test_control_with_a_long_deadline_it_stays_open(long: Service) -> None:
    with opened(long, HEAD) as client:
        client.settimeout(5)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_a_body_that_does_not_come_is_answered_408_and_nothing_is_decided(short: Service) -> None:
    product = factories.product({factories.SP: 5})
    body = json.dumps(reservation(product.pk).body).encode()
    closed = Closed(short, "slow_body")
    answer = answered(opened(short, HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body[:-1])))
    assert (status_of(answer), body_of(answer)["code"]) == (408, "request_timeout")
    assert b"connection: close" in answer
    assert closed() == 1
    assert Reservation.objects.count() == 0


def test_a_client_that_never_reads_is_cut_off_and_its_answers_are_dropped(short: Service) -> None:
    closed = Closed(short, "slow_reader")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(("127.0.0.1", short.port))
        client.sendall(LARGE * 8)
        wait_until(lambda: closed() == 1, "it is cut off")
        wait_until(lambda: short.metric("inventory_http_connections") == 1, "only this look is open")


def test_too_many_requests_before_their_answers_end_the_connection(short: Service) -> None:
    closed = Closed(short, "pipelined")
    answered(opened(short, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1_000))
    assert closed() == 1


def test_a_few_requests_before_their_answers_are_answered_in_their_order(short: Service) -> None:
    paths = ["/health/live", "/health/ready", "/api/inventory/none", "/health/live"]
    asked = "".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths[:-1])
    asked += f"GET {paths[-1]} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = answered(opened(short, asked.encode()))
    assert [int(part.split()[0]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [200, 200, 404, 200]


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_a_head_that_is_too_large_is_refused(short: Service) -> None:
    answer = answered(opened(short, HEAD + b"X-A: " + b"a" * 100_000))
    assert (status_of(answer), body_of(answer)["code"]) == (431, "headers_too_large")


def test_too_many_headers_are_refused(short: Service) -> None:
    answer = answered(opened(short, HEAD + b"a: b\r\n" * 200))
    assert (status_of(answer), body_of(answer)["code"]) == (431, "headers_too_large")


def test_endless_trailers_are_refused_and_are_no_headers(short: Service) -> None:
    closed = Closed(short, "large_body")
    with opened(short, HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n") as client:
        with suppress(OSError):
            for _ in range(100):
                client.sendall(b"a: b\r\n" * 10_000)
        assert answered(client)[:12] in (
            b"HTTP/1.1 413",
            b"",
        )  # where its trailers met a closed connection, it is reset
    assert closed() == 1


def test_invalid_http_is_refused_as_a_problem(short: Service) -> None:
    answer = answered(opened(short, b"\x16\x03\x01 this is TLS, perhaps\r\n\r\n"))
    assert (status_of(answer), body_of(answer)["code"]) == (400, "invalid")


@pytest.mark.parametrize("second", [b"\x00 no HTTP\r\n\r\n", b"GET http://a:99999/ HTTP/1.1\r\n\r\n"])
def test_a_refusal_is_never_sent_as_the_answer_to_an_earlier_request(long: Service, second: bytes) -> None:
    product = factories.product({factories.SP: 5})
    body = json.dumps(reservation(product.pk).body).encode()
    request = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    assert answered(opened(long, request + second)) == b""
    wait_until(Reservation.objects.exists, "the earlier request was served")


# --- a body that is cut off is no empty body -------------------------------------------------------------------------


@pytest.mark.parametrize("is_in_one_piece", [True, False])
def test_an_offer_of_another_protocol_is_ignored_and_the_body_read(short: Service, is_in_one_piece: bool) -> None:
    """Clients of Java offer HTTP/2 in this way. httptools stops after the head of such a request."""
    product = factories.product({factories.SP: 5})
    held = factories.hold(product.pk, 2)
    body = json.dumps({"items": [{"product_id": str(product.pk), "quantity": 1}]}).encode()
    head = (
        f"POST {API}/reservations/{held.id}/confirm HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    after = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    client = opened(short, head + body if is_in_one_piece else head)
    if not is_in_one_piece:
        time.sleep(0.3)
        client.sendall(body)
    client.sendall(after)
    parts = answered(client).split(b"HTTP/1.1 ")[1:]
    assert [int(part.split()[0]) for part in parts] == [200, 200]
    assert [item["confirmed"] for item in body_of(parts[0])["items"]] == [1]


def test_connect_is_refused(short: Service) -> None:
    assert status_of(answered(opened(short, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"))) == 405


@pytest.mark.parametrize("length", [b"Content-Length: 20\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"])
def test_a_client_that_leaves_in_the_middle_of_a_body_has_confirmed_nothing(short: Service, length: bytes) -> None:
    held = factories.hold(factories.product({factories.SP: 5}).pk, 2)
    head = f"POST {API}/reservations/{held.id}/confirm HTTP/1.1\r\nHost: localhost\r\n".encode()
    opened(short, head + length).close()
    wait_until(lambda: short.metric("inventory_http_connections") == 1, "it has noticed")
    assert Reservation.objects.get(pk=held.id).status == "ACTIVE"


# --- places ----------------------------------------------------------------------------------------------------------


def test_of_one_address_the_connection_that_waited_longest_makes_room(long: Service) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(opened(long, at=OTHER_ADDRESS)) for _ in range(17)]
        assert silent[0].recv(1) == b""
        silent[1].sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert silent[1].recv(12) == b"HTTP/1.1 200"
        assert long.ask("GET", "/health/live").status == 200  # another address has places of its own


def test_those_who_are_being_answered_keep_their_place(long: Service) -> None:
    product = factories.product({factories.SP: 100})
    closed = Closed(long, "too_many")
    lines = [Line(long.port) for _ in range(8)]
    with ExitStack() as stack, ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(line.ask, reservation(product.pk)) for line in lines]
        wait_until(lambda: long.metric("inventory_http_connections") == 9, "all are there")
        for _ in range(60):
            stack.enter_context(opened(long))
        assert {one.result().status for one in asked} == {201}
    for line in lines:
        line.close()
    assert closed() >= 40


# --- a crowd ---------------------------------------------------------------------------------------------------------


@contextmanager
def crowd(service: Service) -> Iterator[None]:
    """Silent and half-sent connections, all of them open when the block begins."""
    command = [sys.executable, crowd_script.__file__, *map(str, (service.port, SILENT, HALF_SENT))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        yield
        process.terminate()


def purchases(service: Service, product_id: Any) -> list[float]:
    """The seconds that each of the purchases took; all of them must be made."""

    def buy(line: Line) -> list[float]:
        took = []
        for _ in range(PURCHASES):
            began = time.perf_counter()
            assert line.ask(reservation(product_id)).status == 201
            took.append(time.perf_counter() - began)
        line.close()
        return took

    with ThreadPoolExecutor(BUYERS) as threads:
        found = threads.map(buy, [Line(service.port) for _ in range(BUYERS)])
        return [seconds for each in found for seconds in each]


def p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98]


@pytest.mark.usefixtures("books")
def test_2000_silent_and_500_half_sent_connections_delay_no_buyer(tmp_path: Path) -> None:
    product = factories.product({factories.SP: 100_000})
    with served(tmp_path) as service:
        purchases(service, product.pk)
        ratios: list[float] = []
        while not ratios or (min(ratios) >= MOST_TIMES_AS_LONG and len(ratios) < ROUNDS):
            quiet = p99(purchases(service, product.pk))
            with crowd(service):
                ratios.append(p99(purchases(service, product.pk)) / quiet)
                assert service.ask("GET", "/health/live").status == 200
                assert (service.metric("inventory_http_connections") or 0) <= 1_024 + BUYERS + 2
        assert min(ratios) < MOST_TIMES_AS_LONG, ratios
    assert Reservation.objects.count() == (1 + 2 * len(ratios)) * BUYERS * PURCHASES
