"""The list of warehouses: read from a file of the spec's form, and kept in the database.

A file is taken whole or not at all, and what is wrong with it is said about every line of it at once.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from django.db import transaction

from inventory_project.foundation.errors import NotFound
from warehouses import files
from warehouses.files import Rule
from warehouses.models import ID_PATTERN, POSTAL_CODE_PATTERN, Warehouse

ID = re.compile(ID_PATTERN)
POSTAL_CODE = re.compile(POSTAL_CODE_PATTERN)
MAX_PRIORITY = 32_767  # what the column holds
MAX_SERVED_REGIONS = 50  # as many as a large country has; a longer list is a mistake
MAX_WAREHOUSES = 10_000  # each process has all of them in memory; far more is a wrong file
MAX_BYTES = 16 * 1024 * 1024  # several times what so many take, and no endless device is read


class Result(NamedTuple):
    """How many warehouses `upsert` made, changed and found as they should be."""

    created: int
    changed: int
    unchanged: int


# --- in the database -----------------------------------------------------------------------------------------------

# Never is_active: closing needs locks.
KEPT = ("name", "region", "priority", "postal_code", "latitude", "longitude", "served_regions")


def get(warehouse_id: str) -> Warehouse:
    """The warehouse. Raises NotFound, also for what could be no id."""
    warehouse = Warehouse.objects.filter(pk=warehouse_id).first() if ID.match(warehouse_id) else None
    if warehouse is None:
        raise NotFound("There is no such warehouse.")
    return warehouse


@transaction.atomic
def upsert(warehouses: Sequence[Warehouse]) -> Result:
    """Make these warehouses, or bring them to what is given; others, and who is open or closed, stay as they are.

    Ids are unique. A repeat changes nothing.
    """
    ids = [warehouse.id for warehouse in warehouses]
    held = Warehouse.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")
    known = {warehouse.id: _kept(warehouse) for warehouse in held}
    new = [warehouse for warehouse in warehouses if warehouse.id not in known]
    changed = [warehouse for warehouse in warehouses if known.get(warehouse.id, _kept(warehouse)) != _kept(warehouse)]
    # A twin may have made one of the new ones meanwhile: then this one brings it up to date.
    Warehouse.objects.bulk_create(
        sorted([*new, *changed], key=lambda warehouse: warehouse.id),
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=[*KEPT, "updated_at"],
    )
    return Result(created=len(new), changed=len(changed), unchanged=len(warehouses) - len(new) - len(changed))


def _kept(warehouse: Warehouse) -> tuple[Any, ...]:
    return tuple(getattr(warehouse, name) for name in KEPT)


# --- from a file ---------------------------------------------------------------------------------------------------


def load(path: Path | str) -> list[Warehouse]:
    """The warehouses that the YAML file at `path` lists, not saved.

    Raises Invalid with a sentence for each thing that is wrong, `problems` among its extra facts.
    """
    entries, problems = files.yaml_list(path, key="warehouses", most=MAX_WAREHOUSES, max_bytes=MAX_BYTES)
    for position, entry in enumerate(entries, start=1):
        name = files.named("Warehouse", position, entry, key="id")
        problems += [f"{name}: {problem}" for problem in _problems(entry)]
    ids = Counter(entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str))
    problems += [f"The id {key} is given {count} times." for key, count in ids.items() if count > 1]
    if problems:
        raise files.invalid(path, problems)
    return [Warehouse(**entry) for entry in entries]


def _problems(entry: Any) -> list[str]:
    """What is wrong with one entry, a sentence each."""
    problems = files.problems_of(entry, RULES, form="an id, a name, a region and a priority")
    if isinstance(entry, dict) and ("latitude" in entry) != ("longitude" in entry):
        problems.append("latitude and longitude go together: give both or none.")
    return problems


def _text(maximum: int, form: re.Pattern[str] | None = None) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        if not isinstance(value, str) or not 1 <= len(value) <= maximum or not value.isprintable():
            return False
        return form.match(value) is not None if form else value == value.strip()

    return accepts


def _degrees(maximum: int) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        return type(value) in (int, float) and abs(value) <= maximum  # NaN is not

    return accepts


REGION = _text(64)


def _served_regions(value: Any) -> bool:
    """The admin shows the names with commas between them, so none may have one."""
    if not isinstance(value, list) or len(value) > MAX_SERVED_REGIONS:
        return False
    return all(REGION(name) and "," not in name for name in value) and len(set(value)) == len(value)


def _priority(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MAX_PRIORITY  # bool is an int to isinstance


RULES = {
    "id": Rule("1 to 64 lower-case letters, digits and hyphens, no hyphen first", _text(64, ID)),
    "name": Rule("1 to 200 printable characters", _text(200)),
    "region": Rule("1 to 64 printable characters", REGION),
    "priority": Rule(f"a whole number from 1 to {MAX_PRIORITY}", _priority),
    "postal_code": Rule("1 to 16 letters, digits, spaces and hyphens, in quotes", _text(16, POSTAL_CODE), False),
    "latitude": Rule("degrees between -90 and 90", _degrees(90), False),
    "longitude": Rule("degrees between -180 and 180", _degrees(180), False),
    "served_regions": Rule(
        f"a list of at most {MAX_SERVED_REGIONS} regions, each once, of 1 to 64 printable characters without a comma",
        _served_regions,
        False,
    ),
}
