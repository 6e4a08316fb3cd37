"""Consumers that are killed in the middle of what they do (F3)."""

import signal
from uuid import UUID, uuid4

import pytest

from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent
from inventory_project.foundation.messaging.rabbitmq import topology
from reservations import lifecycle
from reservations.models import Reservation
from reservations.requests import Cancel
from stock.models import StockMovement
from tests import factories
from tests.integration.messaging.faults import forgetful
from tests.integration.messaging.faults.commands import Commands
from tests.integration.messaging.faults.neighbours import Neighbour
from tests.integration.races import guards
from tests.service import wait_until

HANDLED_ONCE = (InboxMessage, "inbox_message_is_handled_once")


def consume_until_killed(commands: Commands, neighbour: Neighbour, point: str) -> None:
    """Start a consumer that dies at the crash point; what it had in hand is in the queue again afterwards."""
    with commands.consumer(INVENTORY_CRASH_POINT=f"{point}=kill") as consumer:
        assert consumer.wait() == -signal.SIGKILL
    wait_until(lambda: neighbour.depth() == 1, "back in the queue")


def consume_all(commands: Commands, neighbour: Neighbour, **values: object) -> None:
    """Have a sound consumer handle everything there is, what was put off included."""
    with commands.consumer(**values) as consumer:
        consumer.wait_for("working")

        def is_done() -> bool:
            return neighbour.depth() == neighbour.depth(topology.DELAY_QUEUE) == 0

        wait_until(is_done, "empty queues")
        assert consumer.stop() == 0
    wait_until(is_done, "still empty")


def outcomes() -> dict[str, str]:
    return dict(InboxMessage.objects.values_list("message_id", "outcome"))


def events() -> list[str]:
    """The types of the events about orders, as recorded."""
    about_orders = OutboxEvent.objects.filter(data__has_key="order_id").order_by("id")
    return list(about_orders.values_list("type", flat=True))


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize(
    ("point", "rows"), [("orders.before_commit", 0), ("orders.after_commit", 1), ("consume.before_ack", 1)]
)
def test_what_a_killed_consumer_had_in_hand_comes_again_and_has_one_effect(
    commands: Commands, neighbour: Neighbour, point: str, rows: int
) -> None:
    product = factories.product({factories.SP: 5})
    neighbour.send("order.created", uuid4(), (product.pk, 2), message_id="created")
    consume_until_killed(commands, neighbour, point)
    assert (Reservation.objects.count(), InboxMessage.objects.count()) == (rows, rows)

    consume_all(commands, neighbour)
    assert outcomes() == {"created": "reserved"}
    assert events() == ["inventory.reserved"]
    assert factories.numbers(product.pk) == (3, 2, 0)


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize("point", ["orders.before_commit", "orders.after_commit", "consume.before_ack"])
def test_a_part_that_was_called_off_before_the_death_is_not_called_off_once_more(
    commands: Commands, neighbour: Neighbour, point: str
) -> None:
    product = factories.product({factories.SP: 5})
    held = factories.hold(product.pk, 4)
    neighbour.send("order.cancelled", held.order_id, (product.pk, 1), message_id="one less")
    consume_until_killed(commands, neighbour, point)
    consume_all(commands, neighbour)
    assert outcomes() == {"one less": "released"}
    assert factories.numbers(product.pk) == (2, 3, 0)


def hold_and_cancel_between_death_and_redelivery(commands: Commands, neighbour: Neighbour, product_id: UUID) -> None:
    neighbour.send("order.created", uuid4(), (product_id, 2), message_id="created")
    consume_until_killed(commands, neighbour, "orders.after_commit")
    held = Reservation.objects.get()
    lifecycle.one(lifecycle.cancel_many, Cancel(reservation_id=held.pk, actor=factories.ACTOR))


@pytest.mark.usefixtures("books")
def test_an_order_that_was_cancelled_before_its_message_came_again_stays_cancelled(
    commands: Commands, neighbour: Neighbour
) -> None:
    product = factories.product({factories.SP: 5})
    hold_and_cancel_between_death_and_redelivery(commands, neighbour, product.pk)
    consume_all(commands, neighbour)
    assert Reservation.objects.get().status == "CANCELLED"
    assert factories.numbers(product.pk) == (5, 0, 0)


def test_control_without_the_inboxs_memory_a_message_that_comes_again_holds_again(
    commands: Commands, neighbour: Neighbour, transactional_db: None
) -> None:
    with guards.without_constraints(HANDLED_ONCE):
        product = factories.product({factories.SP: 5})
        hold_and_cancel_between_death_and_redelivery(commands, neighbour, product.pk)
        consume_all(commands, neighbour, DJANGO_SETTINGS_MODULE=forgetful.__name__)
        assert sorted(Reservation.objects.values_list("status", flat=True)) == ["ACTIVE", "CANCELLED"]
        assert factories.numbers(product.pk) == (3, 2, 0)
        assert InboxMessage.objects.filter(message_id="created").count() == 2
        InboxMessage.objects.all().delete()


@pytest.mark.usefixtures("books")
def test_a_message_that_was_put_off_before_the_death_comes_twice_and_has_one_effect(
    commands: Commands, neighbour: Neighbour
) -> None:
    product, order_id = factories.product({factories.SP: 5}), uuid4()
    neighbour.send("payment.confirmed", order_id, message_id="paid")
    consume_until_killed(commands, neighbour, "consume.before_ack_of_sent_on")
    wait_until(lambda: neighbour.depth() == 2, "in the queue twice, once the delay is over")
    assert InboxMessage.objects.count() == 0

    lifecycle.one(lifecycle.reserve_many, factories.reserve_request(product.pk, 2, order_id=order_id))
    consume_all(commands, neighbour)
    assert outcomes() == {"paid": "confirmed"}
    assert events() == ["inventory.reserved", "inventory.confirmed"]
    assert list(StockMovement.objects.filter(kind="CONFIRM").values_list("reserved_delta", flat=True)) == [-2]
    assert neighbour.depth(topology.DEAD_QUEUE) == 0
