"""RabbitMQ stopped, killed, frozen or in alarm; exchange, queue or binding missing, or of another kind (F12)."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from django.conf import settings
from pika.exceptions import UnroutableError

from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent
from inventory_project.foundation.messaging.rabbitmq import dead_letters, topology
from inventory_project.foundation.messaging.rabbitmq.connection import BrokerUnavailable
from reservations.models import Reservation
from tests import factories
from tests.integration.messaging.faults import troubles
from tests.integration.messaging.faults.commands import Commands
from tests.integration.messaging.faults.neighbours import BINDINGS, Neighbour, reasons_of_dead_letters
from tests.integration.messaging.faults.troubles import Trouble
from tests.servers import RabbitMQ
from tests.service import manage, wait_until

pytestmark = pytest.mark.usefixtures("books")

RESERVED = 'inventory_events_published_total{type="inventory.reserved"}'
UNROUTED = 'inventory_events_unrouted_total{type="inventory.reserved"}'
SPARE_FILES = 4  # that a process may have more or fewer of from one moment to the next
GRACE_SECONDS = 25  # from SIGTERM to the end; whoever starts and stops processes gives 30


def waiting() -> int:
    """Events that have not left yet."""
    return OutboxEvent.objects.waiting().count()


def wait_until_all_have_left() -> None:
    wait_until(lambda: waiting() == 0, "all events marked")


def handled() -> Counter[str]:
    return Counter(InboxMessage.objects.values_list("outcome", flat=True))


# --- away ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [troubles.stopped, troubles.killed, troubles.frozen])
def test_while_rabbitmq_is_away_events_and_messages_wait_and_afterwards_none_is_missing(
    rabbitmq: RabbitMQ, commands: Commands, neighbour: Neighbour, trouble: Trouble
) -> None:
    product_id = factories.product({factories.SP: 1_000}).pk
    slowly = {"CONSUMER_BATCH": 4, "INVENTORY_CRASH_POINT": "orders.before_commit=sleep:0.1"}
    with commands.consumer(**slowly) as consumer, commands.relay() as relay:
        consumer.wait_for("working")
        relay.wait_for("working")
        before = consumer.open_files, relay.open_files
        ordered = neighbour.send_orders(product_id, 100)
        wait_until(lambda: handled()["reserved"] >= 8, "a beginning")
        with trouble(rabbitmq):
            assert handled()["reserved"] < 80
            held = [factories.hold(product_id).order_id for _ in range(10)]
            consumer.wait_for("waiting", "RabbitMQ")
            relay.wait_for("waiting", "RabbitMQ")
            assert (consumer.health()["status"], consumer.health()["code"]) == ("degraded", 200)
            wait_until(lambda: min(each.output.count("trying again") for each in (consumer, relay)) >= 2, "tries")
            assert waiting() >= 10
        wait_until(lambda: handled() == {"reserved": 100}, "all messages handled")
        wait_until_all_have_left()
        consumer.wait_for("working")
        after = consumer.open_files, relay.open_files
    assert {event.data["order_id"] for event in neighbour.hear()} == {str(id_) for id_ in (*ordered, *held)}
    assert Reservation.objects.count() == 110
    assert reasons_of_dead_letters() == {}
    assert all(then <= now + SPARE_FILES for then, now in zip(after, before, strict=True))


def test_control_without_a_rabbitmq_that_keeps_them_messages_are_gone(
    rabbitmq: RabbitMQ, commands: Commands, neighbour: Neighbour
) -> None:
    product_id = factories.product({factories.SP: 10}).pk
    with neighbour.channel() as channel:
        channel.queue_delete(topology.QUEUE)
        channel.queue_declare(topology.QUEUE, durable=False)
        for exchange, routing_key in BINDINGS:
            channel.queue_bind(topology.QUEUE, exchange, routing_key)
    neighbour.send_orders(product_id, 3)
    with troubles.killed(rabbitmq):
        pass
    with commands.consumer() as consumer:
        consumer.wait_for("working")
        assert neighbour.depth() == 0
    assert handled() == {}


def test_a_node_that_cannot_make_queues_is_waited_for(
    rabbitmq: RabbitMQ, commands: Commands, neighbour: Neighbour
) -> None:
    product_id = factories.product({factories.SP: 10}).pk
    with commands.consumer() as consumer:
        consumer.wait_for("working")
        with troubles.unable_to_make_queues(rabbitmq):
            with neighbour.channel() as channel:
                channel.queue_delete(topology.QUEUE)
            consumer.wait_for("waiting", "INTERNAL_ERROR")
        with troubles.stopped(rabbitmq):
            pass
        consumer.wait_for("working")
        neighbour.send_orders(product_id, 1)
        wait_until(lambda: handled() == {"reserved": 1}, "handled")


# --- in alarm ------------------------------------------------------------------------------------------------------


def test_in_alarm_events_wait_on_one_connection_and_are_then_published_once(
    rabbitmq: RabbitMQ, commands: Commands, neighbour: Neighbour
) -> None:
    with commands.relay() as relay:
        relay.wait_for("working")
        with troubles.in_alarm(rabbitmq):
            product_id = factories.product({factories.SP: 1_000}).pk
            for _ in range(20):
                factories.hold(product_id)
            since = time.monotonic()
            relay.wait_for("waiting", "RabbitMQ is in alarm and takes nothing: low on disk")
            # Longer than a confirm may take: whoever gave up would send everything once more on another connection.
            wait_until(lambda: time.monotonic() > since + 12, "later than a confirm may come")
            assert relay.health()["detail"] == "RabbitMQ is in alarm and takes nothing: low on disk"
            assert waiting() >= 19
            assert troubles.connections(rabbitmq) == ["blocked"]
        wait_until_all_have_left()
        relay.wait_for("working")
    assert Counter(neighbour.times().values()) == {1: 20}


def test_in_alarm_a_consumer_goes_on_until_one_message_must_be_put_off_and_then_it_waits(
    rabbitmq: RabbitMQ, commands: Commands, neighbour: Neighbour
) -> None:
    product_id, early = factories.product({factories.SP: 1_000}).pk, uuid4()
    neighbour.send_orders(product_id, 10)
    neighbour.send("payment.confirmed", early, message_id="paid")
    neighbour.send_orders(product_id, 10)
    with troubles.in_alarm(rabbitmq), commands.consumer(CONSUMER_BATCH=1) as consumer:
        consumer.wait_for("waiting", "RabbitMQ is in alarm")
        assert handled() == {"reserved": 10}
        since = time.monotonic()
        wait_until(lambda: time.monotonic() > since + 12, "later than a confirm may come")
        assert consumer.health()["state"] == "waiting"
        troubles.ctl(rabbitmq, "set_disk_free_limit", "50MB")
        neighbour.send("order.created", early, (product_id, 1))
        wait_until(lambda: handled() == {"reserved": 21, "confirmed": 1}, "all messages handled")
        assert "trying again" not in consumer.output
    assert reasons_of_dead_letters() == {}


def test_in_alarm_both_commands_stop_when_told(rabbitmq: RabbitMQ, commands: Commands, neighbour: Neighbour) -> None:
    factories.hold(factories.product({factories.SP: 5}).pk)
    neighbour.send("payment.confirmed", uuid4())
    with troubles.in_alarm(rabbitmq), commands.relay() as relay, commands.consumer() as consumer:
        for command in (relay, consumer):
            command.wait_for("waiting", "RabbitMQ is in alarm")
        began = time.monotonic()
        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(lambda command: command.stop(), (relay, consumer))) == [0, 0]
        assert time.monotonic() - began < GRACE_SECONDS


def test_in_alarm_and_frozen_a_replay_of_dead_letters_says_so_and_keeps_nobody(
    rabbitmq: RabbitMQ, neighbour: Neighbour
) -> None:
    with neighbour.channel() as channel:
        channel.basic_publish("", topology.DEAD_QUEUE, b"{}")
    for trouble in (troubles.in_alarm, troubles.frozen):
        with trouble(rabbitmq):
            began = time.monotonic()
            with pytest.raises(BrokerUnavailable):
                dead_letters.replay(limit=10, actor=factories.ACTOR)
            assert time.monotonic() - began < GRACE_SECONDS
    assert dead_letters.look(limit=10)[0] == 1


# --- something is missing ------------------------------------------------------------------------------------------


def test_an_event_that_no_queue_is_bound_for_is_noticed_holds_up_nobody_and_can_be_sent_again(
    commands: Commands, neighbour: Neighbour
) -> None:
    with neighbour.channel() as channel:
        channel.queue_unbind("listener", settings.EVENTS_EXCHANGE, "#")
    neighbour.listen("inventory.back_in_stock")
    with commands.relay() as relay:
        relay.wait_for("working")
        product_id = factories.product({factories.SP: 5}).pk
        factories.hold(product_id)
        wait_until_all_have_left()
        assert list(OutboxEvent.objects.unrouted().values_list("type", flat=True)) == ["inventory.reserved"]
        assert relay.metric(UNROUTED) == 1
        assert relay.metric(RESERVED) == 0
        assert "no queue is bound to inventory.events for inventory.reserved, so nobody receives" in relay.output
        assert neighbour.hear() == []

        neighbour.listen("inventory.reserved")
        again = manage("publish_events", "--again-unrouted", env=commands.environment())
        assert (again.returncode, again.stdout) == (0, "Events that will be sent again: 1.\n")
        wait_until(lambda: neighbour.heard_types() == ["inventory.reserved"], "heard")
        wait_until_all_have_left()
        assert relay.metric(RESERVED) == 1
    assert not OutboxEvent.objects.unrouted().exists()


def test_an_exchange_that_was_deleted_is_made_anew_and_what_it_lost_is_noticed(
    commands: Commands, neighbour: Neighbour
) -> None:
    product_id = factories.product({factories.SP: 1_000}).pk
    with commands.relay() as relay:
        relay.wait_for("working")
        wait_until_all_have_left()
        with neighbour.channel() as channel:
            channel.exchange_delete(settings.EVENTS_EXCHANGE)
        factories.hold(product_id)
        wait_until_all_have_left()
        assert "NOT_FOUND - no exchange 'inventory.events'" in relay.output
        assert OutboxEvent.objects.unrouted().count() == 1  # the bindings went with the exchange
        neighbour.listen()
        factories.hold(product_id)
        wait_until(lambda: len(neighbour.hear()) == 2, "the next one is heard, and then the other one")
        wait_until_all_have_left()


def test_a_queue_of_ours_that_was_deleted_is_made_anew_and_bound(commands: Commands, neighbour: Neighbour) -> None:
    product_id, early = factories.product({factories.SP: 1_000}).pk, uuid4()
    with commands.consumer() as consumer:
        consumer.wait_for("working")
        with neighbour.channel() as channel:
            channel.queue_delete(topology.QUEUE)
        wait_until(lambda: "the queue was deleted" in consumer.output, "noticed")
        wait_until(lambda: topology.QUEUE in topology.depths(), "there again")
        wait_until(lambda: neighbour.send_orders(product_id, 1) != [], "bound")
        wait_until(lambda: handled() == {"reserved": 1}, "handled")

        with neighbour.channel() as channel:
            channel.queue_delete(topology.DELAY_QUEUE)
        neighbour.send("payment.confirmed", early)
        wait_until(lambda: "one of our queues is missing" in consumer.output, "noticed")
        wait_until(lambda: topology.DELAY_QUEUE in topology.depths(), "there again")
        neighbour.send("order.created", early, (product_id, 1))
        wait_until(lambda: handled() == {"reserved": 2, "confirmed": 1}, "the early one is handled")


def test_a_binding_of_ours_that_was_taken_away_is_noticed_by_the_sender_and_is_there_at_the_next_start(
    commands: Commands, neighbour: Neighbour
) -> None:
    product_id = factories.product({factories.SP: 1_000}).pk
    with neighbour.channel() as channel:
        channel.queue_unbind(topology.QUEUE, settings.ORDER_EVENTS_EXCHANGE, "order.created")
    with pytest.raises(UnroutableError):
        neighbour.send_orders(product_id, 1)
    with commands.consumer() as consumer:
        consumer.wait_for("working")
        neighbour.send_orders(product_id, 1)
        wait_until(lambda: handled() == {"reserved": 1}, "handled")


# --- something else stands there -----------------------------------------------------------------------------------


def complaints(output: str) -> list[str]:
    """All lines that are more than information; each names what stands there."""
    found = [line for line in output.splitlines() if '"level": "info"' not in line]
    assert all("What stands on RabbitMQ is not what this service declares" in line for line in found)
    return found


def test_a_queue_of_another_kind_is_named_in_one_line_and_waited_for_until_it_is_gone(
    commands: Commands, neighbour: Neighbour
) -> None:
    product_id = factories.product({factories.SP: 1_000}).pk
    with neighbour.channel() as channel:
        channel.queue_delete(topology.QUEUE)
        channel.queue_declare(topology.QUEUE, durable=True)
    with commands.consumer() as consumer:
        said = consumer.wait_for("waiting", "What stands on RabbitMQ is not what this service declares")
        assert (said["status"], said["code"]) == ("degraded", 200)
        assert "for queue 'inventory.orders' in vhost" in said["detail"]
        wait_until(lambda: len(complaints(consumer.output)) >= 2, "it keeps trying")
        with neighbour.channel() as channel:
            channel.queue_delete(topology.QUEUE)
        consumer.wait_for("working")
        neighbour.send_orders(product_id, 1)
        wait_until(lambda: handled() == {"reserved": 1}, "handled")


def test_an_exchange_of_another_kind_is_named_in_one_line_and_waited_for_until_it_is_gone(
    commands: Commands, neighbour: Neighbour
) -> None:
    with neighbour.channel() as channel:
        channel.exchange_delete(settings.EVENTS_EXCHANGE)
        channel.exchange_declare(settings.EVENTS_EXCHANGE, "direct", durable=True)
    factories.hold(factories.product({factories.SP: 1_000}).pk)
    with commands.relay() as relay:
        relay.wait_for("waiting", "inequivalent arg 'type' for exchange 'inventory.events'")
        wait_until(lambda: len(complaints(relay.output)) >= 2, "it keeps trying")
        with neighbour.channel() as channel:
            channel.exchange_delete(settings.EVENTS_EXCHANGE)
        neighbour.listen()
        wait_until(lambda: neighbour.heard_types() == ["inventory.reserved"], "heard")
