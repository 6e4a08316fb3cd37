#!/usr/bin/env python
"""The service's command line. A setting that makes no sense, or a database that is away, ends it with one sentence."""

import logging
import os
import sys
from io import TextIOWrapper

# They wait for a database that is unreachable, and their log needs the reason each time. All others end with it.
LONG_RUNNING = ("run_jobs", "publish_events", "consume_events")


def main() -> None:
    # Redirected to a file, standard output would come in blocks, and what happened before an error would follow it.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    if sys.argv[1:2] not in [[name] for name in LONG_RUNNING]:
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # a warning for each try to connect
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Configuration error: {error}")
    except OperationalError as error:  # of Django's own commands; ours have turned it into a CommandError
        from inventory_project.foundation.commands import why_unusable

        sys.exit(f"CommandError: {why_unusable(error)}")


if __name__ == "__main__":
    main()
