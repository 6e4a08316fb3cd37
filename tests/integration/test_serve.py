"""`manage.py serve` as it is run: embedded on SQLite, and on PostgreSQL with two web processes."""

import http.cookies
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID, uuid4

import psycopg
import pytest
from django.conf import settings

from reservations.models import Reservation
from stock.models import StockLevel
from tests import factories
from tests.integration.group_commit import callers
from tests.servers import free_port, with_descendants
from tests.service import KEY, Service, environment, is_running, manage, url_of_test_database, wait_until

API = "/api/inventory"
LIMIT = 262_144
BATCHES = 'inventory_group_commit_batch_size_count{verb="reserve"}'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated and seeded SQLite file; the id that `seed` printed is in `product_id`."""
    folder = tmp_path_factory.mktemp("embedded")
    env = environment(INVENTORY_DATA_DIR=folder)
    assert manage("migrate", "--verbosity", "0", env=env).returncode == 0
    seeded = manage("seed", "--warehouses", "--products", env=env)
    assert seeded.returncode == 0, seeded.stderr
    (folder / "product_id").write_text(re.search(r"A product id to try: (\S+)", seeded.stdout)[1])  # type: ignore[index]
    return folder


@pytest.fixture(scope="module")
def embedded(folder: Path) -> Iterator[Service]:
    """The service as a stranger starts it, with holds of 3 seconds."""
    env = environment(INVENTORY_DATA_DIR=folder, RESERVATION_TTL_MINUTES="0.05", EXPIRY_INTERVAL_SECONDS=1)
    with Service(env=env, log=folder / "serve.log") as service:
        yield service


@pytest.fixture
def product_id(folder: Path) -> str:
    return (folder / "product_id").read_text()


def test_the_curl_lines_of_a_first_visit_work(embedded: Service, product_id: str) -> None:
    health = embedded.ask("GET", "/health")
    assert (health.status, health.json()) == (200, {"status": "ok", "parts": {"database": "ok"}})
    availability = embedded.ask("GET", f"{API}/products/{product_id}/availability")
    assert (availability.status, availability.json()["state"]) == (200, "in_stock")
    items = [{"product_id": product_id, "quantity": 2, "warehouse_id": "wh-sp-001"}]
    made = embedded.ask("POST", f"{API}/reservations", {"order_id": str(uuid4()), "items": items})
    assert (made.status, made.json()["status"]) == (201, "ACTIVE")
    assert embedded.ask("GET", "/api/docs").status == 200
    assert embedded.ask("GET", "/static/admin/css/base.css").status == 200


def test_a_hold_ends_by_itself_and_the_process_that_released_it_counts_it(embedded: Service, product_id: str) -> None:
    body = {"order_id": str(uuid4()), "items": [{"product_id": product_id, "quantity": 1}]}
    made = embedded.ask("POST", f"{API}/reservations", body).json()
    path = f"{API}/reservations/{made['id']}"
    assert embedded.ask("GET", path).json()["status"] == "ACTIVE"
    wait_until(lambda: embedded.ask("GET", path).json()["status"] == "EXPIRED", "released")
    # The other tests of this service hold stock as well; what is compared is what the processes counted together.
    wait_until(lambda: (embedded.metric("inventory_reservations_expired") or 0) >= 1, "counted")
    wait_until(lambda: "event inventory.released" in embedded.output, "drained to the log")


def test_the_printed_password_opens_the_admin(embedded: Service) -> None:
    password = re.search(r"as admin with password (\S+)", embedded.output)[1]  # type: ignore[index]
    form = embedded.ask("GET", "/admin/login/")
    cookie = http.cookies.SimpleCookie(form.headers["Set-Cookie"])["csrftoken"].value
    fields = {"username": "admin", "csrfmiddlewaretoken": cookie, "next": "/admin/"}
    headers = {
        "Cookie": f"csrftoken={cookie}",
        "Content-Type": "application/x-www-form-urlencoded",
        "Referer": f"http://127.0.0.1:{embedded.port}/admin/login/",
    }
    wrong = embedded.ask("POST", "/admin/login/", urlencode(fields | {"password": "guess"}).encode(), **headers)
    assert wrong.status == 200
    right = embedded.ask("POST", "/admin/login/", urlencode(fields | {"password": password}).encode(), **headers)
    assert (right.status, right.headers["Location"]) == (302, "/admin/")
    session = next(value for value in right.headers.get_all("Set-Cookie", []) if value.startswith("sessionid="))
    page = embedded.ask("GET", "/admin/", Cookie=session.partition(";")[0])
    assert (page.status, "Log out" in page.text) == (200, True)
    assert "Periodic tasks" not in page.text  # no beat runs here, and what is said there would do nothing


def test_metrics_carry_the_literal_names(embedded: Service, product_id: str) -> None:
    body = {"order_id": str(uuid4()), "items": [{"product_id": product_id, "quantity": 1}]}
    assert embedded.ask("POST", f"{API}/reservations", body).status == 201
    answer = embedded.ask("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    names = set(re.findall(r"^(\w+)[ {]", answer.text, re.MULTILINE))
    assert names >= {
        "inventory_reservations_total",
        "inventory_reservations_expired",
        "inventory_stock_level",
        "inventory_oversell_events",
        "inventory_expiry_lag_seconds",
        "inventory_expiry_left_behind",
        "inventory_outbox_unpublished",
        "inventory_database_up",
        "django_http_responses_total_by_status_total",
    }
    level = re.search(
        r'^inventory_stock_level\{product_id="([^"]+)",warehouse_id="([^"]+)"\} ', answer.text, re.MULTILINE
    )
    assert level is not None
    assert embedded.metric("inventory_oversell_events") == 0
    # Both processes tell when a job last succeeded, though only the jobs process runs them.
    assert "inventory_job_last_success" in answer.text


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_serve_leaves_nothing_running_however_it_ends(
    embedded: Service, folder: Path, tmp_path: Path, signal_number: int
) -> None:
    key = (folder / "secret_key").read_text()
    with Service(env=environment(INVENTORY_DATA_DIR=folder), log=tmp_path / "serve.log") as service:
        tree = with_descendants(service.process.pid)
        assert len(tree) >= 5  # serve, gunicorn's master, its worker, the expiration worker, the jobs
        # A second start on the same folder shows no password again, and keeps the key of the first.
        assert "Log in           as before." in service.output
        assert "with password" not in service.output
        assert ((folder / "secret_key").read_text(), (folder / "secret_key").stat().st_mode & 0o077) == (key, 0)
        code = service.stop(signal_number)
        wait_until(lambda: not any(is_running(pid) for pid in tree), "all processes ended")
        assert code == (-signal.SIGKILL if signal_number == signal.SIGKILL else 0)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", service.port))
    if signal_number != signal.SIGKILL:
        assert "Traceback" not in service.output


def test_32_callers_at_once_share_transactions_and_are_all_served(embedded: Service, product_id: str) -> None:
    before = embedded.metric(BATCHES) or 0
    told = callers.ask_at_once(embedded, [callers.reservation(UUID(product_id)) for _ in range(32)])
    assert callers.words(told) == {(201, "ACTIVE"): 32}
    assert 1 <= (embedded.metric(BATCHES) or 0) - before < 32


# --- the first start -------------------------------------------------------------------------------------------------


def test_a_first_start_sets_up_and_ends_with_the_password(tmp_path: Path) -> None:
    """What a newcomer has on the screen when the service is up, on 24 rows of 80 columns."""
    env = environment(INVENTORY_DATA_DIR=tmp_path)
    with Service("--set-up", env=env, log=tmp_path / "serve.log") as service:
        address = f"http://127.0.0.1:{service.port}"
        wait_until(lambda: "changepassword admin" in service.output, "greeted")
        before, _, greeting = service.output.partition(f"Inventory Service on {address}\n")
        wait_until(
            lambda: service.metric('inventory_job_last_success_timestamp_seconds{job="drain_outbox_to_log"}'), "a drain"
        )
        assert "Migrating the database ...\nWarehouses: 3 " in before
        assert "event inventory.back_in_stock" in before
        assert "event inventory." not in service.output.partition("changepassword admin")[2]
        password = re.search(r"as admin with password (\S+)", greeting)[1]  # type: ignore[index]
        assert greeting.splitlines()[:7] == [
            f"  API, to try it   {address}/api/docs",
            f"  Health, metrics  {address}/health  {address}/metrics",
            "  API tokens       not required",
            f"  Admin            {address}/admin/",
            f"  Log in           as admin with password {password}",
            "                   It is shown only now. To set another:",
            f"                   {Path(sys.executable).relative_to(settings.BASE_DIR)} manage.py changepassword admin",
        ]
        assert max(map(len, greeting.splitlines()[:7])) <= 80


def test_a_port_that_is_taken_is_noticed_before_the_database_is_touched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = manage("serve", "--set-up", env=environment(INVENTORY_DATA_DIR=tmp_path, INVENTORY_PORT=port))
    assert done.returncode == 1
    assert done.stderr == (
        f"CommandError: Cannot listen on 127.0.0.1:{port}: Address already in use. "
        "Set INVENTORY_PORT or INVENTORY_HOST to another.\n"
    )
    assert not (tmp_path / "inventory.sqlite3").exists()


def test_all_addresses_are_greeted_by_a_name_that_is_let_in_and_by_the_scheme_of_the_proxy(
    folder: Path, tmp_path: Path
) -> None:
    hosts = {"INVENTORY_HOST": "0.0.0.0", "ALLOWED_HOSTS": "stock.example.com,127.0.0.1"}  # noqa: S104
    env = environment(INVENTORY_DATA_DIR=folder, **hosts)
    with Service(env=env, log=tmp_path / "serve.log") as service:
        assert "Inventory Service on https://stock.example.com\n" in service.output
        assert f"it ends TLS; this process speaks plain HTTP on 0.0.0.0:{service.port}\n" in service.output
    plain = env | {"INVENTORY_HTTPS": "off"}
    with Service(env=plain, log=tmp_path / "plain.log") as service:
        assert f"Inventory Service on http://stock.example.com:{service.port}\n" in service.output


# --- on PostgreSQL with two web processes ----------------------------------------------------------------------------


@pytest.fixture
def real(transactional_db: None, tmp_path: Path) -> Iterator[Service]:
    env = environment(
        DATABASE_URL=url_of_test_database(), SECRET_KEY=KEY, WEB_WORKERS=2, WEB_THREADS=4, INVENTORY_API_AUTH="off"
    )
    with Service(env=env, log=tmp_path / "serve.log") as service:
        yield service


def test_on_postgresql_counts_add_up_and_bodies_are_bounded(real: Service) -> None:
    product = factories.product({factories.SP: 100})
    items = [{"product_id": str(product.pk), "quantity": 1}]
    for _ in range(20):
        made = real.ask("POST", f"{API}/reservations", {"order_id": str(uuid4()), "items": items})
        assert made.status == 201
    assert {real.metric("inventory_reservations_total") for _ in range(10)} == {20.0}
    assert real.metric(f'inventory_stock_level{{product_id="{product.pk}",warehouse_id="wh-sp-001"}}') == 80

    before = StockLevel.objects.values().get()
    chunked_bodies_are_read_and_bounded(real, str(product.pk))
    headers_that_upset_django_are_answered(real)
    assert StockLevel.objects.values().get() == before
    assert "request_failed" not in real.output
    assert "Internal Server Error" not in real.output


def test_marks_of_low_stock_that_cannot_be_made_anew_do_not_keep_the_service_from_starting(
    transactional_db: None, tmp_path: Path
) -> None:
    factories.product({factories.SP: 15})
    url = url_of_test_database()
    env = environment(DATABASE_URL=url, SECRET_KEY=KEY, WEB_WORKERS=1, INVENTORY_API_AUTH="off", LOW_STOCK_THRESHOLD=20)
    with psycopg.connect(url) as somebody:
        somebody.execute("SELECT 1 FROM stock_level FOR UPDATE")
        with Service(env=env, log=tmp_path / "serve.log") as service:
            assert service.ask("GET", "/health/ready").status == 200
            assert "the marks of low stock were not all brought to LOW_STOCK_THRESHOLD" in service.output
    assert StockLevel.objects.get().is_low is False


def expiration_workers(service: Service) -> set[int]:
    """The ids of those processes among the children of the service."""
    found = set()
    for pid in with_descendants(service.process.pid):
        with suppress(OSError):  # it has just ended
            if b"--forever" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
    return found


def test_with_rabbitmq_away_serve_releases_overdue_holds_and_goes_on_when_that_process_is_killed(
    transactional_db: None, tmp_path: Path
) -> None:
    product = factories.product({factories.SP: 2})
    env = environment(
        DATABASE_URL=url_of_test_database(),
        RABBITMQ_URL=f"amqp://guest:guest@127.0.0.1:{free_port()}//",
        SECRET_KEY=KEY,
        WEB_WORKERS=1,
        INVENTORY_API_AUTH="off",
        EXPIRY_INTERVAL_SECONDS=1,
        EXPIRY_METRICS_PORT=(port := free_port()),
    )
    with Service(env=env, log=tmp_path / "serve.log") as service:
        for _ in range(2):
            held = factories.hold(product.pk)
            factories.make_overdue(held)
            service.wait_until(lambda id_=held.id: Reservation.objects.get(pk=id_).status == "EXPIRED", "released")  # type: ignore[misc]
            service.wait_until(
                lambda: service.metric('inventory_job_last_success_timestamp_seconds{job="expire_reservations"}'),
                "told by the web server",
            )
            with pytest.raises(ConnectionRefusedError):  # the port is for a worker of its own on this host
                socket.create_connection(("127.0.0.1", port)).close()
            [worker] = before = expiration_workers(service)
            os.kill(worker, signal.SIGKILL)
            service.wait_until(lambda old=before: expiration_workers(service) - old, "started again")  # type: ignore[misc]
    assert "the expiration worker ended with exit code -9; starting it again" in service.output


def chunked_bodies_are_read_and_bounded(real: Service, product_id: str) -> None:
    path = f"{API}/availability"
    head = {"Content-Type": "application/json"}
    small = iter([b'{"product_ids": ', f'["{product_id}"]}}'.encode()])
    assert real.ask("POST", path, small, **head).json()["products"][0]["product_id"] == product_id
    for body in (b" " * (LIMIT + 1), iter([b" " * 65_536] * 5)):
        large = real.ask("POST", path, body, **head)
        assert (large.status, large.json()["code"]) == (413, "too_large")
        assert large.headers["Content-Type"] == "application/problem+json"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert real.ask("POST", "/admin/login/", b"x" * (LIMIT + 1), **form).status == 413
    assert real.ask("POST", "/admin/login/", b"x" * LIMIT, **form).status == 403  # read, and without a CSRF token
    # Django's own reader would take a chunked body for an empty one, and this confirmation for one of the whole hold.
    refused = real.ask("POST", f"{API}/reservations", iter([b'{"order_id":', b' "x"}']), **head)
    assert (refused.status, {error["field"] for error in refused.json()["errors"]}) == (400, {"order_id", "items"})


def headers_that_upset_django_are_answered(real: Service) -> None:
    for content_type in (
        "application/json; charset=hex",
        "application/json; charset*=bogus''x",
        "text/plain; =;",
        "a/b;",
    ):
        refused = real.ask("POST", f"{API}/availability?x=%FF", b"{}", **{"Content-Type": content_type})
        assert (refused.status, refused.json()["code"]) == (415, "unsupported_media_type"), content_type
    hostile = real.ask("GET", f"{API}/products", Host="evil.example")
    assert (hostile.status, hostile.json()["code"]) == (400, "invalid")
    for method in ("POST", "PUT", "DELETE"):
        for path in ("/health", "/metrics", "/health/live"):
            refused = real.ask(method, path, b"{}", **{"Content-Type": "application/json"})
            assert (refused.status, refused.json()["code"], refused.headers["Allow"]) == (
                405,
                "method_not_allowed",
                "GET, HEAD",
            )
    for path in ("/admin/reservations/5/expire", "/admin/products/5/block-sales", f"{API}/nothing"):
        missing = real.ask("POST", path, b"{}", **{"Content-Type": "application/json"})
        assert (missing.status, missing.json()["code"]) == (404, "not_found"), path
