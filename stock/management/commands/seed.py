"""manage.py seed: load warehouses and postal areas from files, and create products with stock to try the service."""

from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from inventory_project.foundation import values
from inventory_project.foundation.commands import ServiceCommand
from stock import catalogue as products
from stock import documents
from stock.models import Product
from warehouses import catalogue as warehouses
from warehouses import files, postal_areas
from warehouses.files import Rule, text_reader, whole_reader
from warehouses.models import PostalArea, Warehouse

FIXTURES = settings.BASE_DIR / "fixtures"
ACTOR = "command:seed"
MAX_PRODUCTS = settings.DOCUMENT_MAX_LINES  # the stock of a warehouse is one receipt
MAX_BYTES = 1024 * 1024


class Command(ServiceCommand):
    help = (
        "Create the warehouses of a file, and products with stock to try the service. What exists already does not "
        "change, unless --update is given. It can be repeated."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--warehouses",
            action="store_true",
            help="create the missing warehouses of the file; load fixtures/postal_areas_br.csv if there are no postal "
            "areas yet",
        )
        parser.add_argument(
            "--update",
            action="store_true",
            help="with --warehouses: also update existing warehouses to match the file, over what staff have edited",
        )
        parser.add_argument(
            "--products",
            action="store_true",
            help="create the missing products of fixtures/products.yaml, and book their stock once",
        )
        parser.add_argument(
            "--file",
            type=Path,
            default=FIXTURES / "warehouses.yaml",
            help="the YAML file of warehouses (default: fixtures/warehouses.yaml)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not (options["warehouses"] or options["products"]):
            raise CommandError("Say what to seed: --warehouses, --products or both.")
        if options["update"] and not options["warehouses"]:
            raise CommandError("--update is about warehouses: give --warehouses too.")
        if options["warehouses"]:
            write = warehouses.upsert if options["update"] else warehouses.add
            self.stdout.write(f"Warehouses: {write(warehouses.load(options['file']))}.")
            self._seed_postal_areas()
        if options["products"]:
            self._seed_products()

    def _seed_postal_areas(self) -> None:
        """Load the postal areas only if there are none, because staff may have loaded those of any country."""
        if not PostalArea.objects.exists():
            areas = postal_areas.load(FIXTURES / "postal_areas_br.csv")
            self.stdout.write(postal_areas.describe(areas, postal_areas.replace(areas)))

    def _seed_products(self) -> None:
        entries = load_products(FIXTURES / "products.yaml")
        known = set(Product.objects.filter(pk__in=[e["id"] for e in entries]).values_list("pk", flat=True))
        missing = [entry for entry in entries if entry["id"] not in known]
        created = 0
        for entry in tqdm(missing, desc="Products", unit="product", disable=None, leave=False):
            _, is_new = products.put(
                products.ProductRequest(
                    product_id=entry["id"],
                    sku=entry["sku"],
                    name=entry["name"],
                    low_stock_threshold=entry.get("low_stock_threshold"),
                )
            )
            created += is_new
        stocked = sorted({warehouse_id for entry in entries for warehouse_id in entry["stock"]})
        places = set(Warehouse.objects.filter(pk__in=stocked).values_list("pk", flat=True))
        receipts = [_receipt(warehouse_id, entries) for warehouse_id in stocked if warehouse_id in places]
        booked = sum(not documents.book(receipt).is_replay for receipt in receipts)
        self.stdout.write(
            f"Products: {created} created, {len(entries) - created} unchanged. "
            f"Receipts: {booked} booked, {len(receipts) - booked} booked before."
        )
        if absent := [warehouse_id for warehouse_id in stocked if warehouse_id not in places]:
            self.stdout.write(f"No stock was booked at {', '.join(absent)}: there are no such warehouses.")
        self.stdout.write(f"A product id to try: {entries[0]['id']}")


def load_products(path: Path) -> list[dict[str, Any]]:
    """The products that the YAML file at `path` lists. Raises Invalid with one sentence for each problem."""
    entries, problems = files.yaml_list(path, key="products", most=MAX_PRODUCTS, max_bytes=MAX_BYTES)
    found = []
    for position, entry in enumerate(entries, start=1):
        product, wrong = files.read_entry(entry, RULES, form="an id, an SKU, a name and the stock by warehouse")
        name = files.named("Product", position, entry, key="sku")
        problems += [f"{name}: {problem}" for problem in wrong]
        found.append(product)
    if problems:
        raise files.invalid(path, problems)
    return found


def _read_id(value: Any) -> UUID:
    if not isinstance(value, str):
        raise ValueError
    return values.read_uuid(value)


def _read_stock(value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        raise ValueError
    read_units = whole_reader(1, settings.DOCUMENT_MAX_QUANTITY)
    return {warehouses.RULES["id"].read(place): read_units(units) for place, units in value.items()}


RULES = {
    "id": Rule("a UUID", _read_id),
    "sku": Rule("1 to 64 printable characters", text_reader(values.read_identifier, 64)),
    "name": Rule("1 to 200 printable characters", text_reader(values.read_name, 200)),
    "low_stock_threshold": Rule(
        f"units from 0 to {products.MAX_LOW_STOCK_THRESHOLD}", whole_reader(0, products.MAX_LOW_STOCK_THRESHOLD), False
    ),
    "stock": Rule("units by the id of a warehouse", _read_stock),
}


def _receipt(warehouse_id: str, entries: list[dict[str, Any]]) -> documents.DocumentRequest:
    return documents.DocumentRequest(
        kind=documents.Kind.RECEIPT,
        reference=f"seed-{warehouse_id}",
        warehouse_id=warehouse_id,
        items=tuple((entry["id"], entry["stock"][warehouse_id]) for entry in entries if warehouse_id in entry["stock"]),
        actor=ACTOR,
    )
