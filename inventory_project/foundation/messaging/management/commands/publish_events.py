"""manage.py publish_events: the relay, which sends events from the outbox to RabbitMQ."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from inventory_project.foundation.commands import ServiceCommand, require_broker, stop_on_signals
from inventory_project.foundation.messaging import outbox, relay
from inventory_project.foundation.messaging.heartbeat import Heartbeat


class Command(ServiceCommand):
    help = "Publish events to RabbitMQ until SIGTERM. If two run, the second one stands by."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options with which the command does one thing and ends at once."""
        options = parser.add_mutually_exclusive_group()
        options.add_argument(
            "--again-unrouted",
            action="store_true",
            help="have the relay send all unrouted events again at once, print their number and exit",
        )
        options.add_argument(
            "--again-logged",
            action="store_true",
            help="have the relay send all events that were written to the log, print their number and exit",
        )
        options.add_argument(
            "--to-log",
            action="store_true",
            help="have events go to the log from now on, in an installation that gives up RabbitMQ, and exit",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["again_unrouted"]:
            self.stdout.write(f"Events that will be sent again: {outbox.send_unrouted_again()}.")
        elif options["again_logged"]:
            self.stdout.write(f"Events that will be sent again: {outbox.send_logged_again()}.")
        elif options["to_log"]:
            relay.retire()
            self.stdout.write("Events go to the log from now on. Restart all processes without RABBITMQ_URL.")
        else:
            _relay()


def _relay() -> None:
    require_broker()
    heartbeat = Heartbeat("relay")
    stop = stop_on_signals()
    heartbeat.serve(settings.RELAY_METRICS_PORT)
    relay.run(stop, heartbeat)
    heartbeat.beat("stopped")
