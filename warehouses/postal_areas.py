"""The table of postal areas: read from a CSV file, kept in the database, looked up where one code is to be shown.

A file is taken whole or not at all, and speaks for the countries it names: their areas become what it says, those of
other countries stay. A repeat writes nothing, so nobody has to read the table anew for it.
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
KINDS = {"place": False, "region": True}  # by what the file says: whether the row is the middle of a wide region
MAX_AREAS = 100_000  # of all countries together: each process keeps all of them in memory, which is 31 MB then
MAX_BYTES = 32 * 1024 * 1024  # of a file: three times what so many areas take, and no endless device is read
PROBLEMS_TOLD = 20
CHUNK = 1_000  # rows in one statement
SHRINK_SHARE = 0.5  # of the areas of a file's countries may be deleted by it; more looks like half a file

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
    """Bring the areas of the countries that `areas` name to `areas`; those of other countries stay as they are.

    The areas are unique by country and prefix. All is written or nothing; a repeat writes nothing. `on_progress` is
    told now and then how many more areas are done. Raises Invalid when the table would have more than MAX_AREAS rows,
    and, unless it `may_shrink`, when more than SHRINK_SHARE of the areas would be deleted, as by half a file.
    """
    database.keep_other_writers_out(PostalArea)  # else two loads at once would both find an area missing
    countries = {area.country for area in areas}
    others = PostalArea.objects.exclude(country__in=countries).count()
    if others + len(areas) > MAX_AREAS:
        raise Invalid(
            f"There would be {others + len(areas):,} postal areas, {others:,} of them of other countries; at most "
            f"{MAX_AREAS:,} can be kept, for each process has all of them in memory. Nothing was changed."
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
    # No statement without rows: even an UPDATE of nothing would fire the trigger that makes everybody read anew.
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
    """What `replace` has made of these areas, a line for a person."""
    return f"Postal areas of {', '.join(sorted({area.country for area in areas}))}: {result}."


def _kept(area: PostalArea) -> tuple[object, ...]:
    return tuple(getattr(area, name) for name in KEPT)


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


def locate(postal_code: str) -> Location:
    """Where the code lies, by one SELECT of the few areas that could say so; for a page that shows one code.

    Who has many to look up keeps a `geography.PostalAreas` of all areas.
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
    """The regions that a delivery may have, which are those that a postal area names, sorted; one SELECT."""
    return sorted(PostalArea.objects.exclude(region="").values_list("region", flat=True).distinct())


def warning_of_unknown_regions() -> str:
    """A sentence on the regions that policies or warehouses name and no postal area lies in; empty without any."""
    named = set(AllocationPolicy.objects.exclude(region="").values_list("region", flat=True))
    for served in Warehouse.objects.values_list("served_regions", flat=True):
        named.update(policies.regions_of(served))
    unknown = sorted(named.difference(known_regions()))
    return (
        f"No postal area lies in {', '.join(unknown)}, named by policies or warehouses: no order goes by that."
        if unknown
        else ""
    )


# --- from a file ---------------------------------------------------------------------------------------------------


def load(path: Path | str) -> list[PostalArea]:
    """The areas that the CSV file at `path` lists, not saved.

    Lines that begin with `#` may stand before the header, empty lines anywhere; a byte order mark, line ends of any
    kind and spaces around a value do no harm. Small letters of a country or a prefix count as large ones. Raises
    Invalid with a sentence for each thing that is wrong (at most PROBLEMS_TOLD), `problems` among its extra facts.
    """
    areas, problems = _read(files.text(path, max_bytes=MAX_BYTES))
    if problems:
        raise files.invalid(path, problems, told=PROBLEMS_TOLD)
    return areas


def _below_comments(text: str) -> tuple[io.StringIO, int]:
    """The lines from the header on, and how many stand above it."""
    lines = io.StringIO(text, newline="")  # any line ends, and left as they are: csv knows them
    above = position = 0
    for line in lines:
        if line.strip() and not line.startswith("#"):
            break
        above += 1
        position += len(line)
    lines.seek(position)
    return lines, above


def _read(text: str) -> tuple[list[PostalArea], list[str]]:
    """The areas, and a sentence for each thing that is wrong; what makes the rest unreadable comes last."""
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
    """The area of one row, or None and what is wrong with it."""
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


# One for each of COLUMNS: what is wanted, and whether a text is that.
RULES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("the two letters of ISO 3166, such as BR", _country),
    ("1 to 16 letters and digits", _prefix),
    ("degrees between -90 and 90, such as -23.55", _degrees(90)),
    ("degrees between -180 and 180, such as -46.63", _degrees(180)),
    ("1 to 200 printable characters", _name),
    ("at most 64 printable characters without a comma", _region),
    (f"one of {', '.join(KINDS)}", KINDS.__contains__),
)
