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
        """Add --again-unrouted, with which the command ends at once."""
        parser.add_argument(
            "--again-unrouted",
            action="store_true",
            help="have the relay send all unrouted events again, print their number and exit",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["again_unrouted"]:
            self.stdout.write(f"Events that will be sent again: {outbox.send_unrouted_again()}.")
            return
        require_broker()
        heartbeat = Heartbeat("relay")
        stop = stop_on_signals()
        heartbeat.serve(settings.RELAY_METRICS_PORT)
        relay.run(stop, heartbeat)
        heartbeat.beat("stopped")
