"""manage.py load_policies: put the allocation policies of a YAML file in force."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from inventory_project.foundation.commands import ServiceCommand
from warehouses import policy_files, postal_areas

ACTOR = "command:load_policies"


class Command(ServiceCommand):
    help = (
        "Replace all allocation policies by those of a YAML file: policies of regions that it does not name are "
        "deleted. The whole file is loaded or nothing. It can be repeated. New orders follow the new policies at "
        "once; `simulate_allocation` tries a file first. fixtures/policies.yaml is an example."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="the YAML file, in UTF-8")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = policy_files.load(options["file"])
        self.stdout.write(f"Allocation policies: {policy_files.put_in_force(wanted, actor=ACTOR)}.")
        if warning := postal_areas.warning_of_unknown_regions():
            self.stdout.write(warning)
