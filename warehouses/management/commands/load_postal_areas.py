"""manage.py load_postal_areas: the places of a country's postal codes, from a CSV file."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from tqdm import tqdm

from inventory_project.foundation.commands import ServiceCommand
from warehouses import postal_areas


class Command(ServiceCommand):
    help = (
        "Bring the postal areas of the countries that a CSV file names to what it says; areas of these countries that "
        "it does not name are deleted, other countries stay as they are. All of it is taken or nothing. It can be "
        f"repeated. The columns are {','.join(postal_areas.COLUMNS)}; kind is {' or '.join(postal_areas.KINDS)}; lines "
        "before the header that begin with # are not read. fixtures/postal_areas_br.csv is such a file."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="the CSV file, in UTF-8")
        parser.add_argument(
            "--may-shrink",
            action="store_true",
            help="also take a file in which more than half of the countries' areas are missing",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        areas = postal_areas.load(options["file"])
        with tqdm(total=len(areas), unit="area", unit_scale=True, disable=None, leave=False) as progress:
            result = postal_areas.replace(areas, may_shrink=options["may_shrink"], on_progress=progress.update)
        self.stdout.write(postal_areas.describe(areas, result))
        if warning := postal_areas.warning_of_unknown_regions():
            self.stdout.write(warning)
