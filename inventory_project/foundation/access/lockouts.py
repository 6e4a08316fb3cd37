"""Lock-outs: after how many failed log-ins further ones are refused, and for how long.

A try is counted before its password is looked at, so that tries at the same moment cannot pass together, in however
many processes. Failures are counted by name and origin: the caller's address, or a browser in which this name has
logged in before (`browsers`). Those of a strange browser count for its address as well, whatever the name. So nobody
can try many names from one address, and a stranger cannot lock out a browser that staff uses.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, ip_address, ip_network

from django.db import transaction
from django.db.models import F, QuerySet

from inventory_project.foundation import database
from inventory_project.foundation.access.models import NAME_LENGTH, FailedLogIns
from inventory_project.foundation.errors import NotFound, Unavailable

MAX_FAILURES = 5  # of one name from one origin
MAX_FAILURES_OF_ADDRESS = 50  # of all names together
LOCK_MINUTES = (1, 5, 15, 60)  # the first lock-out, the second, the third, and each further one
FORGOTTEN_HOURS = 24  # after the last failure
ALL_NAMES = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a log-in comes from: a place, and the browser if the name has logged in with it before."""

    place: str
    browser: str = ""


class LockedOut(Unavailable):
    """Too many log-ins have failed. It says when to try again, and not whether the name exists."""

    def __init__(self, *, until: datetime, now: datetime) -> None:
        minutes = math.ceil((until - now) / timedelta(minutes=1))
        in_minutes = "in 1 minute" if minutes == 1 else f"in {minutes} minutes"
        super().__init__(f"Too many log-ins have failed. Try again {in_minutes}, at {until:%H:%M:%S} UTC.")


def place_of(address: str) -> str:
    """What an address counts as: of IPv6 its first 64 bits, because a caller usually has all the rest."""
    try:
        ip = ip_address(address)
    except ValueError:
        return ""
    if isinstance(ip, IPv4Address) or ip.ipv4_mapped:
        return str(ip if isinstance(ip, IPv4Address) else ip.ipv4_mapped)
    return str(ip_network((ip, 64), strict=False))


def count(name: str, origin: Origin) -> None:
    """Count a try that begins. Raises LockedOut, and counts nothing, if further tries are refused now."""
    with transaction.atomic():
        if origin.browser:
            _count(name, f"browser {origin.browser}", MAX_FAILURES)
        else:
            _count(name, origin.place, MAX_FAILURES)
            _count(ALL_NAMES, origin.place, MAX_FAILURES_OF_ADDRESS)


def succeeded(name: str, origin: Origin) -> None:
    """Forget the failures of this name from this origin. Of its address only the try itself is forgotten."""
    if origin.browser:
        _rows(name, f"browser {origin.browser}").delete()
    else:
        _rows(name, origin.place).delete()
        _rows(ALL_NAMES, origin.place).filter(failures__gt=0).update(failures=F("failures") - 1)


def unlock_name(name: str) -> None:
    """Forget all failures of a name. Raises `NotFound` if there are none."""
    if not FailedLogIns.objects.filter(name=name).delete()[0]:
        raise NotFound(f"There are no failed log-ins of {name}.")


def unlock_address(address: str) -> None:
    """Forget the failures of an address, those of single names included. Raises `NotFound` if there are none."""
    if not FailedLogIns.objects.filter(origin=place_of(address)).delete()[0]:
        raise NotFound(f"There are no failed log-ins from {address}.")


def forget_old() -> None:
    """Forget the failures of names and addresses whose last one is FORGOTTEN_HOURS ago."""
    before = database.database_now() - timedelta(hours=FORGOTTEN_HOURS)
    FailedLogIns.objects.filter(failed_at__lt=before).delete()


def _rows(name: str, origin: str) -> QuerySet[FailedLogIns]:
    return FailedLogIns.objects.filter(name=name[:NAME_LENGTH], origin=origin)


def _count(name: str, origin: str, most: int) -> None:
    row, _ = FailedLogIns.objects.select_for_update().get_or_create(
        name=name[:NAME_LENGTH], origin=origin, defaults={"failed_at": database.database_now()}
    )
    now = database.database_now()  # the row may have been locked for a while
    if row.locked_until is not None and now < row.locked_until:
        raise LockedOut(until=row.locked_until, now=now)
    row.failures += 1
    row.failed_at = now
    if row.failures >= most:
        row.failures = 0
        row.lock_outs += 1
        row.locked_until = now + timedelta(minutes=LOCK_MINUTES[min(row.lock_outs, len(LOCK_MINUTES)) - 1])
    row.save(update_fields=["failures", "lock_outs", "locked_until", "failed_at"])
