"""manage.py consume_events: order and payment events from RabbitMQ."""

from typing import Any

from django.conf import settings

from inventory_project import startup
from inventory_project.foundation.commands import ServiceCommand, require_broker, stop_on_signals
from inventory_project.foundation.messaging import consumer
from inventory_project.foundation.messaging.pulse import Pulse


class Command(ServiceCommand):
    help = "Handle order and payment events from RabbitMQ until SIGTERM. Several may run at once."

    def handle(self, *args: Any, **options: Any) -> None:
        require_broker()
        pulse = Pulse("consumer")
        stop = stop_on_signals()
        pulse.serve(settings.CONSUMER_METRICS_PORT)
        startup.warm_up()
        consumer.run(stop, pulse)
        pulse.beat("stopped")
