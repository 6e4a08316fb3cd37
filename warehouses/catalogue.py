"""The list of warehouses: read from a YAML file, and stored in the database.

A file is accepted as a whole or rejected, and every problem in it is reported at once.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from django.db import transaction

from inventory_project.foundation import values
from inventory_project.foundation.errors import NotFound
from warehouses import files
from warehouses.files import Rule, number_reader, text_reader, whole_reader
from warehouses.models import ID_PATTERN, POSTAL_CODE_PATTERN, Warehouse

ID = re.compile(ID_PATTERN)
POSTAL_CODE = re.compile(POSTAL_CODE_PATTERN)
MAX_PRIORITY = 32_767  # what the column holds
MAX_SERVED_REGIONS = 50  # as many as a large country has; a longer list is a mistake
MAX_WAREHOUSES = 10_000  # each process holds all of them in memory; far more is a wrong file
MAX_BYTES = 16 * 1024 * 1024  # several times what that many warehouses take; the path may be an endless device


class Result(NamedTuple):
    """How many warehouses were created, updated, and left unchanged; `kept` differ from what was given all the same."""

    created: int
    changed: int
    unchanged: int
    kept: int = 0

    def __str__(self) -> str:
        counts = f"{self.created} created, {self.changed} updated, {self.unchanged} unchanged"
        return f"{counts}, {self.kept} left as they are" if self.kept else counts


# --- in the database -----------------------------------------------------------------------------------------------

# Never is_active: only `stock.blocking` writes it, under the locks that closing needs.
KEPT = ("name", "region", "priority", "postal_code", "latitude", "longitude", "served_regions")


def get(warehouse_id: str) -> Warehouse:
    """The warehouse with this id. Raises NotFound, also for a text that cannot be an id."""
    warehouse = Warehouse.objects.filter(pk=warehouse_id).first() if ID.match(warehouse_id) else None
    if warehouse is None:
        raise NotFound("There is no such warehouse.")
    return warehouse


@transaction.atomic
def upsert(warehouses: Sequence[Warehouse]) -> Result:
    """Create these warehouses, or update them to the given values. Their ids are unique.

    Other warehouses do not change, and no warehouse is opened or closed. A repeat changes nothing.
    """
    ids = [warehouse.id for warehouse in warehouses]
    held = Warehouse.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")
    known = {warehouse.id: _kept(warehouse) for warehouse in held}
    new = [warehouse for warehouse in warehouses if warehouse.id not in known]
    changed = [warehouse for warehouse in warehouses if known.get(warehouse.id, _kept(warehouse)) != _kept(warehouse)]
    # Another process may have created one of the new ones meanwhile; then this statement updates it.
    Warehouse.objects.bulk_create(
        _by_id([*new, *changed]),
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=[*KEPT, "updated_at"],
    )
    return Result(created=len(new), changed=len(changed), unchanged=len(warehouses) - len(new) - len(changed))


@transaction.atomic
def add(warehouses: Sequence[Warehouse]) -> Result:
    """Create those of these warehouses that do not exist. Existing ones do not change: staff may have edited them."""
    ids = [warehouse.id for warehouse in warehouses]
    known = {warehouse.id: _kept(warehouse) for warehouse in Warehouse.objects.filter(pk__in=ids)}
    new = [warehouse for warehouse in warehouses if warehouse.id not in known]
    kept = [warehouse for warehouse in warehouses if known.get(warehouse.id, _kept(warehouse)) != _kept(warehouse)]
    # Another process may have created one of the new ones meanwhile; it stays as that process wrote it.
    Warehouse.objects.bulk_create(_by_id(new), ignore_conflicts=True)
    return Result(created=len(new), changed=0, unchanged=len(warehouses) - len(new) - len(kept), kept=len(kept))


def _by_id(warehouses: Sequence[Warehouse]) -> list[Warehouse]:
    return sorted(warehouses, key=lambda warehouse: warehouse.id)


def _kept(warehouse: Warehouse) -> tuple[Any, ...]:
    return tuple(getattr(warehouse, name) for name in KEPT)


# --- from a file ---------------------------------------------------------------------------------------------------


def load(path: Path | str) -> list[Warehouse]:
    """The warehouses that the YAML file at `path` lists, not saved.

    Raises Invalid with one sentence for each problem, also as the list `extra["problems"]`.
    """
    entries, problems = files.yaml_list(path, key="warehouses", most=MAX_WAREHOUSES, max_bytes=MAX_BYTES)
    found = []
    for position, entry in enumerate(entries, start=1):
        warehouse, wrong = files.read_entry(entry, RULES, form="an id, a name, a region and a priority")
        if isinstance(entry, dict) and ("latitude" in entry) != ("longitude" in entry):
            wrong.append("latitude and longitude go together: give both or none.")
        name = files.named("Warehouse", position, entry, key="id")
        problems += [f"{name}: {problem}" for problem in wrong]
        found.append(warehouse)
    ids = Counter(warehouse["id"] for warehouse in found if "id" in warehouse)
    problems += [f"The id {key} is given {count} times." for key, count in ids.items() if count > 1]
    if problems:
        raise files.invalid(path, problems)
    return [Warehouse(**warehouse) for warehouse in found]


read_region = text_reader(values.read_identifier, 64)


def _read_served_regions(value: Any) -> list[str]:
    """The regions in a list, each once. No name has a comma, because the admin joins them by commas."""
    if not isinstance(value, list) or len(value) > MAX_SERVED_REGIONS:
        raise ValueError
    regions = [read_region(name) for name in value]
    if len(set(regions)) < len(regions) or any("," in region for region in regions):
        raise ValueError
    return regions


RULES = {
    "id": Rule(
        "1 to 64 lower-case letters, digits and hyphens, no hyphen first", text_reader(values.read_identifier, 64, ID)
    ),
    "name": Rule("1 to 200 printable characters", text_reader(values.read_name, 200)),
    "region": Rule("1 to 64 printable characters", read_region),
    "priority": Rule(f"a whole number from 1 to {MAX_PRIORITY}", whole_reader(1, MAX_PRIORITY)),
    "postal_code": Rule(
        "1 to 16 letters, digits, spaces and hyphens, in quotes",
        text_reader(values.read_identifier, 16, POSTAL_CODE),
        False,
    ),
    "latitude": Rule("degrees between -90 and 90", number_reader(-90, 90), False),
    "longitude": Rule("degrees between -180 and 180", number_reader(-180, 180), False),
    "served_regions": Rule(
        f"a list of at most {MAX_SERVED_REGIONS} regions, each once, of 1 to 64 printable characters without a comma",
        _read_served_regions,
        False,
    ),
}
