"""The service as it runs for people: `manage.py serve` on the servers of the run, and Debian's browser before it."""

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, sync_playwright
from psycopg import sql

SCREENSHOTS: Path = settings.BASE_DIR / ".cache" / "screenshots"
CHROMIUM = "/usr/bin/chromium"
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
START_SECONDS = 30
STOP_SECONDS = 30
PASSWORD = secrets.token_urlsafe(12)


@dataclass(frozen=True, slots=True)
class Service:
    """A service that runs, a token for it, and what is in it; `ana` with PASSWORD is its administrator."""

    url: str
    token: str
    product_id: str
    reservation_id: str

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """The API's answer to a request that it grants."""
        request = urllib.request.Request(  # noqa: S310  # our own address
            f"{self.url}/api/inventory/{path}",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
        return answer


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """`manage.py serve` on a free port, over a seeded database with an administrator and some reservations."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with a_database() as database:
        environment = {
            **os.environ,
            "DATABASE_URL": database,
            "INVENTORY_PORT": str(port),
            "INVENTORY_API_AUTH": "on",
            "STAFF_SECOND_FACTOR": "optional",
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        }
        manage(environment, "migrate", "--verbosity", "0")
        seeded = manage(environment, "seed", "--warehouses", "--products")
        manage(environment, "createsuperuser", "--noinput", "--username", "ana", "--email", "ana@example.com")
        scopes = ("--scope", "stock:read", "--scope", "reservations:write")
        token = manage(environment, "create_api_token", "checkout", "--user", "ana", *scopes).strip()
        product_id = re.findall(r"A product id to try: (\S+)", seeded)[0]
        url = f"http://127.0.0.1:{port}"
        with serving(url, environment):
            yield furnished(Service(url, token, product_id, reservation_id=""))


@contextmanager
def a_database() -> Iterator[str]:
    """The URL of a fresh database beside the one that the environment names; dropped in the end."""
    name = f"e2e_{secrets.token_hex(6)}"
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}").geturl()
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def manage(environment: Mapping[str, str], *arguments: str) -> str:
    """What a command of ours prints; it must end well."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def serving(url: str, environment: Mapping[str, str]) -> Iterator[None]:
    """Inside the block the service answers at `url`; afterwards it has ended in order."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    log = SCREENSHOTS / "serve.log"
    with log.open("w") as output:
        serve = subprocess.Popen(
            [sys.executable, "manage.py", "serve"],
            cwd=settings.BASE_DIR,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"{url}/health/ready"):
            assert serve.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        serve.terminate()
        exit_code = serve.wait(STOP_SECONDS)
    assert exit_code == 0


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310  # our own address
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


def furnished(service: Service) -> Service:
    """With two reservations: one confirmed, one held and extended, which is the one named."""
    for quantity in (1, 2):
        item = {"product_id": service.product_id, "quantity": quantity}
        made = service.post("reservations", order_id=str(uuid4()), items=[item])
        if quantity == 1:
            service.post(f"reservations/{made['id']}/confirm")
    service.post(f"reservations/{made['id']}/extend", minutes=5, reference="call 12")
    return Service(service.url, service.token, service.product_id, made["id"])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """An empty tab, which in the end has met no error in a script and nothing that was missing."""
    context = browser.new_context(base_url=service.url, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if "Content Security Policy" in line.text else None)
    page.on("response", lambda response: complaints.append(response.url) if response.status >= 400 else None)
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def staff(page: Page) -> Page:
    """A tab whose user has logged in to the admin."""
    page.goto("/admin/")
    page.fill("input[name=username]", "ana")
    page.fill("input[name=password]", PASSWORD)
    page.click("input[type=submit]")
    page.wait_for_selector("text=Log out")
    return page
