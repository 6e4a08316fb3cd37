"""The list of warehouses: read from a YAML file, and stored in the database.

A file is accepted as a whole or rejected, and every problem in it is reported at once.
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
MAX_WAREHOUSES = 10_000  # each process holds all of them in memory; far more is a wrong file
MAX_BYTES = 16 * 1024 * 1024  # several times what that many warehouses take; the path may be an endless device


class Result(NamedTuple):
    """How many warehouses `upsert` created, updated and left unchanged."""

    created: int
    changed: int
    unchanged: int


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

    Raises Invalid with one sentence for each problem, also as the list `extra["problems"]`.
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
    """What is wrong with one entry, one sentence for each problem."""
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
        return type(value) in (int, float) and abs(value) <= maximum  # false for NaN

    return accepts


REGION = _text(64)


def _served_regions(value: Any) -> bool:
    """Whether the value is a list of regions. No name may contain a comma, because the admin joins them by commas."""
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
