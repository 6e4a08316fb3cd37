"""Requests whose heads are meant to do harm: they are refused before their bodies are read, and never by a 500."""

import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reservations.models import Reservation
from tests import factories
from tests.integration.group_commit.callers import API
from tests.integration.group_commit.conftest import serving
from tests.service import PATIENCE_SECONDS, Service

FORM = b"Content-Type: multipart/form-data; boundary=b\r\nCookie: csrftoken=" + b"b" * 32 + b"\r\n"
PIECE = b"\x00" * 65_536


@pytest.fixture(scope="module")
def temp_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="heads-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def _service(django_db_setup: None, temp_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = serving(tmp_path_factory.mktemp("heads") / "serve.log", WEB_WORKERS=1)
    service.env = {**service.env, "TMPDIR": str(temp_folder)}
    with service:
        yield service


@pytest.fixture
def service(_service: Service, transactional_db: None) -> Service:
    """A service without tokens, whose temporary files are in a folder of their own."""
    return _service


def answer_to(service: Service, *pieces: bytes) -> tuple[int, Any, bytes]:
    """The status, the JSON body and the head of the answer to a request of these bytes."""
    received = b""
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE_SECONDS) as client:
        try:
            for piece in pieces:
                client.sendall(piece)
            while b"\r\n\r\n" not in received or not _is_whole(received):
                received += (more := client.recv(65_536))
                if not more:
                    break
        except ConnectionError:
            pass
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body) if b"json" in head else None, head


def _is_whole(received: bytes) -> bool:
    head, _, body = received.lower().partition(b"\r\n\r\n")
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(length) and len(body) >= int(length)


def request(method: bytes, path: bytes, *headers: bytes, host: bytes = b"Host: localhost\r\n") -> bytes:
    return b"%s %s HTTP/1.1\r\n%s%s\r\n" % (method, path, host, b"".join(headers))


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [b"/admin/login/", b"/admin/", f"{API}/reservations".encode(), b"/none"])
@pytest.mark.parametrize("length", [b"Content-Length: 200000000\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_form_with_a_file_is_refused_unread_and_leaves_no_file(
    service: Service, temp_folder: Path, path: bytes, length: bytes
) -> None:
    before = sorted(os.listdir(temp_folder))

    status, body, head = answer_to(service, request(b"POST", path, FORM, length))

    assert (status, body["code"]) == (415, "unsupported_media_type")
    assert b"\r\nconnection: close" in head.lower()
    assert sorted(os.listdir(temp_folder)) == before


def test_the_metrics_have_a_folder_of_their_own(service: Service, temp_folder: Path) -> None:
    assert service.ask("GET", "/metrics").status == 200
    [folder] = os.listdir(temp_folder)
    assert folder.startswith("inventory-metrics-")
    assert (temp_folder / folder).stat().st_mode & 0o777 == 0o700


def test_a_form_as_large_as_a_body_may_be_is_kept_in_memory(service: Service, temp_folder: Path) -> None:
    before = sorted(os.listdir(temp_folder))
    form = request(
        b"POST", b"/admin/login/", b"Content-Type: application/x-www-form-urlencoded\r\n", b"Content-Length: 262144\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE_SECONDS) as client:
        client.sendall(form + b"a" * 262_143)
        time.sleep(0.2)

        assert sorted(os.listdir(temp_folder)) == before

        client.sendall(b"a")
        assert client.recv(12) == b"HTTP/1.1 403"


# --- encodings and types ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"deflate", b"GZIP, identity", b"none"])
def test_a_compressed_body_is_refused_unread(service: Service, encoding: bytes) -> None:
    headers = (b"Content-Type: application/json\r\n", b"Content-Encoding: %s\r\n" % encoding, b"Content-Length: 99\r\n")

    status, body, _ = answer_to(service, request(b"POST", f"{API}/reservations".encode(), *headers))

    assert (status, body["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["*/*", "application/*", "*/json"])
def test_a_pattern_is_no_content_type(service: Service, kind: str) -> None:
    answer = service.ask("POST", f"{API}/reservations", b"{}", **{"Content-Type": kind})

    assert (answer.status, answer.json()["code"]) == (415, "unsupported_media_type")


def test_control_an_encoding_that_changes_nothing_is_accepted(service: Service) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "identity"}

    assert service.ask("POST", f"{API}/reservations", b"{}", **headers).status == 400


# --- hosts and paths -------------------------------------------------------------------------------------------------


def test_a_request_without_a_host_is_refused(service: Service) -> None:
    status, body, _ = answer_to(service, request(b"GET", b"/health/live", host=b""))

    assert (status, body["code"]) == (400, "invalid")


def test_control_http_1_0_needs_no_host_header_of_its_own(service: Service) -> None:
    status, _, _ = answer_to(service, b"GET /health/live HTTP/1.0\r\nHost: localhost\r\n\r\n")

    assert status == 200


@pytest.mark.parametrize("host", ["localhost:6666", "127.0.0.1:99999"])
def test_the_port_that_a_client_names_is_in_no_link(service: Service, host: str) -> None:
    product = factories.product({factories.SP: 5, factories.RJ: 5})

    answer = service.ask("GET", f"{API}/movements?page_size=1&product_id={product.pk}", Host=host)

    assert answer.json()["next"].startswith(f"{API}/movements?cursor=")
    assert answer.json()["previous"] is None


@pytest.mark.parametrize("name", [b"SCRIPT_NAME", b"Script-Name", b"SCRIPT-NAME", b"Script_Name"])
def test_a_client_cannot_cut_off_a_part_of_the_path(service: Service, name: bytes) -> None:
    cut, _, _ = answer_to(service, request(b"GET", b"/zz/admin/login/", name + b": /zz\r\n"))
    other, _, _ = answer_to(service, request(b"GET", b"/health/ready", name + b": /x\r\n"))

    assert (cut, other) == (404, 200)


# --- anonymous 500s --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [b"/health/live", b"/health", b"/admin/", b"/admin/login/", b"/nope", b"/metrics"])
@pytest.mark.parametrize("cookie", [rb'"\000aaaaaaaaaa"', b"a" * 3_000, b"\xff\xfe", b'"\\303\\050"'])
def test_no_cookie_is_a_500(service: Service, path: bytes, cookie: bytes) -> None:
    status, _, _ = answer_to(service, request(b"GET", path, b"Cookie: sessionid=" + cookie + b"\r\n"))

    assert status in (200, 302, 404)


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"-2\r\n", b"0x2\r\n", b"0_2\r\n", b"2\r\nabcd\r\n"])
def test_a_malformed_chunk_is_no_500(service: Service, chunk: bytes) -> None:
    head = request(b"POST", b"/health/live", b"Transfer-Encoding: chunked\r\n")

    status, body, _ = answer_to(service, head, chunk)

    assert (status, body["code"]) == (400, "invalid")


# --- other sites -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": "null"},
    ],
    ids=str,
)
def test_without_tokens_a_page_of_another_site_changes_nothing(service: Service, headers: dict[str, str]) -> None:
    held = factories.hold(factories.product({factories.SP: 5}).pk, 2)
    for path in (f"{API}/reservations/{held.id}/cancel", f"/admin/reservations/{held.id}/expire"):
        refused = service.ask("POST", path, **headers)

        assert (refused.status, refused.json()["code"]) == (403, "forbidden")
    assert Reservation.objects.get(pk=held.id).status == "ACTIVE"


def test_control_a_page_of_this_service_and_a_plain_client_may(service: Service) -> None:
    host = f"localhost:{service.port}"
    own = {"Sec-Fetch-Site": "same-origin", "Origin": f"http://{host}", "Host": host}
    for headers in (own, {"Sec-Fetch-Site": "none"}, {}):
        held = factories.hold(factories.product({factories.SP: 5}).pk, 2)

        assert service.ask("POST", f"{API}/reservations/{held.id}/cancel", **headers).status == 200
