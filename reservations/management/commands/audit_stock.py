"""manage.py audit_stock: do the books hold?"""

from typing import Any

from django.core.management.base import CommandError
from tqdm import tqdm

from inventory_project.commands import ServiceCommand
from reservations import audit


class Command(ServiceCommand):
    help = "Check the invariants of the books (docs/invariants.md); ends non-zero when one of them is broken."

    def handle(self, *args: Any, **options: Any) -> None:
        broken = 0
        progress = tqdm(audit.run(), total=len(audit.invariants()), unit="check", disable=None, leave=False)
        for finding in progress:
            broken += finding.count
            verdict = "ok" if finding.count == 0 else f"BROKEN by {finding.count} rows"
            self.stdout.write(f"{finding.invariant.name}  {verdict}  {finding.invariant.promise}")
            for row in finding.rows:
                self.stdout.write(f"      {audit.as_json(row)}")
        if broken:
            raise CommandError(
                f"{broken} rows break the books. docs/invariants.md says what each means and what to do."
            )
