"""Locates postal codes and computes distances. Pure: it works on a table that the caller passes in.

A postal code is located by its longest known prefix, and the result says how precise that is. No remote service is
asked: the town at once is worth more than the exact address after a lookup that the customer has to wait for.

In most countries a prefix is the beginning of a code's letters and digits. A British code has two parts, of which the
first is the district; its prefixes end between the parts, so that KW1 5NS is in KW1 and never in KW15.
"""

import math
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

Precision = Literal["exact", "prefix", "region", "unknown"]

EARTH_RADIUS_KM = 6371.0088  # the mean radius R1 of the ellipsoid GRS 80 (IUGG)
COUNTRY_FIRST = re.compile(r"([A-Z]{2})[ -]+(.*)")  # BR-01310-100; codes of Bermuda and Somalia always need the country
MAX_PREFIX = 16  # characters
# The United Kingdom and the islands with codes of the same form.
BRITISH = frozenset(["GB", "GG", "IM", "JE"])
# A Brazilian code is often written behind its state. Eight digits are a code of no other country that has such letters.
STATE_FIRST = re.compile(
    r"(?:AC|AL|AM|AP|BA|CE|DF|ES|GO|MA|MG|MS|MT|PA|PB|PE|PI|PR|RJ|RN|RO|RR|RS|SC|SE|SP|TO)[ -]+((?:[ .-]*[0-9]){8})"
)

# KW1 5NS; the last three characters are the inward part, with or without the space. GIR 0AA has no district.
_WHOLE_BRITISH = re.compile(r"([A-Z]{1,2}[0-9][A-Z0-9]?|[A-Z]{3,4})([0-9][A-Z]{2})")
_DISTRICT = re.compile(r"[A-Z]{1,2}[0-9][A-Z0-9]?")
_SECTOR = re.compile(r"[0-9][A-Z]?")  # the beginning of an inward part
_DISTRICT_AND_SECTOR = re.compile(r"([A-Z]{1,2}[0-9][A-Z0-9]?)([0-9][A-Z]?)?")  # without a space: the longest district
_DIVIDED = re.compile(r"([A-Z]{1,2}[0-9])[A-Z]")  # EC1A is a part of EC1
_LETTERS = re.compile(r"[A-Z]*")


class Point(NamedTuple):
    """A place on the earth, in degrees; north and east are positive."""

    latitude: float
    longitude: float


class Area(NamedTuple):
    """The area of a country's postal codes that begin with `prefix`: near `point`, in a region as the shop names it.

    `is_region`: the row stands for a whole state or a similar area, so a distance from its middle is rough.
    """

    country: str
    prefix: str
    point: Point
    name: str
    region: str
    is_region: bool


class Location(NamedTuple):
    """What is known of a postal code: the area of its longest known prefix, and how precise that is.

    `exact`: the whole code is known. `prefix`: its beginning is known. `region`: only the state or a similar area is
    known. `unknown`: nothing is known, and `area` is None.
    """

    area: Area | None
    precision: Precision


UNKNOWN = Location(None, "unknown")


class PostalAreas:
    """The known areas of all countries. `home` is the country of a postal code without one."""

    def __init__(self, areas: Iterable[Area], *, home: str) -> None:
        self._home = home
        self._by_country: dict[str, dict[str, Area]] = {}
        for area in areas:
            self._by_country.setdefault(area.country, {})[prefix_of(area.country, area.prefix)] = area

    def locate(self, postal_code: str) -> Location:
        """Where the code lies. It may begin with the two letters of a country: `PT 1000-001`."""
        country, code = split(postal_code, home=self._home)
        known = self._by_country.get(country)
        if known is None:
            return UNKNOWN
        for position, prefix in enumerate(prefixes(country, code)):
            area = known.get(prefix)
            if area is not None:
                if area.is_region:
                    return Location(area, "region")
                return Location(area, "prefix" if position else "exact")
        return UNKNOWN


def split(postal_code: str, *, home: str) -> tuple[str, str]:
    """The country and the code in it. Without a country before it, the code is one of `home`."""
    text = postal_code.strip().upper()
    state = STATE_FIRST.fullmatch(text) if home == "BR" else None
    if state is not None:
        return home, state[1]
    named = COUNTRY_FIRST.fullmatch(text)
    country, code = (named[1], named[2]) if named else (home, text)
    state = STATE_FIRST.fullmatch(code) if country == "BR" else None
    return country, state[1] if state else code


def prefixes(country: str, code: str) -> list[str]:
    """The prefixes under which an area of the code may be known, the longest first. The first is the whole code."""
    if country in BRITISH:
        return _british_prefixes(code.upper())
    whole = plain(code)[: MAX_PREFIX + 1]  # one more than an area can have, so that a longer code is never known whole
    return [whole[:length] for length in range(len(whole), 0, -1)]


def prefix_of(country: str, written: str) -> str:
    """The one form of an area's prefix: the letters and digits, in British codes with a space behind the district.

    Empty if the text has no letter or digit.
    """
    return next(iter(prefixes(country, written)), "")


def _british_prefixes(code: str) -> list[str]:
    district, inward = _british_parts(code)
    found = [f"{district} {inward[:length]}" for length in range(len(inward), 0, -1)]
    divided = _DIVIDED.fullmatch(district)
    letters = _LETTERS.match(district)
    parents = [divided[1] if divided else "", letters[0] if letters else ""]
    return list(dict.fromkeys(filter(None, [*found, district, *parents])))


def _british_parts(code: str) -> tuple[str, str]:
    """The district and what is given of the inward part. A text of another form is a district as a whole."""
    whole = plain(code)[: MAX_PREFIX + 1]
    if found := _WHOLE_BRITISH.fullmatch(whole):
        return found[1], found[2]
    first, _, last = re.sub(r"[^A-Z0-9]+", " ", code).strip().rpartition(" ")
    first = plain(first)
    if _DISTRICT.fullmatch(first) and _SECTOR.fullmatch(last):
        return first, last
    if found := _DISTRICT_AND_SECTOR.fullmatch(whole):
        return found[1], found[2] or ""
    return whole, ""


def plain(code: str) -> str:
    """The code's letters and digits in upper case, so that `01310-100` and `01310100` are the same."""
    return "".join(filter(str.isalnum, code.upper()))


def great_circle_km(one: Point, other: Point) -> float:
    """The great-circle distance in kilometres; at most 0.6 % off the distance on the ellipsoid.

    The haversine formula, which stays precise over short distances: R. W. Sinnott, Virtues of the Haversine, Sky and
    Telescope 68 (1984), 159.
    """
    latitude, other_latitude = math.radians(one.latitude), math.radians(other.latitude)
    half_north = (other_latitude - latitude) / 2
    half_east = math.radians(other.longitude - one.longitude) / 2
    square = math.sin(half_north) ** 2 + math.cos(latitude) * math.cos(other_latitude) * math.sin(half_east) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, square)))
