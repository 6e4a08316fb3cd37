"""What a process that decides over stock does once before its first batch, so that no batch has to wait for it."""

import gc

from django.db import connection

from warehouses import network


def warm_up() -> None:
    """Read the network of warehouses, and have the garbage collector leave alone whatever is there by now.

    A full collection would go through all of it, some 50 ms in which stock may be locked. Without a database there is
    a warning, and the first batch reads the network.
    """
    network.recent()
    connection.close()  # a thread that waits for others' work keeps no connection
    gc.collect()
    gc.freeze()
