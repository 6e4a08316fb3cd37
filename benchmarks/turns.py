"""The other side of `benchmarks.against`: takes one turn for each line on standard input, and tells the rates as JSON.

It runs in the folder of the version that is measured, so what it imports is that version's own.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import cycle
from pathlib import Path

PLACES = {"wh-pr-001": (-25.4295, -49.2719), "wh-rj-001": (-22.9035, -43.1764), "wh-sp-001": (-23.5505, -46.6333)}
POSTAL_CODES = ("01310-100", "20040-020", "80010-000", "90010-000", "69005-000")
# Of twenty towns, each with a warehouse that has the product which everybody buys.
TOWNS = (
    "01310-100", "20040-020", "30110-000", "40010-000", "50010-000", "60010-000", "70040-010", "80010-000",
    "90010-000", "69005-000", "66010-000", "74003-010", "88010-000", "29010-000", "59010-000", "58010-000",
    "57020-000", "49010-000", "64000-000", "79002-000",
)  # fmt: skip
CALLERS = 4  # at once, as many as there are processes that do not share a batch
PRODUCTS = 1_000
BATCHES = 15  # in a turn


def main() -> None:
    """Prepare, say so by an empty line's worth of JSON, and take turns until standard input ends."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "inventory_project.settings"
    import django

    django.setup()
    from django.core.management import call_command

    from benchmarks import in_process, scene
    from reservations.requests import Reserve
    from warehouses.models import Warehouse

    with _silence():
        call_command("migrate", verbosity=0)
        scenes = scene.build([1, PRODUCTS])
        for warehouse_id, (latitude, longitude) in PLACES.items():
            Warehouse.objects.filter(pk=warehouse_id).update(latitude=latitude, longitude=longitude)
        areas = Path("fixtures/postal_areas_br.csv")
        if areas.exists():  # a version that knows where postal codes lie
            call_command("load_postal_areas", str(areas))
        with suppress(ImportError):  # a version whose processes begin cold
            from inventory_project import startup

            startup.warm_up()

    class Delivered(scene.Scene):
        """A scene whose requests say where they go, one town after the other."""

        def requests(self, count: int) -> list[Reserve]:
            return [
                replace(request, delivery_postal_code=code)
                for request, code in zip(super().requests(count), cycle(POSTAL_CODES), strict=False)
            ]

    contenders = [
        fighter
        for one in scenes
        for fighter in in_process.contenders(Delivered(one.name, one.product_ids), batches_in_a_turn=BATCHES)
        if fighter.name == in_process.RESERVE_MANY
    ]
    everywhere = _everywhere()
    print("{}", flush=True)
    for _ in sys.stdin:
        rates = {}
        for fighter in contenders:
            turn = in_process.take_turn(fighter)
            rates[f"{fighter.scene}, batches of {fighter.batch_size}"] = turn.batches_per_second * fighter.batch_size
        print(json.dumps(rates | everywhere()), flush=True)


def _everywhere() -> Callable[[], dict[str, float]]:
    """Stock a product in all of TOWNS; a turn sells it to callers at once, each of whose orders goes to any town."""
    from uuid import uuid4

    from django.conf import settings

    from reservations import lifecycle
    from reservations.requests import Item, Outcome, Reserve
    from stock import documents
    from stock.models import Product
    from warehouses import catalogue
    from warehouses.models import Warehouse

    product_id = uuid4()
    Product.objects.create(id=product_id, sku=product_id.hex, name="A product of the benchmark")
    places = {f"wh-town-{n:03}": code for n, code in enumerate(TOWNS)}
    catalogue.upsert(
        [Warehouse(id=id_, name=id_, region="south", priority=1, postal_code=code) for id_, code in places.items()]
    )
    for warehouse_id in places:
        documents.book(
            documents.DocumentRequest(
                kind=documents.Kind.RECEIPT,
                reference=f"benchmark-{uuid4()}",
                warehouse_id=warehouse_id,
                items=((product_id, settings.DOCUMENT_MAX_QUANTITY),),
                actor="benchmark",
            )
        )
    callers = ThreadPoolExecutor(CALLERS)  # each with a connection of its own, which it keeps

    def batch(size: int) -> list[Reserve]:
        return [
            Reserve(
                order_id=uuid4(),
                items=(Item(product_id, 1),),
                delivery_postal_code=random.choice(TOWNS),  # noqa: S311  # no secret
                actor="benchmark",
            )
            for _ in range(size)
        ]

    def sell(batches: list[list[Reserve]]) -> None:
        for requests in batches:
            answers = lifecycle.reserve_many(requests)
            assert all(isinstance(answer, Outcome) for answer in answers), answers

    def turn() -> dict[str, float]:
        rates = {}
        for size in (64, 8, 1):
            shares = [[batch(size) for _ in range(max(2, BATCHES * 4 // size))] for _ in range(CALLERS)]
            began = time.perf_counter()
            list(callers.map(sell, shares))
            sold = size * sum(map(len, shares))
            rates[f"{CALLERS} callers, {len(TOWNS)} warehouses, batches of {size}"] = sold / (
                time.perf_counter() - began
            )
        return rates

    return turn


@contextmanager
def _silence() -> Iterator[None]:
    """What is printed goes to standard error, for standard output is the other side's."""
    kept, sys.stdout = sys.stdout, sys.stderr
    try:
        yield
    finally:
        sys.stdout = kept


if __name__ == "__main__":
    main()
