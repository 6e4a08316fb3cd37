"""What a person does at the log-in page of the admin, and what is known of it afterwards."""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now
from django.test import Client
from prometheus_client import REGISTRY

from inventory_project.foundation.access import lockouts
from inventory_project.foundation.access.models import FailedLogIns

PASSWORD = "a long pass phrase"
LOG_IN = "/admin/login/"
HOME, ELSEWHERE = "192.0.2.1", "192.0.2.2"
LOCKED = re.compile(r"Too many log-ins have failed\. Try again in (\d+) minutes?, at \d\d:\d\d:\d\d UTC\.")


def log_in(client: Client, name: str = "ana", password: str = PASSWORD, *, address: str = HOME, code: str = "") -> Any:
    """The answer to the form."""
    return client.post(LOG_IN, {"username": name, "password": password, "code": code}, REMOTE_ADDR=address)


def said(response: Any) -> str:
    """What the page says is wrong; empty if the log-in has succeeded."""
    if response.status_code == 302:
        return ""
    assert response.status_code == 200
    (sentence,) = response.context["form"].non_field_errors()
    return str(sentence)


def minutes(response: Any) -> int:
    """For how long further log-ins are refused, as the page says."""
    found = LOCKED.fullmatch(said(response))
    assert found is not None, said(response)
    return int(found[1])


def fail(client: Client, names: Iterable[str], **options: Any) -> list[str]:
    """What the page says to a wrong password for each of the names."""
    return [said(log_in(client, name, "wrong", **options)) for name in names]


def let_the_lock_outs_end() -> None:
    """Make it a moment after the end of every lock-out."""
    FailedLogIns.objects.filter(locked_until__isnull=False).update(locked_until=Now() - timedelta(seconds=1))


def counted() -> dict[str, float]:
    """The attempts that this process has counted, by result."""
    names = ("succeeded", "failed", "locked", "busy")
    return {name: REGISTRY.get_sample_value("inventory_staff_logins_total", {"result": name}) or 0 for name in names}


def counts() -> dict[tuple[str, str], int]:
    """The failures since the last lock-out, by name and origin."""
    return {(row.name, row.origin): row.failures for row in FailedLogIns.objects.all()}


MAX_FAILURES, MAX_FAILURES_OF_ADDRESS = lockouts.MAX_FAILURES, lockouts.MAX_FAILURES_OF_ADDRESS
