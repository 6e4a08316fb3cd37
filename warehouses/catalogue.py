"""The list of warehouses: read from a file of the spec's form, kept in the database, looked up for allocation.

A file is taken whole or not at all, and what is wrong with it is said about every line of it at once.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from django.db import transaction

from inventory_project import database
from inventory_project.database import Pending
from inventory_project.errors import Invalid, NotFound
from warehouses.allocation import Place
from warehouses.models import ID_PATTERN, POSTAL_CODE_PATTERN, Warehouse

ID = re.compile(ID_PATTERN)
POSTAL_CODE = re.compile(POSTAL_CODE_PATTERN)
PRIORITY_MAX = 32_767  # what the column holds
WAREHOUSES_MAX = 10_000  # all of them are read for each batch of reservations; far more is a wrong file


class Result(NamedTuple):
    """How many warehouses `upsert` made, changed and found as they should be."""

    created: int
    changed: int
    unchanged: int


# --- in the database -----------------------------------------------------------------------------------------------

KEPT = ("name", "region", "priority", "postal_code", "latitude", "longitude")  # never is_active: closing needs locks


PLACE = database.fields_of(Warehouse, ("id", "region", "priority"))


def places() -> Pending[dict[str, Place]]:
    """All warehouses, open and closed, by id, as allocation wants them; one SELECT."""
    return database.select(
        PLACE, "SELECT id, region, priority FROM warehouse", [], lambda rows: {row[0]: Place(*row) for row in rows}
    )


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
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506  # a SafeLoader
    except OSError as error:
        raise _invalid(path, [f"The file cannot be read: {error.strerror}."]) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, a date that is none, a number without end
        raise _invalid(path, [f"The file is not YAML: {' '.join(str(error).split())}."]) from error
    except RecursionError as error:
        raise _invalid(path, ["The file is nested too deeply."]) from error
    entries, problems = _entries(content)
    for position, entry in enumerate(entries, start=1):
        problems += [f"{_named(entry, position)}: {problem}" for problem in _problems(entry)]
    ids = Counter(entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str))
    problems += [f"The id {key} is given {count} times." for key, count in ids.items() if count > 1]
    if problems:
        raise _invalid(path, problems)
    return [Warehouse(**entry) for entry in entries]


def _invalid(path: Path | str, problems: list[str]) -> Invalid:
    return Invalid(f"{path}: {' '.join(problems)}", problems=problems)


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key given twice is an error; PyYAML would silently keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping. Raises ConstructorError for a key given twice."""
        seen: set[str] = set()
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value} is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _entries(content: Any) -> tuple[list[Any], list[str]]:
    if not isinstance(content, dict) or not isinstance(content.get("warehouses"), list):
        return [], ["The file must have the one key `warehouses`, with a list."]
    problems = [f"Unknown key {key!r} beside `warehouses`." for key in content if key != "warehouses"]
    entries = content["warehouses"]
    if not 1 <= len(entries) <= WAREHOUSES_MAX:
        return [], [*problems, f"A file lists 1 to {WAREHOUSES_MAX} warehouses, not {len(entries)}."]
    return entries, problems


def _named(entry: Any, position: int) -> str:
    """Which warehouse of the file a sentence is about."""
    warehouse_id = entry.get("id") if isinstance(entry, dict) else None
    return f"Warehouse {position} ({warehouse_id})" if isinstance(warehouse_id, str) else f"Warehouse {position}"


def _problems(entry: Any) -> list[str]:
    """What is wrong with one entry, a sentence each."""
    if not isinstance(entry, dict):
        return ["it must be a mapping with an id, a name, a region and a priority."]
    problems = [f"unknown key {key!r}." for key in entry if key not in RULES]
    for key, rule in RULES.items():
        if key not in entry:
            problems += [f"{key} is missing."] if rule.is_required else []
        elif not rule.accepts(entry[key]):
            problems.append(f"{key} must be {rule.wanted}, not {_shown(entry[key])}.")
    if ("latitude" in entry) != ("longitude" in entry):
        problems.append("latitude and longitude go together: give both or none.")
    return problems


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


class _Rule(NamedTuple):
    wanted: str
    accepts: Callable[[Any], bool]
    is_required: bool = True


def _text(maximum: int, form: re.Pattern[str] | None = None) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        if not isinstance(value, str) or not 1 <= len(value) <= maximum or not value.isprintable():
            return False
        return form.match(value) is not None if form else value == value.strip()

    return accepts


def _degrees(maximum: int) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        return type(value) in (int, float) and math.isfinite(value) and abs(value) <= maximum

    return accepts


def _priority(value: Any) -> bool:
    return type(value) is int and 1 <= value <= PRIORITY_MAX  # bool is an int to isinstance


RULES = {
    "id": _Rule("1 to 64 lower-case letters, digits and hyphens, no hyphen first", _text(64, ID)),
    "name": _Rule("1 to 200 printable characters", _text(200)),
    "region": _Rule("1 to 64 printable characters", _text(64)),
    "priority": _Rule(f"a whole number from 1 to {PRIORITY_MAX}", _priority),
    "postal_code": _Rule("1 to 16 letters, digits, spaces and hyphens, in quotes", _text(16, POSTAL_CODE), False),
    "latitude": _Rule("degrees between -90 and 90", _degrees(90), False),
    "longitude": _Rule("degrees between -180 and 180", _degrees(180), False),
}
