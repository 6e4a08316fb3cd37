"""The table of postal areas: read from a CSV file, stored in the database, and used to locate single postal codes.

A file is accepted as a whole or rejected. It replaces the areas of the countries that it names; those of other
countries stay. A repeat writes nothing, so no process has to read the table again.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction

from inventory_project.foundation import database, values
from inventory_project.foundation.errors import Invalid
from warehouses import files
from warehouses.allocation import geography, policies
from warehouses.allocation.geography import Area, Location, Point
from warehouses.catalogue import read_region
from warehouses.files import Replaced
from warehouses.models import POSTAL_CODE_PATTERN, AllocationPolicy, PostalArea, Warehouse

COLUMNS = ("country", "prefix", "latitude", "longitude", "name", "region", "kind")
KINDS = {"place": False, "region": True}  # the file's word: whether the row is the middle of a wide region
MAX_AREAS = 100_000  # of all countries together; each process holds all of them in memory, at most 31 MB
MAX_BYTES = 32 * 1024 * 1024  # three times what that many areas take; the path may be an endless device
MAX_PROBLEMS = 20
CHUNK = 1_000  # rows in one statement
SHRINK_SHARE = 0.5  # of its countries' areas may a file delete; more looks like half a file

COUNTRY = re.compile(r"[A-Za-z]{2}")
PREFIX = re.compile(POSTAL_CODE_PATTERN)
Row = TypeVar("Row")
KEPT = ("latitude", "longitude", "name", "region", "is_region")


# --- in the database -----------------------------------------------------------------------------------------------


@transaction.atomic
def replace(
    areas: Sequence[PostalArea], *, may_shrink: bool = False, on_progress: Callable[[int], object] = lambda areas: None
) -> Replaced:
    """Replace the areas of the countries in `areas` by `areas`; those of other countries do not change.

    The areas are unique by country and prefix. All of them are written or none; a repeat writes nothing. `on_progress`
    is called from time to time with the number of areas done since its last call. Raises Invalid if the table would
    have more than MAX_AREAS rows. Raises Invalid as well if more than SHRINK_SHARE of the areas would be deleted,
    because then half of the file may be missing; `may_shrink` allows that.
    """
    database.keep_other_writers_out(PostalArea)  # otherwise two loads at once would both find an area missing
    countries = {area.country for area in areas}
    others = PostalArea.objects.exclude(country__in=countries).count()
    if others + len(areas) > MAX_AREAS:
        raise Invalid(
            f"There would be {others + len(areas):,} postal areas, {others:,} of them of other countries; at most "
            f"{MAX_AREAS:,} can be kept, because each process has all of them in memory. Nothing was changed."
        )
    held = {
        (row.country, geography.prefix_of(row.country, row.prefix)): row
        for row in PostalArea.objects.filter(country__in=countries)
    }
    new, changed, unchanged = [], [], 0
    for area in areas:
        row = held.pop((area.country, area.prefix), None)
        if row is None:
            new.append((area.country, area.prefix, *_kept(area)))
        elif _kept(row) != _kept(area):
            changed.append((row.id, *_kept(area)))
        else:
            unchanged += 1
    count = len(held) + len(changed) + unchanged
    if len(held) > SHRINK_SHARE * count and not may_shrink:
        raise Invalid(
            f"{len(held):,} of the {count:,} areas of {', '.join(sorted(countries))} are not in the file and would be "
            "deleted: is it whole? Nothing was changed. With --may-shrink they are deleted."
        )
    on_progress(unchanged)
    # No statement without rows: even an UPDATE of no row fires the trigger that makes every process read again.
    for ids in _chunks([row.id for row in held.values()]):
        PostalArea.objects.filter(pk__in=ids).delete()
    for rows in _chunks(changed):
        database.update_rows(PostalArea, ("id", *KEPT), rows)
        on_progress(len(rows))
    for rows in _chunks(new):
        database.insert_rows(PostalArea, ("country", "prefix", *KEPT), rows)
        on_progress(len(rows))
    return Replaced(created=len(new), changed=len(changed), unchanged=unchanged, deleted=len(held))


def describe(areas: Sequence[PostalArea], result: Replaced) -> str:
    """The result of `replace` for these areas, as one line for a person."""
    return f"Postal areas of {', '.join(sorted({area.country for area in areas}))}: {result}."


def _kept(area: PostalArea) -> tuple[object, ...]:
    return tuple(getattr(area, name) for name in KEPT)


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


def locate(postal_code: str) -> Location:
    """Where one postal code lies, by one SELECT of the few areas that can match.

    To locate many codes, keep a `geography.PostalAreas` of all areas instead.
    """
    country, code = geography.split(postal_code, home=settings.POSTAL_COUNTRY)
    prefixes = geography.prefixes(country, code)
    written = {*prefixes, *map(geography.plain, prefixes)}  # rows from before have British codes without their space
    return geography.PostalAreas(_areas(country, written), home=settings.POSTAL_COUNTRY).locate(postal_code)


def _areas(country: str, prefixes: set[str]) -> list[Area]:
    return [
        Area(row.country, row.prefix, Point(row.latitude, row.longitude), row.name, row.region, row.is_region)
        for row in PostalArea.objects.filter(country=country, prefix__in=prefixes)
    ]


def known_regions() -> list[str]:
    """The regions that postal areas name, sorted. A delivery has one of these or none. One SELECT."""
    regions = PostalArea.objects.exclude(region="").values_list("region", flat=True).distinct()
    return sorted(set(map(values.composed, regions)))


def warning_of_unknown_regions() -> str:
    """A warning about regions that policies or warehouses name and no postal area lies in; empty if there are none."""
    named = set(AllocationPolicy.objects.exclude(region="").values_list("region", flat=True))
    for served in Warehouse.objects.values_list("served_regions", flat=True):
        named.update(policies.regions_of(served))
    unknown = sorted(set(map(values.composed, named)).difference(known_regions()))
    return (
        "No order uses these regions of policies or warehouses, because no postal area lies in them: "
        f"{', '.join(unknown)}."
        if unknown
        else ""
    )


# --- from a file ---------------------------------------------------------------------------------------------------


def load(path: Path | str) -> list[PostalArea]:
    """The areas that the CSV file at `path` lists, not saved.

    `files.csv_rows` says what is skipped; line ends may be of any kind. Countries and prefixes become upper case.
    Raises Invalid with one sentence for each problem (at most MAX_PROBLEMS), also as the list `extra["problems"]`.
    """
    areas, problems = _read(files.text(path, max_bytes=MAX_BYTES))
    if problems:
        raise files.invalid(path, problems, most=MAX_PROBLEMS)
    return areas


def _read(text: str) -> tuple[list[PostalArea], list[str]]:
    """The areas, and one sentence for each problem; a problem that makes the rest unreadable comes last."""
    areas: list[PostalArea] = []
    problems: list[str] = []
    first_lines: dict[tuple[str, str], int] = {}
    count = 0
    try:
        rows = files.csv_rows(text)
        header_line, header = next(rows)
        if wrong_header := _header_problem(header):
            return [], [f"Line {header_line}: {wrong_header}"]
        for count, (line, cells) in enumerate(rows, start=1):
            if count > MAX_AREAS:
                problems.append(f"There are more than {MAX_AREAS:,} rows; each process has all of them in memory.")
                break
            area, wrong = _area(cells)
            first_line = first_lines.setdefault((area.country, area.prefix), line) if area else line
            if area and first_line != line:
                wrong.append(f"the prefix {area.prefix} of {area.country} was given before, in line {first_line}.")
            problems += [f"Line {line}: {sentence}" for sentence in wrong]
            areas += [area] if area else []
    except files.NotCSV as error:
        problems.append(f"Line {error.line}: {error}")
    if not (count or problems):
        problems.append("The file has a header and no rows.")
    return areas, problems


def _header_problem(cells: list[str]) -> str | None:
    if tuple(cells) == COLUMNS:
        return None
    wanted = f"the first line without # must name the columns: {','.join(COLUMNS)}"
    return f"{wanted}; it is {_shown(','.join(cells))}." if cells else f"{wanted}; there is none."


def _area(cells: list[str]) -> tuple[PostalArea | None, list[str]]:
    """The area of one row and no problems, or None and its problems."""
    found, problems = files.read_cells(COLUMNS, cells, RULES, quoted=_shown)
    if problems:
        return None, problems
    prefix = geography.prefix_of(found["country"], found.pop("prefix"))
    return PostalArea(**{"is_region": found.pop("kind"), "prefix": prefix, **found}), []


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _read_country(text: str) -> str:
    if not COUNTRY.fullmatch(text):
        raise ValueError
    return text.upper()


def _read_prefix(text: str) -> str:
    if not PREFIX.match(text) or len(geography.plain(text)) > geography.MAX_PREFIX:
        raise ValueError
    return text


def _degrees_reader(most: int) -> Callable[[str], float]:
    def read_degrees(text: str) -> float:
        degrees = values.read_decimal(text)
        if abs(degrees) > most:
            raise ValueError
        return degrees

    return read_degrees


def _read_region(text: str) -> str:
    region = read_region(text) if text else ""
    if "," in region:
        raise ValueError
    return region


def _read_kind(text: str) -> bool:
    if text not in KINDS:
        raise ValueError
    return KINDS[text]


# By column: what the value must be, in words, and a function that returns what it means or raises ValueError.
RULES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "country": ("the two letters of ISO 3166, such as BR", _read_country),
    "prefix": ("1 to 16 letters and digits", _read_prefix),
    "latitude": ("degrees between -90 and 90, such as -23.55", _degrees_reader(90)),
    "longitude": ("degrees between -180 and 180, such as -46.63", _degrees_reader(180)),
    "name": ("1 to 200 printable characters", partial(values.read_name, most=200)),
    "region": ("at most 64 printable characters without a comma", _read_region),
    "kind": (f"one of {', '.join(KINDS)}", _read_kind),
}
