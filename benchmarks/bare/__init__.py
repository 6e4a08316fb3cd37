"""What the service is compared with: a Django service as it is written by the book, with nothing around it.

It has no middleware, no tokens, no log line and no metrics. Where a choice was open, it is what makes this contender
faster: rows that no reservation needs are not written, and no serializer checks a body.
"""

WORKERS = 2  # processes, one for each core
THREADS = 16  # of each process
SETTINGS = "benchmarks.bare.settings"
RESERVATIONS = "/reservations"
EMPTY = "/empty"
