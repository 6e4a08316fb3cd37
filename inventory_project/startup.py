"""Warm-up: work that a process does once before its first batch, so that no batch has to wait for it."""

import gc
from contextlib import suppress
from threading import Thread

from django.db import Error, connection

from inventory_project.foundation.messaging import installation
from warehouses import network

READ_SECONDS = 5  # the longest wait; gunicorn kills a worker that takes 30 s to start


def warm_up() -> None:
    """Read the network of warehouses, warn of a missing REDIS_URL, and exclude all objects from garbage collection.

    A full collection of them would take some 50 ms, during which stock may be locked. Without a database a warning is
    logged, and the first batch reads the network.
    """
    reading = Thread(target=_read, name="warm-up", daemon=True)
    reading.start()
    reading.join(READ_SECONDS)
    gc.collect()
    gc.freeze()


def _read() -> None:
    network.recent()
    with suppress(Error):  # the database is unreachable or not migrated, which others report
        installation.warn_of_missing_redis()
    connection.close()
