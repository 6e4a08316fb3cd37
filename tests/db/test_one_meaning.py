"""A text, an id or a number means the same at every door: over HTTP on both ways, in a message, in a file, in the admin
and on the command line. Each value has one meaning or is refused, whichever door it comes to.
"""

import csv
import io
import json
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client
from pytest_django import Settings

from inventory_project.foundation.errors import Invalid
from inventory_project.foundation.messaging import envelope
from inventory_project.foundation.messaging.envelope import Message
from inventory_project.foundation.messaging.rabbitmq.messages import Delivery
from reservations import handlers
from reservations.analysis.simulation import order_file
from reservations.models import Reservation
from stock.management.commands.seed import load_products
from stock.models import Product
from tests import factories
from tests.db.http import clients
from tests.db.http.bad_inputs import API, JSON
from warehouses import catalogue, postal_areas
from warehouses.models import Warehouse

pytestmark = pytest.mark.django_db

REFUSED = None
SP = factories.SP
PRODUCT = UUID("5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1001")
ID = "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f"
WHOLE_FORM = {"id": str(uuid4()), "sku": "X-1", "name": "n", "low_stock_threshold": ""}
PLACE_FORM = {"id": "wh-x", "name": "n", "region": "r", "priority": "1"}

# What a text means as a name and as a code (an SKU, a reference, a region).
TEXTS: dict[str, tuple[str | None, str | None]] = {
    "MUG-1": ("MUG-1", "MUG-1"),
    " MUG 1\t": ("MUG 1", "MUG 1"),
    "\u3000MUG\n": ("MUG", "MUG"),
    "yes": ("yes", "yes"),
    "010": ("010", "010"),
    "1:30": ("1:30", "1:30"),
    "=1+1": ("=1+1", "=1+1"),
    "# MUG": ("# MUG", "# MUG"),
    "a;b,c": ("a;b,c", "a;b,c"),
    "Caf\u00e9": ("Caf\u00e9", "Caf\u00e9"),
    "Cafe\u0301": ("Caf\u00e9", "Caf\u00e9"),
    "\u212a": ("K", "K"),
    "\uff2d\uff35\uff27": ("\uff2d\uff35\uff27", "\uff2d\uff35\uff27"),
    "\U0001f4e6 box": ("\U0001f4e6 box", "\U0001f4e6 box"),
    "<b>'\"\\%s{}": ("<b>'\"\\%s{}", "<b>'\"\\%s{}"),
    "\u0646\u0645\u06cc\u200c\u062e": ("\u0646\u0645\u06cc\u200c\u062e", REFUSED),
    "\u0915\u094d\u200d\u0937": ("\u0915\u094d\u200d\u0937", REFUSED),
    "\u2764\ufe0f": ("\u2764\ufe0f", REFUSED),
    "5\u00a0mm": ("5\u00a0mm", REFUSED),
    "": (REFUSED, REFUSED),
    "   ": (REFUSED, REFUSED),
    "\u2003": (REFUSED, REFUSED),
    "A\x07B": (REFUSED, REFUSED),
    "A\nB": (REFUSED, REFUSED),
    "A\r\nB": (REFUSED, REFUSED),
    "A\tB": (REFUSED, REFUSED),
    "A\x85B": (REFUSED, REFUSED),
    "A\u2028B": (REFUSED, REFUSED),
    "a\x1b[31m": (REFUSED, REFUSED),
    "A\0B": (REFUSED, REFUSED),
    "Tamper\u200b58": (REFUSED, REFUSED),
    "\ufeffTamper-58": (REFUSED, REFUSED),
    "Tamper-58\u202e": (REFUSED, REFUSED),
    "Tam\u00adper": (REFUSED, REFUSED),
    "\u3164": (REFUSED, REFUSED),
    "x" * 501: (REFUSED, REFUSED),
}
IDS: dict[str, UUID | None] = {
    ID: UUID(ID),
    ID.upper(): UUID(ID),
    "": REFUSED,
    "5": REFUSED,
    "None": REFUSED,
    f"{{{ID}}}": REFUSED,
    f"urn:uuid:{ID}": REFUSED,
    ID.replace("-", ""): REFUSED,
    f"{ID}0": REFUSED,
    ID.replace("0", "\u0660"): REFUSED,
}
WHOLE: dict[str, int | None] = {
    "1": 1,
    "7": 7,
    "60": 60,
    "": REFUSED,
    "0x10": REFUSED,
    "010": REFUSED,
    "1_0": REFUSED,
    "1:30": REFUSED,
    "+5": REFUSED,
    "-5": REFUSED,
    "1.0": REFUSED,
    "1e1": REFUSED,
    "\u0663": REFUSED,
    "\u00b2": REFUSED,
    "yes": REFUSED,
    "9" * 30: REFUSED,
}
DEGREES: dict[str, float | None] = {
    "10": 10.0,
    "-23.55": -23.55,
    "0.0001": 0.0001,
    "010": REFUSED,
    "1_0": REFUSED,
    "-23,55": REFUSED,
    "1e1": REFUSED,
    "nan": REFUSED,
    "1:30": REFUSED,
    "91": REFUSED,
    "\u0663": REFUSED,
}
PLACES: dict[str, str | None] = {
    SP: SP,
    f" {SP}\n": SP,
    SP.upper(): REFUSED,
    "-wh": REFUSED,
    "wh sp": REFUSED,
    f"{SP}\u200b": REFUSED,
    SP.replace("-", "\u2010"): REFUSED,
    "\uff57h-sp-001": REFUSED,
    "w" * 65: REFUSED,
}
POSTAL_CODES = {
    "01310-100": "01310-100",
    " 01310-100 ": "01310-100",
    "pt 1000-001": "pt 1000-001",
    "KW1 5NS": "KW1 5NS",
}


@pytest.fixture(autouse=True)
def _shop(db: None, settings: Settings) -> None:
    settings.API_AUTH_ENABLED, settings.SECURE_SSL_REDIRECT = False, False
    product = factories.product({SP: 100})
    Product.objects.filter(pk=product.pk).update(sku="STOCKED")


@pytest.fixture
def ana() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ana"))
    return client


Door = Callable[[str], Any]


def undone(door: Door) -> Door:
    """The door, behind which nothing stays as it left it."""

    def tried(value: str) -> Any:
        with transaction.atomic():
            meaning = door(value)
            transaction.set_rollback(True)
        return meaning

    return tried


def compare(doors: dict[str, Door], meanings: dict[str, Any]) -> None:
    """Show each value to each door. What it means there must be what the table says."""
    found = {(value, name): undone(door)(value) for name, door in doors.items() for value in meanings}
    assert {key: meaning for key, meaning in found.items() if meaning != meanings[key[0]]} == {}


# --- what the doors make of a value --------------------------------------------------------------------------------


def over_http(kind: str, method: str, path: str, body: Callable[[str], dict[str, Any]], *answer: str | int) -> Door:
    """The value in the answer's member."""
    client = clients.client(kind)

    def door(value: str) -> Any:
        response: Any = client.generic(method, path, json.dumps(body(value)), JSON)
        if response.status_code >= 300:
            assert response.status_code == 400, response.content
            return REFUSED
        found = response.json()
        for member in answer:
            found = found[member]
        return found

    return door


def order(**changes: Any) -> dict[str, Any]:
    item = {"product_id": str(Product.objects.get().pk), "quantity": 1}
    return {"order_id": str(uuid4()), "items": [item | changes.pop("item", {})], **changes}


def in_message(order_of: Callable[[str], dict[str, Any]], read: Callable[[Any], Any]) -> Door:
    def door(value: str) -> Any:
        message = Message(source="/shop", id="1", type="order.created", data=order_of(value), extensions={}, tries=0)
        try:
            return read(handlers.ORDER_CREATED.read(message).request)
        except Invalid:
            return REFUSED

    return door


def in_yaml(
    tmp_path: Path,
    load: Callable[[Path], list[Any]],
    entry: Callable[[str], dict[str, str]],
    read: Callable[[Any], Any],
) -> Door:
    """The value in a list of one entry. The values of `entry` are YAML."""

    def door(value: str) -> Any:
        name = {"load": "warehouses", "load_products": "products"}[load.__name__]
        lines = [f"    {key}: {written}" for key, written in entry(value).items()]
        path = tmp_path / "list.yaml"
        path.write_text("\n".join([f"{name}:", "  -", *lines, ""]), encoding="utf-8")
        try:
            return read(load(path)[0])
        except Invalid:
            return REFUSED

    return door


def in_csv(
    tmp_path: Path,
    load: Callable[[Path], Any],
    header: str,
    row: Callable[[str], list[str]],
    read: Callable[[Any], Any],
) -> Door:
    def door(value: str) -> Any:
        written = io.StringIO()
        csv.writer(written).writerows([header.split(","), row(value)])
        path = tmp_path / "list.csv"
        path.write_bytes(written.getvalue().encode())
        try:
            return read(load(path))
        except Invalid:
            return REFUSED

    return door


def in_form(client: Client, address: str, form: Callable[[str], dict[str, str]], read: Callable[[], Any]) -> Door:
    def door(value: str) -> Any:
        response = client.post(address, form(value))
        return read() if response.status_code == 302 else REFUSED

    return door


def product_in(client: Client, field: str) -> Door:
    def read() -> Any:
        return getattr(Product.objects.exclude(sku="STOCKED").get(), field)

    return in_form(client, "/admin/stock/product/add/", lambda value: {**WHOLE_FORM, field: value}, read)


def place_in(client: Client, field: str, **others: str) -> Door:
    def read() -> Any:
        return getattr(Warehouse.objects.order_by("created_at").last(), field)

    return in_form(
        client, "/admin/warehouses/warehouse/add/", lambda value: {**PLACE_FORM, **others, field: value}, read
    )


def quoted(value: str) -> str:
    """The value as a text of YAML, with escapes for all that is not plain ASCII."""
    plain = [
        sign if sign.isprintable() and sign.isascii() and sign not in '"\\' else f"\\U{ord(sign):08x}" for sign in value
    ]
    return f'"{"".join(plain)}"'


def product_entry(**changes: str) -> dict[str, str]:
    return {"id": ID, "sku": "X-1", "name": "n", "stock": "{}", **changes}


def place_entry(**changes: str) -> dict[str, str]:
    return {"id": "wh-x", "name": "n", "region": "r", "priority": "1", **changes}


ORDERS, AREAS = "order,product_id,quantity,postal_code,warehouse_id", ",".join(postal_areas.COLUMNS)


def order_row(**changes: str) -> list[str]:
    return list(
        {"order": "1", "product": ID, "quantity": "1", "postal_code": "", "warehouse_id": "", **changes}.values()
    )


def area_row(**changes: str) -> list[str]:
    row = {"country": "BR", "prefix": "01", "latitude": "0", "longitude": "0", "name": "n", "region": "r"}
    return [*{**row, **changes}.values(), "place"]


# --- the tables ----------------------------------------------------------------------------------------------------


def test_the_table_has_values_enough() -> None:
    assert len(TEXTS) + len(IDS) + len(WHOLE) + len(DEGREES) + len(PLACES) + len(POSTAL_CODES) >= 60


@pytest.mark.parametrize("kind", [clients.DJANGO, clients.FAST])
def test_a_name_means_the_same_at_every_door(ana: Client, tmp_path: Path, kind: str) -> None:
    path = f"{API}/products/{ID}"
    doors = {
        "http": over_http(kind, "PUT", path, lambda value: {"sku": "X-1", "name": value}, "name"),
        "product form": product_in(ana, "name"),
        "warehouse form": place_in(ana, "name"),
        "warehouses": in_yaml(tmp_path, catalogue.load, lambda v: place_entry(name=quoted(v)), lambda one: one.name),
        "products": in_yaml(tmp_path, load_products, lambda v: product_entry(name=quoted(v)), lambda one: one["name"]),
        "areas": in_csv(tmp_path, postal_areas.load, AREAS, lambda v: area_row(name=v), lambda rows: rows[0].name),
    }
    compare(doors, {value: meaning for value, (meaning, _) in TEXTS.items()})


@pytest.mark.parametrize("kind", [clients.DJANGO, clients.FAST])
def test_a_code_means_the_same_at_every_door(ana: Client, tmp_path: Path, kind: str) -> None:
    def of_message(value: str) -> Any:
        body = {"specversion": "1.0", "id": value, "source": "/shop", "type": "order.created", "data": {}}
        delivery = Delivery(
            tag=1,
            exchange="order.events",
            routing_key="order.created",
            body=json.dumps(body).encode(),
            message_id=None,
            content_type=None,
            correlation_id=None,
            headers={},
        )
        try:
            return envelope.read(delivery).id
        except Invalid:
            return REFUSED

    def receipt(value: str) -> dict[str, Any]:
        items = [{"product_id": str(Product.objects.get().pk), "quantity": 1}]
        return {"reference": value, "warehouse_id": SP, "items": items}

    doors = {
        "sku": over_http(kind, "PUT", f"{API}/products/{ID}", lambda value: {"sku": value, "name": "n"}, "sku"),
        "reference": over_http(kind, "POST", f"{API}/receipts", receipt, "reference"),
        "message": of_message,
        "product form": product_in(ana, "sku"),
        "warehouse form": place_in(ana, "region"),
        "warehouses": in_yaml(
            tmp_path, catalogue.load, lambda v: place_entry(region=quoted(v)), lambda one: one.region
        ),
        "products": in_yaml(tmp_path, load_products, lambda v: product_entry(sku=quoted(v)), lambda one: one["sku"]),
        "orders": in_csv(
            tmp_path, order_file.load, ORDERS, lambda v: order_row(order=v), lambda file: next(iter(file.orders))
        ),
    }
    compare(doors, {value: meaning for value, (_, meaning) in TEXTS.items()})


def test_a_region_with_a_comma_is_two_where_regions_are_listed(tmp_path: Path) -> None:
    door = in_csv(tmp_path, postal_areas.load, AREAS, lambda v: area_row(region=v), lambda rows: rows[0].region)
    assert {value: door(value) for value in ("south", "Parana\u0301", "", "a,b", "a\u200b")} == {
        "south": "south",
        "Parana\u0301": "Paran\u00e1",
        "": "",
        "a,b": REFUSED,
        "a\u200b": REFUSED,
    }


@pytest.mark.parametrize("kind", [clients.DJANGO, clients.FAST])
def test_an_id_means_the_same_at_every_door(ana: Client, tmp_path: Path, kind: str) -> None:
    reserve = over_http(kind, "POST", f"{API}/reservations", lambda value: order(order_id=value), "order_id")

    def of_http(value: str) -> Any:
        found = reserve(value)
        return found and UUID(found)

    def on_command_line(value: str) -> Any:
        with pytest.raises(CommandError) as refusal:
            call_command("expire_reservations", "--reservation", value, stdout=StringIO())
        found = re.fullmatch(r"There is no reservation (.*)\.", str(refusal.value))
        return UUID(found[1]) if found else REFUSED

    doors = {
        "http": of_http,
        "message": in_message(lambda value: order(order_id=value), lambda request: request.order_id),
        "command": on_command_line,
        "form": product_in(ana, "id"),
        "products": in_yaml(tmp_path, load_products, lambda v: product_entry(id=quoted(v)), lambda one: one["id"]),
        "orders": in_csv(
            tmp_path,
            order_file.load,
            ORDERS,
            lambda v: order_row(product=v),
            lambda file: next(iter(file.product_lines)),
        ),
    }
    compare(doors, IDS)


@pytest.mark.parametrize("kind", [clients.DJANGO, clients.FAST])
def test_a_whole_number_means_the_same_at_every_door(ana: Client, tmp_path: Path, kind: str) -> None:
    client = clients.client(kind)

    def in_query(value: str) -> Any:
        path = f"{API}/products/{Product.objects.get().pk}/availability"
        response: Any = client.get(path, {"quantity": value})
        enough = [response.json()["is_sufficient"] for _ in [0] if response.status_code == 200]
        return int(value) if enough == [True] else REFUSED

    def on_command_line(value: str) -> Any:
        with pytest.raises(CommandError) as refusal:
            call_command("sync_counters", f"--workers={value}", stdout=StringIO())
        return int(value) if "There are no counters here" in str(refusal.value) else REFUSED

    doors = {
        "query": in_query,
        "command": on_command_line,
        "product form": product_in(ana, "low_stock_threshold"),
        "warehouse form": place_in(ana, "priority"),
        "warehouses": in_yaml(tmp_path, catalogue.load, lambda v: place_entry(priority=v), lambda one: one.priority),
        "orders": in_csv(
            tmp_path,
            order_file.load,
            ORDERS,
            lambda v: order_row(quantity=v),
            lambda file: next(iter(next(iter(file.orders.values())).units.values())),
        ),
    }
    compare(doors, {value: meaning for value, meaning in WHOLE.items() if value})
    del doors["product form"]  # there an empty threshold is the service's own
    compare(doors, {"": REFUSED})


def test_a_number_means_the_same_at_every_door(ana: Client, tmp_path: Path) -> None:
    doors = {
        "form": place_in(ana, "latitude", longitude="0"),
        "warehouses": in_yaml(
            tmp_path, catalogue.load, lambda v: place_entry(latitude=v, longitude="0"), lambda one: one.latitude
        ),
        "areas": in_csv(
            tmp_path, postal_areas.load, AREAS, lambda v: area_row(latitude=v), lambda rows: rows[0].latitude
        ),
    }
    compare(doors, DEGREES)


@pytest.mark.parametrize("kind", [clients.DJANGO, clients.FAST])
def test_a_warehouse_id_means_the_same_at_every_door(tmp_path: Path, kind: str) -> None:
    def item(value: str) -> dict[str, Any]:
        return order(item={"warehouse_id": value})

    doors = {
        "http": over_http(kind, "POST", f"{API}/reservations", item, "items", 0, "warehouse_id"),
        "message": in_message(item, lambda request: request.items[0].warehouse_id),
        "warehouses": in_yaml(tmp_path, catalogue.load, lambda v: place_entry(id=quoted(v)), lambda one: one.id),
        "orders": in_csv(
            tmp_path,
            order_file.load,
            ORDERS,
            lambda v: order_row(warehouse_id=v),
            lambda file: next(iter(file.warehouse_lines), None),
        ),
    }
    compare(doors, PLACES)
    # An order whose line names no place is served from where the goods are; a place itself must have an id.
    assert {name: undone(door)("") for name, door in doors.items()} == {
        "http": SP,
        "message": None,
        "warehouses": REFUSED,
        "orders": None,
    }


@pytest.mark.parametrize("kind", [clients.DJANGO, clients.FAST])
def test_a_postal_code_means_the_same_at_every_door(ana: Client, tmp_path: Path, kind: str) -> None:
    def delivery(value: str) -> dict[str, Any]:
        return order(delivery_postal_code=value)

    reserve = over_http(kind, "POST", f"{API}/reservations", delivery, "id")

    def of_http(value: str) -> Any:
        return Reservation.objects.get(pk=reserve(value)).delivery_postal_code

    doors = {
        "http": of_http,
        "message": in_message(delivery, lambda request: request.delivery_postal_code),
        "form": place_in(ana, "postal_code"),
        "warehouses": in_yaml(
            tmp_path, catalogue.load, lambda v: place_entry(postal_code=quoted(v)), lambda one: one.postal_code
        ),
        "orders": in_csv(
            tmp_path,
            order_file.load,
            ORDERS,
            lambda v: order_row(postal_code=v),
            lambda file: next(iter(file.orders.values())).postal_code,
        ),
    }
    compare(doors, POSTAL_CODES)
