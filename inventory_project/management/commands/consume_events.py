"""manage.py consume_events: the consumer, which handles order and payment events from RabbitMQ."""

from typing import Any

from django.conf import settings

from inventory_project import startup
from inventory_project.foundation.commands import ServiceCommand, require_broker, stop_on_signals
from inventory_project.foundation.messaging import consumer
from inventory_project.foundation.messaging.heartbeat import Heartbeat


class Command(ServiceCommand):
    help = "Handle order and payment events from RabbitMQ until SIGTERM. Several may run at once."

    def handle(self, *args: Any, **options: Any) -> None:
        require_broker()
        heartbeat = Heartbeat("consumer")
        stop = stop_on_signals()
        heartbeat.serve(settings.CONSUMER_METRICS_PORT)
        startup.warm_up()
        consumer.run(stop, heartbeat)
        heartbeat.beat("stopped")
