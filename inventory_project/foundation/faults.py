"""Crash points: named places where a test can have a process die or dawdle, to see that the books survive it.

INVENTORY_CRASH_POINT says which do what; unset, as everywhere but in tests, they do nothing.
"""

import os
import signal
import time

from django.conf import settings


def crash_point(name: str) -> None:
    """Do what INVENTORY_CRASH_POINT wants at this point.

    `NAME=kill` ends the process as SIGKILL does, `NAME=sleep:SECONDS` lets it wait; several are separated by commas.
    """
    if not settings.INVENTORY_CRASH_POINT:
        return
    for wish in settings.INVENTORY_CRASH_POINT.split(","):
        point, _, action = wish.partition("=")
        if point != name:
            continue
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(action.removeprefix("sleep:")))
