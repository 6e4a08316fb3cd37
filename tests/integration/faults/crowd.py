"""A crowd of clients that send nothing, or half of a request, in a process of its own.

`crowd.py PORT SILENT HALF_SENT` says "there" once all of them are connected. From then on the oldest is replaced, 200
times a second, until SIGTERM.
"""

import resource
import socket
import sys
import time
from collections import deque

ADDRESS = ("127.0.0.2", 0)  # so that the buyers come from another one
HALF = b"POST /api/inventory/reservations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
PAUSE_SECONDS = 0.005


def main(port: int, silent: int, half_sent: int) -> None:
    """Never returns."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    clients: deque[socket.socket] = deque()
    while True:
        try:
            client = socket.create_connection(("127.0.0.1", port), source_address=ADDRESS)
            if len(clients) % (silent + half_sent) < half_sent:
                client.sendall(HALF)
        except OSError:
            continue
        clients.append(client)
        if len(clients) == silent + half_sent:
            sys.stdout.write("there\n")
            sys.stdout.flush()
        if len(clients) > silent + half_sent:
            clients.popleft().close()
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
