"""manage.py load_postal_areas: load the positions of a country's postal codes from a CSV file."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from tqdm import tqdm

from inventory_project.foundation.commands import ServiceCommand
from warehouses import postal_areas


class Command(ServiceCommand):
    help = (
        "Replace the postal areas of the countries that a CSV file names: areas of these countries that the file does "
        "not list are deleted, other countries do not change. The whole file is loaded or nothing. It can be "
        f"repeated. The columns are {','.join(postal_areas.COLUMNS)}; kind is {' or '.join(postal_areas.KINDS)}; lines "
        "before the header that begin with # are ignored. fixtures/postal_areas_br.csv is an example."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="the CSV file, in UTF-8")
        parser.add_argument(
            "--may-shrink",
            action="store_true",
            help="also load a file that lacks more than half of its countries' areas",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        areas = postal_areas.load(options["file"])
        with tqdm(total=len(areas), unit="area", unit_scale=True, disable=None, leave=False) as progress:
            result = postal_areas.replace(areas, may_shrink=options["may_shrink"], on_progress=progress.update)
        self.stdout.write(postal_areas.describe(areas, result))
        if warning := postal_areas.warning_of_unknown_regions():
            self.stdout.write(warning)
