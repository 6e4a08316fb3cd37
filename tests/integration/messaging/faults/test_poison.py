"""Messages that nobody can handle (F14): each ends as a dead letter with its reason, and what is behind it moves on."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.db import connection

from inventory_project.foundation.messaging.models import InboxMessage
from inventory_project.foundation.messaging.rabbitmq import dead_letters, topology
from inventory_project.foundation.messaging.rabbitmq.messages import Delivery
from reservations.models import Reservation
from tests import amqp, factories
from tests.integration.messaging.faults import mortal
from tests.integration.messaging.faults.commands import Commands
from tests.integration.messaging.faults.neighbours import Neighbour, reasons_of_dead_letters
from tests.service import wait_until

pytestmark = pytest.mark.usefixtures("books")

GARBAGE = b"{"
NOT_JSON = "The body is not JSON: Expecting property name enclosed in double quotes at line 1, column 2."
LARGE = 16 * 2**20
UNKNOWN = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.exploded", "data": {}}

# By its message id each poison: the body, the headers, and what its reason begins with.
POISON: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "bytes": (b"\xff\xfe\x00\x01", {}, "The body is not UTF-8: byte 0 cannot be read."),
    "empty": (b"", {}, "order_id: "),
    "large": (b"x" * LARGE, {}, f"The body has {LARGE} bytes; 262144 are the most."),
    "unknown type": (json.dumps(UNKNOWN).encode(), {}, "There is no handler for messages of type order.exploded."),
    "deep nesting": (b"[" * 20_000, {}, "The body is nested deeper than 32 levels, at character 32."),
    "garbage": (GARBAGE, {}, NOT_JSON),
    # The broker would put what is sent on into these queues too, again and again.
    "copies": (GARBAGE, {"CC": [topology.QUEUE, topology.DEAD_QUEUE], "BCC": [topology.QUEUE]}, NOT_JSON),
    "forged headers": (
        GARBAGE,
        {"x-death": [{"routing-keys": 5, "exchange": 7}], "x-tries": "many", "x-reason": ["none"]},
        NOT_JSON,
    ),
    "nested headers": (GARBAGE, {"x-death": [[], 5, {"routing-keys": [{}]}], "": {"": [[[]]]}}, NOT_JSON),
}


def outcomes() -> Counter[str]:
    return Counter(InboxMessage.objects.values_list("outcome", flat=True))


def test_what_nobody_can_read_is_dead_at_once_with_its_reason_and_what_is_behind_it_is_handled(
    commands: Commands, neighbour: Neighbour
) -> None:
    product_id = factories.product({factories.SP: 100}).pk
    for name, (body, headers, _) in POISON.items():
        neighbour.send_bytes("order.created", body, message_id=name, headers=headers)
    neighbour.send_orders(product_id, 10)
    with commands.consumer() as consumer:
        wait_until(lambda: outcomes() == {"reserved": 10}, "handled")
        wait_until(lambda: neighbour.depth() == 0, "empty")
        assert consumer.stop() == 0
    assert neighbour.depth() == 0
    assert neighbour.depth(topology.DEAD_QUEUE) == len(POISON)
    reasons = reasons_of_dead_letters()
    assert reasons.keys() == POISON.keys()
    for name, (_, _, reason) in POISON.items():
        assert str(reasons[name]).startswith(reason)


# --- a handler that fails ------------------------------------------------------------------------------------------


@contextmanager
def a_database_that_fails_for(order_id: UUID) -> Iterator[None]:
    """Whoever notes a message of this order divides by zero: a defect that no waiting mends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF NEW.order_id = '{order_id}' THEN PERFORM 1 / 0; END IF; RETURN NEW; END $$"
        )
        cursor.execute("CREATE TRIGGER fail BEFORE INSERT ON inbox_message FOR EACH ROW EXECUTE FUNCTION fail()")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION fail CASCADE")


def test_a_message_whose_handler_fails_three_times_is_dead_and_its_neighbours_are_handled(
    commands: Commands, neighbour: Neighbour
) -> None:
    product_id, order_id = factories.product({factories.SP: 100}).pk, uuid4()
    neighbour.send_orders(product_id, 10)
    neighbour.send("order.created", order_id, (product_id, 1), message_id="fails")
    neighbour.send_orders(product_id, 10)
    with a_database_that_fails_for(order_id), commands.consumer() as consumer:
        wait_until(lambda: outcomes() == {"reserved": 20}, "neighbours handled")
        wait_until(lambda: neighbour.depth(topology.DEAD_QUEUE) == 1, "dead")
        assert consumer.stop() == 0
        consumer.log.unlink()  # a stack trace for each try is what whoever mends the defect wants
    assert reasons_of_dead_letters() == {"fails": reasons_of_dead_letters()["fails"]}
    assert reasons_of_dead_letters()["fails"].startswith("The handler failed 3 times: DataError: division by zero")
    assert not Reservation.objects.filter(order_id=order_id).exists()

    assert dead_letters.replay(limit=10, actor=factories.ACTOR)[0] == 1
    with commands.consumer():
        wait_until(lambda: outcomes() == {"reserved": 21}, "handled once the defect is mended")


# --- a message that kills ------------------------------------------------------------------------------------------


def test_a_message_that_kills_its_consumers_is_dead_after_the_limit_and_none_of_its_neighbours_is(
    commands: Commands, neighbour: Neighbour
) -> None:
    product_id = factories.product({factories.SP: 100}).pk
    neighbour.send_orders(product_id, 10)
    neighbour.send_bytes("order.created", mortal.FATAL, message_id="kills")
    neighbour.send_orders(product_id, 10)
    deaths = 0
    while neighbour.depth(topology.DEAD_QUEUE) == 0:
        with commands.consumer(DJANGO_SETTINGS_MODULE=mortal.__name__) as consumer:
            wait_until(
                lambda: consumer.process.poll() is not None or neighbour.depth(topology.DEAD_QUEUE) == 1,
                "killed, or nothing kills any more",
            )
            deaths += consumer.stop() == -signal.SIGKILL  # not one that began while the message was on its way
            wait_until(lambda: neighbour.depth() > 0 or neighbour.depth(topology.DEAD_QUEUE) == 1, "given back")
    assert deaths == settings.MESSAGE_MAX_DELIVERIES + 1  # RabbitMQ counts how often it has come back
    with commands.consumer():
        wait_until(lambda: outcomes() == {"reserved": 20}, "all neighbours handled")
    assert reasons_of_dead_letters() == {"kills": "delivery_limit"}


def test_the_reason_of_a_dead_letter_is_that_of_its_last_death() -> None:
    deaths = [{"reason": "delivery_limit", "routing-keys": ["order.created"]}, {"reason": "expired"}]
    letter = Delivery(
        tag=1,
        exchange="order.events",
        routing_key="order.created",
        body=b"",
        message_id=None,
        content_type=None,
        correlation_id=None,
        headers={"x-death": deaths},
    )
    assert letter.reason == "delivery_limit"


def test_a_message_may_come_back_twenty_times_outside_of_these_tests() -> None:
    from inventory_project import settings as own

    assert own.MESSAGE_MAX_DELIVERIES == 20


# --- headers that cannot be read -----------------------------------------------------------------------------------

ODD_HEADERS = {
    **{name: [amqp.header("odd", value)] for name, value in amqp.UNREADABLE.items()},
    "as long as a frame": [amqp.header("odd", amqp.text(b"x" * 130_950))],
}


def test_messages_with_headers_that_cannot_be_read_are_dead_at_once_and_end_no_connection(
    commands: Commands, neighbour: Neighbour
) -> None:
    product_id = factories.product({factories.SP: 100}).pk
    with neighbour.channel() as channel:
        channel.confirm_delivery()
        for number in range(2):
            for name, headers in ODD_HEADERS.items():
                properties = amqp.RawHeaders(*headers, message_id=f"{name}, {number}", delivery_mode=2)
                channel.basic_publish("order.events", "order.created", b"{}", properties, mandatory=True)
    neighbour.send_orders(product_id, 1)

    with commands.consumer() as consumer:
        wait_until(lambda: outcomes() == {"reserved": 1}, "the order behind them is handled")
        wait_until(lambda: neighbour.depth(topology.DEAD_QUEUE) == 2 * len(ODD_HEADERS), "all of them are dead")
        assert consumer.stop() == 0

    assert consumer.output.count("trying again") == 0
    too_large = "The properties have 130988 bytes; 65536 are the most."
    assert reasons_of_dead_letters() == {
        f"{name}, {number}": "The header 'odd' cannot be read." if name in amqp.UNREADABLE else too_large
        for name in ODD_HEADERS
        for number in range(2)
    }
