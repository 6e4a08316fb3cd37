"""The other side of `benchmarks.against`: takes one turn for each line on standard input, and tells the rates as JSON.

It runs in the folder of the version that is measured, so what it imports is that version's own.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import cycle
from pathlib import Path

PLACES = {"wh-pr-001": (-25.4295, -49.2719), "wh-rj-001": (-22.9035, -43.1764), "wh-sp-001": (-23.5505, -46.6333)}
POSTAL_CODES = ("01310-100", "20040-020", "80010-000", "90010-000", "69005-000")
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
    print("{}", flush=True)
    for _ in sys.stdin:
        rates = {}
        for fighter in contenders:
            turn = in_process.take_turn(fighter)
            rates[f"{fighter.scene}, batches of {fighter.batch_size}"] = turn.batches_per_second * fighter.batch_size
        print(json.dumps(rates), flush=True)


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
