"""Reads settings from the environment and from the file `.env`: one function for each kind of value.

An invalid value raises ImproperlyConfigured with a message that names the variable.
"""

import re
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")


def text(name: str, default: str = "") -> str:
    """A string, taken literally: a leading `$` does not refer to another variable. An empty one counts as unset."""
    value: str = env.ENVIRON.get(name, "").strip()
    return value or default


def whole(name: str, default: int, *, low: int, high: int) -> int:
    """A whole number between `low` and `high`."""
    value = text(name, str(default))
    if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
        raise ImproperlyConfigured(f"{name} must be a whole number from {low} to {high}, not {value!r}.")
    return int(value)


def positive_decimal(name: str, default: str, *, high: int) -> Decimal:
    """A decimal number above 0, at most `high`."""
    value = text(name, default)
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not (number.is_finite() and 0 < number <= high):
        raise ImproperlyConfigured(f"{name} must be a number above 0 and at most {high}, not {value!r}.")
    return number


def switch(name: str, *, default: bool) -> bool:
    """A switch: True for `on`, False for `off`."""
    value = text(name, "on" if default else "off").lower()
    if value not in ("on", "off"):
        raise ImproperlyConfigured(f"{name} must be on or off, not {value!r}.")
    return value == "on"


def choice(name: str, default: str, options: tuple[str, ...]) -> str:
    """One of `options`."""
    value = text(name, default)
    if value not in options:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(options)}, not {value!r}.")
    return value


def country(name: str, default: str) -> str:
    """A country code of ISO 3166: two upper-case letters."""
    value = text(name, default)
    if not re.fullmatch("[A-Z]{2}", value):
        raise ImproperlyConfigured(f"{name} must be a country's two letters, such as BR, not {value!r}.")
    return value


def server_url(name: str, schemes: tuple[str, ...], *, password: str) -> str:
    """A server's URL, or an empty string. A URL without a password gets `password`, which is quoted as needed.

    No error repeats any part of the URL, because it may be a part of a password.
    """
    value = text(name)
    if not value:
        return ""
    if value.partition("://")[0] not in schemes:
        raise ImproperlyConfigured(f"{name} must begin with {' or '.join(s + '://' for s in schemes)}.")
    if not _can_be_read(value):
        raise ImproperlyConfigured(
            f"{name} cannot be read. If its password has special characters, leave it out of the URL and set "
            f"{name.removesuffix('_URL')}_PASSWORD."
        )
    parts = urlsplit(value)
    if not password or parts.password:
        return value
    user, _, address = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.removesuffix(':')}:{quote(password, safe='')}@{address}").geturl()


def _can_be_read(url: str) -> bool:
    """Whether it has readable ports, no fragment, and no `@` after its host, as if from a password with a slash."""
    try:
        parts = urlsplit(url)
        for address in parts.netloc.rpartition("@")[2].split(","):  # PostgreSQL may have several
            _ = urlsplit(f"//{address}").port  # raises ValueError if the rest of a password stands in place of the port
    except ValueError:
        return False
    return not parts.fragment and "@" not in parts.path + parts.query


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
