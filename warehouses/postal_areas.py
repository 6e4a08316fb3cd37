"""The table of postal areas: read from a CSV file, stored in the database, and used to locate single postal codes.

A file is accepted as a whole or rejected. It replaces the areas of the countries that it names; those of other
countries stay. A repeat writes nothing, so no process has to read the table again.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.db import transaction

from inventory_project.foundation import database
from inventory_project.foundation.errors import Invalid
from warehouses import files
from warehouses.allocation import geography, policies
from warehouses.allocation.geography import Area, Location, Point
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
NUMBER = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{1,20})?")
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
    held = {(row.country, row.prefix): row for row in PostalArea.objects.filter(country__in=countries)}
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
    for values in _chunks(changed):
        database.update_rows(PostalArea, ("id", *KEPT), values)
        on_progress(len(values))
    for values in _chunks(new):
        database.insert_rows(PostalArea, ("country", "prefix", *KEPT), values)
        on_progress(len(values))
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
    plain = geography.plain(postal_code)
    # With and without the first two letters, which may be the country's.
    prefixes = {code[:length] for code in (plain, plain[2:]) for length in range(1, len(code) + 1)}
    return geography.PostalAreas(_areas(prefixes), home=settings.POSTAL_COUNTRY).locate(postal_code)


def _areas(prefixes: set[str]) -> list[Area]:
    return [
        Area(row.country, row.prefix, Point(row.latitude, row.longitude), row.name, row.region, row.is_region)
        for row in PostalArea.objects.filter(prefix__in=prefixes)
    ]


def known_regions() -> list[str]:
    """The regions that postal areas name, sorted. A delivery has one of these or none. One SELECT."""
    return sorted(PostalArea.objects.exclude(region="").values_list("region", flat=True).distinct())


def warning_of_unknown_regions() -> str:
    """A warning about regions that policies or warehouses name and no postal area lies in; empty if there are none."""
    named = set(AllocationPolicy.objects.exclude(region="").values_list("region", flat=True))
    for served in Warehouse.objects.values_list("served_regions", flat=True):
        named.update(policies.regions_of(served))
    unknown = sorted(named.difference(known_regions()))
    return (
        "No order uses these regions of policies or warehouses, because no postal area lies in them: "
        f"{', '.join(unknown)}."
        if unknown
        else ""
    )


# --- from a file ---------------------------------------------------------------------------------------------------


def load(path: Path | str) -> list[PostalArea]:
    """The areas that the CSV file at `path` lists, not saved.

    Lines before the header that begin with `#`, empty lines, a byte order mark and spaces around a value are ignored;
    line ends may be of any kind. Countries and prefixes become upper case. Raises Invalid with one sentence for each
    problem (at most MAX_PROBLEMS), also as the list `extra["problems"]`.
    """
    areas, problems = _read(files.text(path, max_bytes=MAX_BYTES))
    if problems:
        raise files.invalid(path, problems, most=MAX_PROBLEMS)
    return areas


def _below_comments(text: str) -> tuple[io.StringIO, int]:
    """The lines from the header on, and the number of lines above it."""
    lines = io.StringIO(text, newline="")  # line ends are kept, because csv handles every kind
    above = position = 0
    for line in lines:
        if line.strip() and not line.startswith("#"):
            break
        above += 1
        position += len(line)
    lines.seek(position)
    return lines, above


def _read(text: str) -> tuple[list[PostalArea], list[str]]:
    """The areas, and one sentence for each problem; a problem that makes the rest unreadable comes last."""
    lines, above = _below_comments(text)
    rows = csv.reader(lines, strict=True)
    areas: list[PostalArea] = []
    problems: list[str] = []
    first_lines: dict[tuple[str, str], int] = {}
    count = 0
    try:
        wrong_header = _header_problem(next(rows, []))
        if wrong_header:
            return [], [f"Line {above + 1}: {wrong_header}"]
        for count, cells in enumerate(filter(None, rows), start=1):  # an empty line has no cells
            line_number = above + rows.line_num
            if count > MAX_AREAS:
                problems.append(f"There are more than {MAX_AREAS:,} rows; each process has all of them in memory.")
                break
            area, wrong = _area([cell.strip() for cell in cells])
            first_line = first_lines.setdefault((area.country, area.prefix), line_number) if area else line_number
            if area and first_line != line_number:
                wrong.append(f"the prefix {area.prefix} of {area.country} was given before, in line {first_line}.")
            problems += [f"Line {line_number}: {sentence}" for sentence in wrong]
            areas += [area] if area else []
    except csv.Error as error:
        problems.append(f"Line {above + rows.line_num}: this is not CSV: {error}.")
    if not (count or problems):
        problems.append("The file has a header and no rows.")
    return areas, problems


def _header_problem(cells: list[str]) -> str | None:
    if tuple(cell.strip() for cell in cells) == COLUMNS:
        return None
    wanted = f"the first line without # must name the columns: {','.join(COLUMNS)}"
    return f"{wanted}; it is {_shown(','.join(cells))}." if cells else f"{wanted}; there is none."


def _area(cells: list[str]) -> tuple[PostalArea | None, list[str]]:
    """The area of one row and no problems, or None and its problems."""
    if len(cells) != len(COLUMNS):
        return None, [f"a row has {len(COLUMNS)} values, not {len(cells)}."]
    country, prefix, latitude, longitude, name, region, kind = cells
    problems = [
        f"{column} must be {wanted}, not {_shown(cell)}."
        for column, cell, (wanted, accepts) in zip(COLUMNS, cells, RULES, strict=True)
        if not accepts(cell)
    ]
    if problems:
        return None, problems
    area = PostalArea(
        country=country.upper(),
        prefix=geography.plain(prefix),
        latitude=float(latitude),
        longitude=float(longitude),
        name=name,
        region=region,
        is_region=KINDS[kind],
    )
    return area, []


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _country(text: str) -> bool:
    return COUNTRY.fullmatch(text) is not None


def _prefix(text: str) -> bool:
    return PREFIX.match(text) is not None and len(geography.plain(text)) <= 16


def _degrees(maximum: int) -> Callable[[str], bool]:
    return lambda text: NUMBER.fullmatch(text) is not None and abs(float(text)) <= maximum


def _name(text: str) -> bool:
    return 1 <= len(text) <= 200 and text.isprintable()


def _region(text: str) -> bool:
    return len(text) <= 64 and text.isprintable() and "," not in text


# One rule for each of COLUMNS: what the value must be, in words, and a function that checks it.
RULES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("the two letters of ISO 3166, such as BR", _country),
    ("1 to 16 letters and digits", _prefix),
    ("degrees between -90 and 90, such as -23.55", _degrees(90)),
    ("degrees between -180 and 180, such as -46.63", _degrees(180)),
    ("1 to 200 printable characters", _name),
    ("at most 64 printable characters without a comma", _region),
    (f"one of {', '.join(KINDS)}", KINDS.__contains__),
)
