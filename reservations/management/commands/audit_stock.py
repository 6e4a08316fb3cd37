"""manage.py audit_stock: check the invariants of the books."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from inventory_project.foundation.commands import ServiceCommand
from reservations.analysis import audit


class Command(ServiceCommand):
    help = "Check the invariants of the books (docs/operating/invariants.md); exits non-zero if one of them is broken."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--counters", action="store_true", help="also compare the counters in Redis; run sync_counters before"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        broken, with_counters = 0, options["counters"]
        findings, total = audit.run(with_counters=with_counters), len(audit.invariants(with_counters=with_counters))
        progress = tqdm(findings, total=total, unit="check", disable=None, leave=False)
        for finding in progress:
            broken += finding.count
            verdict = "ok" if finding.count == 0 else f"BROKEN by {finding.count} rows"
            self.stdout.write(f"{finding.invariant.name}  {verdict}  {finding.invariant.promise}")
            for row in finding.rows[: audit.MAX_ROWS]:
                self.stdout.write(f"      {audit.as_json(row)}")
        if broken:
            raise CommandError(
                f"{broken} rows break the books. docs/operating/invariants.md says what each means and what to do."
            )
