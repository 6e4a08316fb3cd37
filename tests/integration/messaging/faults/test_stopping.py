"""SIGTERM under load, heartbeats through long work, and what a process says of its health."""

import json
import time
from collections import Counter
from collections.abc import Callable
from uuid import uuid4

import pika
import pytest
from pika.exceptions import AMQPError

from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent
from tests import factories
from tests.integration.messaging.faults import impatient, troubles
from tests.integration.messaging.faults.commands import Command, Commands
from tests.integration.messaging.faults.neighbours import Neighbour, reasons_of_dead_letters
from tests.servers import RabbitMQ
from tests.service import manage, wait_until

pytestmark = pytest.mark.usefixtures("books")

GRACE_SECONDS = 25  # from SIGTERM to the end; whoever starts and stops processes gives 30
LONG_SECONDS = 4 * impatient.HEARTBEAT_SECONDS  # RabbitMQ ends a connection that has been silent for two beats


def waiting() -> int:
    return OutboxEvent.objects.waiting().count()


def handled() -> Counter[str]:
    return Counter(InboxMessage.objects.values_list("outcome", flat=True))


def stop(command: Command) -> None:
    """SIGTERM; it ends well and in time."""
    began = time.monotonic()
    assert command.stop() == 0
    assert time.monotonic() - began < GRACE_SECONDS


# --- stopping ------------------------------------------------------------------------------------------------------


def test_a_consumer_that_is_stopped_under_load_loses_nothing_and_nothing_is_handled_twice(
    commands: Commands, neighbour: Neighbour
) -> None:
    product_id = factories.product({factories.SP: 1_000}).pk
    neighbour.send_orders(product_id, 300)
    with commands.consumer(CONSUMER_BATCH=20, INVENTORY_CRASH_POINT="orders.before_commit=sleep:0.2") as first:
        wait_until(lambda: handled()["reserved"] >= 40, "a beginning")
        stop(first)
    done = handled()["reserved"]
    assert 40 <= done < 300
    wait_until(lambda: neighbour.depth() == 300 - done, "what was handled is acknowledged, and the rest is there")
    with commands.consumer() as second:
        wait_until(lambda: handled() == {"reserved": 300}, "all handled")
        wait_until(lambda: neighbour.depth() == 0, "all acknowledged")
        stop(second)
    assert handled() == {"reserved": 300}
    assert OutboxEvent.objects.filter(type="inventory.reserved").count() == 300
    assert factories.numbers(product_id) == (700, 300, 0)
    assert reasons_of_dead_letters() == {}


def test_a_relay_that_is_stopped_under_load_has_marked_what_it_has_sent(
    commands: Commands, neighbour: Neighbour
) -> None:
    product_id = factories.product({factories.SP: 10_000}).pk
    neighbour.send_orders(product_id, 2_500)
    with commands.consumer():
        wait_until(lambda: handled() == {"reserved": 2_500}, "recorded")
    with commands.relay(INVENTORY_CRASH_POINT="relay.after_publish=sleep:0.5") as first:
        wait_until(lambda: waiting() < 2_000, "a beginning")
        stop(first)
    assert 0 < waiting() < 2_000
    with commands.relay() as second:
        wait_until(lambda: waiting() == 0, "all published")
        stop(second)
    assert Counter(neighbour.times().values()) == {1: 2_500}


@pytest.mark.parametrize("name", ["consumer", "relay"])
@pytest.mark.parametrize("trouble", [troubles.stopped, troubles.frozen])
def test_a_command_that_waits_for_rabbitmq_stops_when_told(
    rabbitmq: RabbitMQ, commands: Commands, neighbour: Neighbour, name: str, trouble: troubles.Trouble
) -> None:
    factories.hold(factories.product({factories.SP: 10}).pk)
    start: Callable[[], Command] = getattr(commands, name)
    with start() as command:
        command.wait_for("working")
        with trouble(rabbitmq):
            factories.hold(factories.product({factories.SP: 10}).pk)
            command.wait_for("waiting", "RabbitMQ")
            stop(command)


def test_a_relay_that_stands_by_stops_when_told(commands: Commands, neighbour: Neighbour) -> None:
    with commands.relay() as first:
        first.wait_for("working")
        with commands.relay() as second:
            second.wait_for("standby")
            stop(second)
        assert first.health()["state"] == "working"


# --- starting ------------------------------------------------------------------------------------------------------


def test_a_consumer_that_starts_takes_the_messages_of_each_order_in_their_sequence(
    commands: Commands, neighbour: Neighbour
) -> None:
    product_id = factories.product({factories.SP: 1_000}).pk
    neighbour.send_orders(product_id, 1)
    for order_id in (uuid4() for _ in range(20)):
        neighbour.send("order.created", order_id, (product_id, 1))
        neighbour.send("payment.confirmed", order_id)
    with commands.consumer() as consumer:
        wait_until(lambda: handled() == {"reserved": 21, "confirmed": 20}, "handled")
        assert consumer.metric('inventory_messages_total{result="delayed",type="payment.confirmed"}') == 0


# --- heartbeats ----------------------------------------------------------------------------------------------------


def test_work_that_lasts_longer_than_three_heartbeats_keeps_the_connection(
    commands: Commands, neighbour: Neighbour
) -> None:
    product_id = factories.product({factories.SP: 10}).pk
    neighbour.send_orders(product_id, 1)
    settings = {
        "DJANGO_SETTINGS_MODULE": impatient.__name__,
        "INVENTORY_CRASH_POINT": f"orders.before_commit=sleep:{LONG_SECONDS},relay.after_publish=sleep:{LONG_SECONDS}",
    }
    with commands.consumer(**settings) as consumer, commands.relay(**settings) as relay:
        wait_until(lambda: handled() == {"reserved": 1} and waiting() == 0, "handled and published")
        wait_until(lambda: neighbour.depth() == 0, "acknowledged")
        stop(consumer)
        stop(relay)
    assert "trying again" not in consumer.output + relay.output
    assert neighbour.depth() == 0
    assert list(neighbour.times().values()) == [1]


def test_control_a_connection_whose_owner_works_as_long_in_its_own_thread_is_lost(rabbitmq: RabbitMQ) -> None:
    parameters = pika.URLParameters(rabbitmq.url)
    parameters.heartbeat = impatient.HEARTBEAT_SECONDS
    owner = pika.BlockingConnection(parameters)
    channel = owner.channel()
    time.sleep(LONG_SECONDS)  # the work
    with pytest.raises(AMQPError):
        channel.queue_declare("", exclusive=True)


# --- health --------------------------------------------------------------------------------------------------------


def test_health_and_metrics_of_both_commands_at_work(commands: Commands, neighbour: Neighbour) -> None:
    product_id = factories.product({factories.SP: 10}).pk
    with commands.consumer() as consumer, commands.relay() as relay:
        for name, command in (("consumer", consumer), ("relay", relay)):
            assert command.wait_for("working") == {
                "code": 200,
                "status": "ok",
                "process": name,
                "state": "working",
                "detail": "",
            }
            for state, value in (("working", 1), ("standby", 0), ("waiting", 0)):
                assert command.metric(f'inventory_process_state{{process="{name}",state="{state}"}}') == value
        neighbour.send_orders(product_id, 3)
        wait_until(lambda: len(neighbour.hear()) == 3, "heard")
        wait_until(lambda: waiting() == 0, "marked")
        assert consumer.metric('inventory_messages_total{result="reserved",type="order.created"}') == 3
        assert relay.metric('inventory_events_published_total{type="inventory.reserved"}') == 3


def test_a_command_whose_main_thread_is_stuck_says_so_by_503(commands: Commands, neighbour: Neighbour) -> None:
    product_id = factories.product({factories.SP: 10}).pk
    neighbour.send_orders(product_id, 1)
    settings = {
        "DJANGO_SETTINGS_MODULE": impatient.__name__,
        "INVENTORY_CRASH_POINT": "orders.after_commit=sleep:10,relay.after_publish=sleep:10",
    }
    with commands.consumer(**settings) as consumer, commands.relay(**settings) as relay:
        for command in (consumer, relay):
            wait_until(command.is_stuck, "stuck")
            assert json.loads(command.ask("/health")[1])["status"] == "stuck"
        for command in (consumer, relay):
            assert command.wait_for("working", code=200)["status"] == "ok"


@pytest.mark.parametrize("name", ["consume_events", "publish_events"])
def test_a_port_that_is_taken_ends_the_command_with_one_clear_line(
    rabbitmq: RabbitMQ, commands: Commands, neighbour: Neighbour, name: str
) -> None:
    with commands.consumer() as consumer:
        consumer.wait_for("working")
        ports = dict.fromkeys(("CONSUMER_METRICS_PORT", "RELAY_METRICS_PORT"), consumer.port)
        done = manage(name, env=commands.environment(**ports))
    line = f"CommandError: Cannot listen on 127.0.0.1:{consumer.port}: Address already in use.\n"
    assert (done.returncode, done.stderr) == (1, line)
