"""The warehouses, postal areas and policies, kept in memory because every allocation needs them.

A process reads all of them once, and again when NetworkVersion says that something has changed. That check is one
short statement in the same round trip as the batch's other ones. Distances are computed once for each area.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import intern
from threading import Lock
from typing import NamedTuple

from django.conf import settings
from django.db import Error

from inventory_project.foundation import database, values
from inventory_project.foundation.database import Deferred
from warehouses.allocation import policies
from warehouses.allocation.geography import UNKNOWN, Area, Location, Point, PostalAreas, great_circle_km
from warehouses.allocation.policies import Policy
from warehouses.allocation.preferences import Place
from warehouses.allocation.terms import Delivery
from warehouses.models import AllocationPolicy, NetworkVersion, PostalArea, Warehouse

logger = logging.getLogger(__name__)

RECENT_SECONDS = 1.0  # maximum age of what `recent` returns
KEPT_PLACES = 100_000  # distances kept, one for each warehouse and recently used area; about 20 MB
KEPT_CODES = 10_000  # recently used postal codes whose area need not be looked up again
SELECT_VERSION = "SELECT part, version FROM warehouse_network_version"
VERSION = database.fields_of(NetworkVersion, ("part", "version"))
PARTS = frozenset(NetworkVersion.Part.values)
Version = Mapping[str, str]  # by part
UNVERSIONED: Version = {}


class Site(NamedTuple):
    """A warehouse with its position, if known. `is_by_postal_code`: the position is its postal area's."""

    warehouse_id: str
    region: str
    priority: int
    point: Point | None
    served_regions: frozenset[str]
    is_by_postal_code: bool = False


class View(dict[str, Place]):
    """The warehouses by id as seen from one delivery area; each is computed when it is first asked for.

    An unknown warehouse gets a Place with its id and nothing else.
    """

    def __init__(self, sites: Mapping[str, Site], point: Point | None, delivery: Delivery) -> None:
        super().__init__()
        self.delivery = delivery
        self._sites = sites
        self._point = point

    def __missing__(self, warehouse_id: str) -> Place:
        site = self._sites.get(warehouse_id)
        if site is None:
            return Place(warehouse_id, "", 0)
        region = self.delivery.region
        place = self[warehouse_id] = Place(
            warehouse_id,
            site.region,
            site.priority,
            round(great_circle_km(self._point, site.point), 1) if self._point and site.point else None,
            not (site.served_regions and region) or region in site.served_regions,
            site.is_by_postal_code,
        )
        return place


@dataclass(slots=True)
class Network:
    """The warehouses, the postal areas and the policies at one version of the database.

    `policies` are by region; an invalid one is None.
    """

    version: Version
    sites: dict[str, Site]
    areas: PostalAreas
    policies: dict[str, Policy | None]
    _views: dict[tuple[Location, bool], View] = field(default_factory=dict)
    _by_code: dict[str, View] = field(default_factory=dict)

    def seen_from(self, postal_code: str) -> View:
        """The warehouses as seen from this postal code, with the policy of its region. An empty code is allowed."""
        view = self._by_code.get(postal_code)
        if view is not None:
            return view
        location = self.areas.locate(postal_code) if postal_code else UNKNOWN
        key = (location, bool(postal_code))
        view = self._views.get(key)
        if view is None:
            if len(self._views) * len(self.sites) >= KEPT_PLACES:
                self._views.clear()
                self._by_code.clear()
            view = self._views[key] = self._seen_from(location, is_given=bool(postal_code))
        if len(self._by_code) >= KEPT_CODES:
            self._by_code.clear()
        self._by_code[postal_code] = view
        return view

    def _seen_from(self, location: Location, *, is_given: bool) -> View:
        area = location.area
        region = area.region if area else ""
        policy = self.policies.get(region, self.policies.get("", policies.BUILT_IN))
        notes = []
        if area is None:
            notes.append("unknown_postal_code" if is_given else "no_postal_code")
        elif area.is_region:
            notes.append("rough_delivery")
        if not region and any(site.served_regions for site in self.sites.values()):
            notes.append("served_regions_unchecked")
        if policy is None:
            notes.append("unusable_policy")
        delivery = Delivery(
            policy=policy or policies.BUILT_IN,
            precision=location.precision,
            area=f"{area.country} {area.prefix}" if area else "",
            name=area.name if area else "",
            region=region,
            notes=tuple(notes),
        )
        return View(self.sites, area.point if area else None, delivery)


EMPTY = Network(UNVERSIONED, {}, PostalAreas([], home=""), {})  # before the first look at the database
_kept = EMPTY
_looked_at = -RECENT_SECONDS
_looking = Lock()


def current() -> Deferred[Network]:
    """The network as the database has it now. One short statement, and two or three more after a change."""
    version: Deferred[Version] = database.select(VERSION, SELECT_VERSION, [], dict)
    return lambda: _of_version(version())


def _of_version(version: Version) -> Network:
    global _kept  # one for the whole process; threads that read it at the same time read the same
    network = _kept
    if network.version != version or version.keys() != PARTS:
        is_areas_new = "areas" not in version or network.version.get("areas") != version["areas"]
        network = _kept = _read(version, areas=_read_areas() if is_areas_new else network.areas)
    return network


def recent() -> Network:
    """The network, at most RECENT_SECONDS old, for answers that decide nothing. Not inside a transaction.

    While the database does not answer, this is the network as it was last read; empty if it was never read.
    """
    # One thread reads it and the others use the old one meanwhile; only if there is none yet do they wait.
    if _is_old() and _looking.acquire(blocking=_kept.version == UNVERSIONED):
        try:
            if _is_old():
                _look()
        finally:
            _looking.release()
    return _kept


def is_recent() -> bool:
    """Whether `recent` would answer at once, without reading the database."""
    return not _is_old()


def _is_old() -> bool:
    return time.monotonic() - _looked_at >= RECENT_SECONDS


def _look() -> None:
    global _looked_at  # see above
    try:
        current()()
    except Error:
        logger.warning("the warehouses, postal areas and policies cannot be read; those last seen are used")
    _looked_at = time.monotonic()


def _read(version: Version, *, areas: PostalAreas) -> Network:
    """Read the whole network, after its version. A change in between has a newer version, so it is read again."""
    sites = {site.warehouse_id: site for site in (_site(row, areas) for row in Warehouse.objects.all())}
    policies_by_region = {values.composed(row.region): _policy(row) for row in AllocationPolicy.objects.all()}
    return Network(version, sites, areas, policies_by_region)


def _read_areas() -> PostalAreas:
    rows = PostalArea.objects.values_list(
        "country", "prefix", "latitude", "longitude", "name", "region", "is_region"
    ).iterator(chunk_size=10_000)
    return PostalAreas(
        (
            Area(
                intern(country),
                prefix,
                Point(latitude, longitude),
                intern(name),
                intern(values.composed(region)),
                is_region,
            )
            for country, prefix, latitude, longitude, name, region, is_region in rows
        ),
        home=settings.POSTAL_COUNTRY,
    )


def _site(row: Warehouse, areas: PostalAreas) -> Site:
    served_regions = frozenset(map(values.composed, policies.regions_of(row.served_regions)))
    if row.latitude is not None and row.longitude is not None:
        return Site(row.id, row.region, row.priority, Point(row.latitude, row.longitude), served_regions)
    area = areas.locate(row.postal_code).area
    return Site(row.id, row.region, row.priority, area.point if area else None, served_regions, area is not None)


def _policy(row: AllocationPolicy) -> Policy | None:
    """The row's policy, or None if it is invalid. The admin checks policies, so this one was written another way."""
    policy = row.as_policy()
    if wrong := policies.problems(policy):
        logger.warning(
            "a policy cannot be followed, the built-in one is used",
            extra={"region": str(row), "problems": " ".join(wrong.values())},
        )
        return None
    return policy
