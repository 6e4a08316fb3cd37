"""manage.py seed: load warehouses and postal areas from files, and create products with stock to try the service."""

from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from inventory_project.foundation.commands import ServiceCommand
from stock import catalogue as products
from stock import documents
from stock.models import Product
from warehouses import catalogue as warehouses
from warehouses import postal_areas
from warehouses.models import PostalArea, Warehouse

FIXTURES = settings.BASE_DIR / "fixtures"
ACTOR = "command:seed"


class Command(ServiceCommand):
    help = (
        "Create or update the warehouses of a file, and create products with stock to try the service. Existing "
        "products do not change. It can be repeated."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--warehouses",
            action="store_true",
            help="create or update the warehouses of the file; load fixtures/postal_areas_br.csv if there are no "
            "postal areas yet",
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
        if options["warehouses"]:
            result = warehouses.upsert(warehouses.load(options["file"]))
            self.stdout.write(
                f"Warehouses: {result.created} created, {result.changed} updated, {result.unchanged} unchanged."
            )
            self._seed_postal_areas()
        if options["products"]:
            self._seed_products()

    def _seed_postal_areas(self) -> None:
        """Load the postal areas only if there are none, because staff may have loaded those of any country."""
        if not PostalArea.objects.exists():
            areas = postal_areas.load(FIXTURES / "postal_areas_br.csv")
            self.stdout.write(postal_areas.describe(areas, postal_areas.replace(areas)))

    def _seed_products(self) -> None:
        entries = yaml.safe_load((FIXTURES / "products.yaml").read_text(encoding="utf-8"))["products"]
        known = set(Product.objects.filter(pk__in=[e["id"] for e in entries]).values_list("pk", flat=True))
        missing = [entry for entry in entries if UUID(entry["id"]) not in known]
        created = 0
        for entry in tqdm(missing, desc="Products", unit="product", disable=None, leave=False):
            _, is_new = products.put(
                products.ProductRequest(
                    product_id=UUID(entry["id"]),
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


def _receipt(warehouse_id: str, entries: list[dict[str, Any]]) -> documents.DocumentRequest:
    return documents.DocumentRequest(
        kind=documents.Kind.RECEIPT,
        reference=f"seed-{warehouse_id}",
        warehouse_id=warehouse_id,
        items=tuple((UUID(e["id"]), e["stock"][warehouse_id]) for e in entries if warehouse_id in e["stock"]),
        actor=ACTOR,
    )
