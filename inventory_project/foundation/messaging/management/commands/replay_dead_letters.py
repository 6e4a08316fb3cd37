"""manage.py replay_dead_letters: look at messages that could not be handled; have them handled anew, or throw away."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError, CommandParser

from inventory_project.foundation.commands import ServiceCommand, require_broker
from inventory_project.foundation.messaging.admin_letters import in_line
from inventory_project.foundation.messaging.rabbitmq import dead_letters
from inventory_project.foundation.messaging.rabbitmq.dead_letters import DeadLetter

MAX_LIMIT = 100_000
MAX_OF_BODY = 200  # characters


class Command(ServiceCommand):
    help = "Put dead letters back into the consumer's queue, the oldest first; or show them, or throw some away."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which, and whether only to look."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--list", action="store_true", help="show them and leave them where they are")
        what.add_argument("--discard", action="store_true", help="throw those away that --id names")
        parser.add_argument(
            "--limit", type=_limit, default=1_000, metavar="N", help="look at so many at most (default: 1000)"
        )
        parser.add_argument(
            "--id",
            action="append",
            metavar="ID",
            help="only those with this id, as --list shows it; repeatable",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        require_broker()
        if options["list"]:
            self._list(options["limit"], options["id"])
            return
        chosen = {"limit": options["limit"], "names": options["id"], "actor": "command:replay_dead_letters"}
        if options["discard"]:
            if not options["id"]:
                raise CommandError("Name what shall be thrown away, by --id.")
            number, missing = dead_letters.discard(**chosen)
            self.stdout.write(f"Thrown away: {number}.")
        else:
            number, missing = dead_letters.replay(**chosen)
            self.stdout.write(f"Sent to be handled anew: {number}.")
        _require_all(missing, options["limit"])

    def _list(self, limit: int, ids: list[str] | None) -> None:
        number, letters = dead_letters.look(limit=limit)
        missing = set(ids or ())
        for letter in letters:
            names = {letter.message_id, letter.key}
            if ids is None or names.intersection(ids):
                missing -= names
                self._show(letter)
        self.stdout.write(f"Dead letters: {number}.")
        _require_all(missing, limit)

    def _show(self, letter: DeadLetter) -> None:
        shown = in_line(letter.message_id or "")
        name = shown if shown and shown == letter.message_id else letter.key  # one that --id finds
        self.stdout.write(f"{name}  {in_line(letter.routing_key)}  tries: {letter.tries}  {in_line(letter.reason)}")
        self.stdout.write(f"    {in_line(letter.body, MAX_OF_BODY)}")


def _require_all(missing: set[str], limit: int) -> None:
    """Raises CommandError that names the ids which were not found."""
    if missing:
        raise CommandError(f"Of the oldest {limit} dead letters none has the id {', '.join(sorted(missing))}.")


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MAX_LIMIT:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1 to {MAX_LIMIT}")
    return int(text)
