"""manage.py expire_reservations: release all overdue holds, once or as long as it runs, or one hold now."""

import logging
import time
from threading import Event
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import Error, connection

from inventory_project.foundation import database, failures
from inventory_project.foundation.commands import ServiceCommand, id_argument, stop_on_signals
from inventory_project.foundation.errors import Refusal, Unavailable
from inventory_project.foundation.messaging.heartbeat import Heartbeat
from reservations import lifecycle
from reservations.requests import Expire

logger = logging.getLogger(__name__)

MAX_REST_SECONDS = 10  # between two signs of life


class Command(ServiceCommand):
    help = "Release every overdue hold; with --reservation one hold, due or not. Several may run at once."

    def add_arguments(self, parser: CommandParser) -> None:
        choice = parser.add_mutually_exclusive_group()
        choice.add_argument(
            "--reservation", type=id_argument, metavar="ID", help="expire this reservation now, due or not"
        )
        choice.add_argument(
            "--forever",
            action="store_true",
            help="be the expiration worker: sweep every EXPIRY_INTERVAL_SECONDS until SIGTERM; needs PostgreSQL only",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["forever"]:
            heartbeat = Heartbeat("expiry")
            stop = stop_on_signals()
            heartbeat.serve(settings.EXPIRY_METRICS_PORT)
            _run(stop, heartbeat)
            heartbeat.beat("stopped")
        elif options["reservation"]:
            self._expire_one(options["reservation"])
        else:
            self._sweep_once()

    def _expire_one(self, reservation_id: UUID) -> None:
        wanted = Expire(reservation_id=reservation_id, only_if_due=False, actor="command:expire_reservations")
        outcome = lifecycle.one(lifecycle.expire_many, wanted)
        self.stdout.write(f"Reservation {outcome.hold.id} is {outcome.hold.status}.")

    def _sweep_once(self) -> None:
        sweep = lifecycle.sweep()
        self.stdout.write(f"Released: {sweep.released}")
        if sweep.left_behind:
            raise CommandError(f"Overdue holds left behind: {sweep.left_behind}. {WHY_LEFT_BEHIND}")


WHY_LEFT_BEHIND = "Another session has locked them, or their records are damaged."


def _run(stop: Event, heartbeat: Heartbeat) -> None:
    """Sweep every EXPIRY_INTERVAL_SECONDS until `stop`. If the database becomes unusable, wait for it and continue."""
    is_migrated = False
    while not stop.is_set():
        try:
            is_migrated = is_migrated or database.is_migrated()
            if not is_migrated:
                raise Unavailable(database.NOT_MIGRATED)
            while not stop.is_set():
                _sweep_and_rest(stop, heartbeat)
        except (Error, Refusal) as failure:
            if isinstance(failure, Error) and failures.refusal_for(failure) is None:
                logger.exception("a sweep failed")
            connection.close()
            heartbeat.wait(stop, f"The database cannot be used: {failure}")


def _sweep_and_rest(stop: Event, heartbeat: Heartbeat) -> None:
    due = time.monotonic() + settings.EXPIRY_INTERVAL_SECONDS

    def should_stop() -> bool:
        heartbeat.turn()
        return stop.is_set()

    sweep = lifecycle.sweep(should_stop=should_stop)
    detail = f"Overdue holds left behind: {sweep.left_behind}. {WHY_LEFT_BEHIND}" if sweep.left_behind else ""
    heartbeat.beat("working", detail)
    while not should_stop() and (left := due - time.monotonic()) > 0:
        stop.wait(min(left, MAX_REST_SECONDS))
