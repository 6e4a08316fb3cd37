"""What a process that decides over stock does once before its first batch, so that no batch has to wait for it."""

import gc
from threading import Thread

from django.db import connection

from warehouses import network

READ_SECONDS = 5  # at most for a database that does not answer; gunicorn ends who takes half a minute to start


def warm_up() -> None:
    """Read the network of warehouses, and have the garbage collector leave alone whatever is there by now.

    A full collection would go through all of it, some 50 ms in which stock may be locked. Without a database there is
    a warning, and the first batch reads the network.
    """
    reading = Thread(target=_read, name="warm-up", daemon=True)
    reading.start()
    reading.join(READ_SECONDS)
    gc.collect()
    gc.freeze()


def _read() -> None:
    network.recent()
    connection.close()
