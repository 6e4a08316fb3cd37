"""manage.py sync_counters: make the counters in Redis agree with the database."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from inventory_project.foundation.commands import ServiceCommand, whole_argument
from stock.counters import sync
from stock.models import StockLevel

MAX_WORKERS = 64


class Command(ServiceCommand):
    help = (
        "Compare the counters in Redis with the database, and repair those that are missing or wrong. Safe at any "
        "time; Ctrl-C ends it after the chunks in progress."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--warehouse", metavar="ID", help="only the products that this warehouse stocks")
        parser.add_argument(
            "--workers", type=whole_argument(1, MAX_WORKERS), metavar="N", help="threads (default: SYNC_WORKERS)"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="report what is missing or wrong, and change nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        warehouse_id, is_dry_run = options["warehouse"], options["dry_run"]
        total = None if warehouse_id else StockLevel.objects.count()
        with tqdm(total=total, unit="level", unit_scale=True, disable=None, leave=False) as progress, _stop() as stop:
            report = sync.sync(
                warehouse_id=warehouse_id,
                workers=options["workers"],
                is_dry_run=is_dry_run,
                actor="command:sync_counters",
                on_progress=progress.update,
                should_stop=stop.is_set,
            )
        for drift in report.drifts:
            self.stdout.write(f"      {drift.product_id} {drift.field}: {drift.counter}, not {drift.database}")
        self.stdout.write(
            f"Compared {report.levels} levels of {report.products} products in {report.seconds:.1f} s: "
            f"{report.missing} missing, {report.wrong} wrong, {report.repaired} repaired."
            f"{' Nothing was changed.' if is_dry_run else ''}"
        )
        if not report.is_complete:
            raise CommandError("Interrupted; what was repaired stays so.", returncode=130)


@contextmanager
def _stop() -> Iterator[Event]:
    """An event that Ctrl-C and SIGTERM set; inside this context they do not end the process."""
    stop = Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
