"""manage.py replay_dead_letters: list messages that could not be handled, replay them, or discard them."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from inventory_project.foundation.commands import ServiceCommand, require_broker, whole_argument
from inventory_project.foundation.messaging.admin_letters import in_line
from inventory_project.foundation.messaging.rabbitmq import dead_letters
from inventory_project.foundation.messaging.rabbitmq.dead_letters import DeadLetter

MAX_LIMIT = 100_000
MAX_OF_BODY = 200  # characters


class Command(ServiceCommand):
    help = "Put dead letters back into the consumer's queue, the oldest first, or list or discard them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --list, --discard, --limit and --id."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--list", action="store_true", help="list them and leave them in their queue")
        what.add_argument("--discard", action="store_true", help="discard those named by --id")
        parser.add_argument(
            "--limit",
            type=whole_argument(1, MAX_LIMIT),
            default=1_000,
            metavar="N",
            help="look at N dead letters at most (default: 1000)",
        )
        parser.add_argument(
            "--id",
            action="append",
            metavar="ID",
            help="only those with this id, as printed by --list; repeatable",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        require_broker()
        if options["list"]:
            self._list(options["limit"], options["id"])
            return
        chosen = {"limit": options["limit"], "names": options["id"], "actor": "command:replay_dead_letters"}
        if options["discard"]:
            if not options["id"]:
                raise CommandError("Name what to discard with --id.")
            number, missing = dead_letters.discard(**chosen)
            self.stdout.write(f"Discarded: {number}.")
        else:
            number, missing = dead_letters.replay(**chosen)
            self.stdout.write(f"Put back into the queue: {number}.")
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
        message_id = in_line(letter.message_id or "")
        name = message_id if message_id and message_id == letter.message_id else letter.key  # one that --id finds
        self.stdout.write(f"{name}  {in_line(letter.routing_key)}  tries: {letter.tries}  {in_line(letter.reason)}")
        self.stdout.write(f"    {in_line(letter.body, MAX_OF_BODY)}")


def _require_all(missing: set[str], limit: int) -> None:
    """Raise CommandError if ids were not found, and name them."""
    if missing:
        raise CommandError(f"Of the oldest {limit} dead letters none has the id {', '.join(sorted(missing))}.")
