"""The log-in of staff: password and second factor, with limits that hold before anything is hashed.

Hashing a password takes as long as a hundred sales. So a process hashes MAX_HASHINGS at once at most, and a name or an
address whose log-ins keep failing is locked out. Each failure is logged and counted.
"""

import logging
from threading import BoundedSemaphore

from django.contrib import auth
from django.contrib.auth.models import User
from prometheus_client import Counter

from inventory_project.foundation.access import lockouts, second_factor
from inventory_project.foundation.access.lockouts import LockedOut, Origin
from inventory_project.foundation.errors import Invalid, Unavailable

MAX_HASHINGS = 2
MAX_NAME_LOGGED = 64  # characters; anybody can send any name
WRONG = (
    "This is not the user name and password of a staff account, or the code is missing or wrong. Upper and lower case "
    "make a difference."
)
BUSY = "Other log-ins are being checked right now. Try again in a few seconds."

logger = logging.getLogger(__name__)
hashings = BoundedSemaphore(MAX_HASHINGS)
log_ins = Counter(
    "inventory_staff_logins", "Attempts to log in to the admin, by result: succeeded, failed, locked, busy.", ["result"]
)


def check(*, name: str, password: str, code: str, origin: Origin) -> User:
    """The staff user with this name and password. The code is looked at if the user has a second factor.

    Raises Invalid if one of them is wrong, and Unavailable, without hashing anything, if the name or the address is
    locked out, or if the process is hashing already.
    """
    if not hashings.acquire(blocking=False):
        _refused("busy", name, origin)
        raise Unavailable(BUSY)
    try:
        lockouts.count(name, origin)
        user = _user(name, password, code)
    except LockedOut:
        _refused("locked", name, origin)
        raise
    finally:
        hashings.release()
    if user is None:
        _refused("failed", name, origin)
        raise Invalid(WRONG)
    lockouts.succeeded(name, origin)
    log_ins.labels("succeeded").inc()
    return user


def _user(name: str, password: str, code: str) -> User | None:
    user = auth.authenticate(username=name, password=password)
    if not isinstance(user, User) or not user.is_staff or not second_factor.accepts(user, code):
        return None
    return user


def _refused(result: str, name: str, origin: Origin) -> None:
    log_ins.labels(result).inc()
    shown = name if len(name) <= MAX_NAME_LOGGED else f"{name[:MAX_NAME_LOGGED]}..."
    logger.warning("staff log-in %s: name=%r address=%s", result, shown, origin.place)
