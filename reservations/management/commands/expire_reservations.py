"""manage.py expire_reservations: release all overdue holds, or one hold now."""

from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from inventory_project.foundation.commands import ServiceCommand
from reservations import lifecycle
from reservations.requests import Expire


class Command(ServiceCommand):
    help = "Release every hold whose time is up; with --reservation one hold, due or not. Safe while the worker runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reservation", type=UUID, metavar="ID", help="expire this reservation now, due or not")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["reservation"]:
            wanted = Expire(
                reservation_id=options["reservation"], only_if_due=False, actor="command:expire_reservations"
            )
            outcome = lifecycle.one(lifecycle.expire_many, wanted)
            self.stdout.write(f"Reservation {outcome.hold.id} is {outcome.hold.status}.")
            return
        sweep = lifecycle.sweep()
        self.stdout.write(f"Released: {sweep.released}")
        if sweep.left_behind:
            raise CommandError(
                f"Overdue holds left behind: {sweep.left_behind}. Another session has locked them, or their records "
                "are damaged."
            )
