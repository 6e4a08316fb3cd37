"""Crash points: named places where a test can kill or pause a process, to prove that the books survive it.

The variable INVENTORY_CRASH_POINT turns them on. Outside tests it is unset, and crash points do nothing.
"""

import os
import signal
import time

from django.conf import settings


def crash_point(name: str) -> None:
    """Kill or pause the process here if INVENTORY_CRASH_POINT says so for this name.

    `NAME=kill` sends SIGKILL to the process, `NAME=sleep:SECONDS` pauses it. Separate several with commas.
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
