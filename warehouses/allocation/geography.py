"""Locates postal codes and computes distances. Pure: it works on a table that the caller passes in.

A postal code is located by its longest known prefix, and the result says how precise that is. No remote service is
asked: the town at once is worth more than the exact address after a lookup that the customer has to wait for.
"""

import math
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

Precision = Literal["exact", "prefix", "region", "unknown"]

EARTH_RADIUS_KM = 6371.0088  # the mean radius R1 of the ellipsoid GRS 80 (IUGG)
COUNTRY_FIRST = re.compile(r"([A-Z]{2})[ -]+(.*)")  # BR-01310-100; codes of Bermuda and Somalia always need the country


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
            self._by_country.setdefault(area.country, {})[area.prefix] = area
        self._longest = {country: max(map(len, known)) for country, known in self._by_country.items()}

    def locate(self, postal_code: str) -> Location:
        """Where the code lies. It may begin with the two letters of a country: `PT 1000-001`."""
        text = postal_code.strip().upper()
        named = COUNTRY_FIRST.fullmatch(text)
        country, code = (named[1], named[2]) if named else (self._home, text)
        code = plain(code)
        known = self._by_country.get(country)
        if known is None:
            return UNKNOWN
        for length in range(min(len(code), self._longest[country]), 0, -1):
            area = known.get(code[:length])
            if area is not None:
                if area.is_region:
                    return Location(area, "region")
                return Location(area, "exact" if length == len(code) else "prefix")
        return UNKNOWN


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
