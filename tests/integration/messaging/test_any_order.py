"""F13: messages in every order, several times, at two consumers that are killed: the units come out the same."""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from secrets import randbelow
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.db import connection

from inventory_project.foundation.messaging import inbox
from inventory_project.foundation.messaging.inbox import Known
from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent
from inventory_project.foundation.messaging.rabbitmq import topology
from reservations.models import Reservation
from stock.models import StockMovement
from tests import factories
from tests.factories import SP
from tests.integration.messaging import crowds
from tests.integration.messaging.crowds import PART, Said, in_every_order, interleaved, said
from tests.integration.messaging.programs import command, wait_for_consumers
from tests.integration.messaging.shops import Shop, order_of
from tests.integration.messaging.table import Order, delivery, outcome_of
from tests.processes import Guard, Worker, wait_until
from tests.servers import RabbitMQ
from tests.service import Process

ALL = ("order.created", "payment.confirmed", "payment.failed", "order.cancelled")
PAID = ("order.created", "payment.confirmed")
PAID_AT_LAST = ("order.created", PART, "payment.failed", "payment.confirmed")
# A moment at each point where a death hurts, so that most of the killed are caught at one.
DANGEROUS = ("orders.before_commit", "orders.after_commit", "consume.before_ack", "consume.before_ack_of_sent_on")
POINTS = ",".join(f"{point}=sleep:0.02" for point in DANGEROUS)
KILLS = 6
SECONDS = 90


class Consumers:
    """Two processes, each of which is replaced when it is killed."""

    def __init__(self, shop: Shop, url: str, folder: Path, stack: ExitStack) -> None:
        self._shop, self._url, self._folder, self._stack = shop, url, folder, stack
        self.all = [self._new(), self._new()]

    def _new(self) -> Process:
        log = self._folder / "consumers.log"
        program = command("consume_events", url=self._url, log=log, CONSUMER_BATCH=32, INVENTORY_CRASH_POINT=POINTS)
        return self._stack.enter_context(program)

    def kill_one(self, random: Random) -> None:
        """While both are at what was said last."""
        wait_for_consumers(self._shop, 2)
        handled = InboxMessage.objects.count() + random.randint(20, 80)
        wait_until(lambda: InboxMessage.objects.count() > handled, seconds=SECONDS)
        victim = random.randrange(2)
        assert self.all[victim].stop(signal.SIGKILL) == -signal.SIGKILL
        self.all[victim] = self._new()

    def finish(self) -> None:
        """End once everything is handled, repeats too; what a consumer has ahead when it ends, another one takes."""
        while True:
            wait_until(self._is_nothing_waiting, seconds=SECONDS)
            assert [consumer.stop() for consumer in self.all] == [0, 0]
            wait_for_consumers(self._shop, 0)
            if self._is_nothing_waiting():
                break
            self.all = [self._new(), self._new()]
            wait_for_consumers(self._shop, 2)

    def _is_nothing_waiting(self) -> bool:
        return self._shop.number_in(topology.QUEUE) == self._shop.number_in(topology.DELAY_QUEUE) == 0


@pytest.mark.timeout(240)  # 50 s where nobody else is busy
@pytest.mark.usefixtures("books")
def test_whatever_the_order_of_arrival_the_units_are_right(shop: Shop, rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    random = Random(20261123)  # noqa: S311  # no secret
    scarce = [factories.product({SP: 20}).pk for _ in range(3)]
    sold, in_part = [factories.product().pk for _ in range(2)], [factories.product().pk for _ in range(2)]
    called_off = in_every_order(ALL, scarce, times=16, last_tries=0.3, random=random)
    paid = in_every_order(PAID, sold, times=60, last_tries=0, random=random)
    paid_at_last = in_every_order(PAID_AT_LAST, in_part, times=4, last_tries=0, random=random, least=2)
    wanted = units_of([*paid, *paid_at_last])
    for product_id in (*sold, *in_part):
        factories.receive(product_id, SP, wanted[product_id])  # just enough
    nobodys = [[said(type_, uuid4(), {}, is_last_try=True)] for type_ in ALL[1:] for _ in range(3)]
    messages = list(interleaved([*called_off, *paid, *paid_at_last, *nobodys], random))
    dead = {message.id for [message] in nobodys if message.type != "order.cancelled"}
    expected = {message.id for message in messages} - dead
    assert (len(called_off), len(paid), len(paid_at_last), len(dead)) == (384, 120, 96, 6)

    with (
        command("publish_events", url=rabbitmq.url, log=tmp_path / "relay.log") as relay,
        ExitStack() as stack,
    ):
        consumers = Consumers(shop, rabbitmq.url, tmp_path, stack)
        size = len(messages) // KILLS + 1
        for begin in range(0, len(messages), size):
            for message in messages[begin : begin + size]:
                message.send(shop)
            consumers.kill_one(random)
        wait_until(lambda: handled() >= expected, seconds=SECONDS)
        wait_until(lambda: shop.dead_letters().keys() >= dead, seconds=SECONDS)
        consumers.finish()
        wait_until(lambda: not OutboxEvent.objects.filter(published_at=None).exists(), seconds=SECONDS)
        assert relay.stop() == 0

    assert Counter(InboxMessage.objects.values_list("message_id", flat=True)) == Counter(expected)
    assert shop.dead_letters().keys() == dead
    each_order_went_a_way_of_the_table()
    everything_was_heard(shop)
    assert {factories.numbers(product_id) for product_id in scarce} == {(20, 0, 0)}
    assert not Reservation.objects.filter(order_id__in=orders_of(called_off), is_live=True).exists()
    assert {factories.numbers(product_id) for product_id in sold} == {(0, 0, 0)}
    each_was_sold_once(paid)
    cancelled = parts_of(paid_at_last)
    assert {product_id: factories.numbers(product_id) for product_id in in_part} == {
        product_id: (cancelled[product_id], 0, 0) for product_id in in_part
    }


def orders_of(orders: list[list[Said]]) -> set[UUID]:
    return {messages[0].order_id for messages in orders}


def units_of(orders: list[list[Said]]) -> Counter[UUID]:
    """What these orders ask for."""
    units: Counter[UUID] = Counter()
    for messages in orders:
        units.update(next(message.items for message in messages if message.items and message.type == "order.created"))
    return units


def parts_of(orders: list[list[Said]]) -> Counter[UUID]:
    """What is cancelled of these orders."""
    units: Counter[UUID] = Counter()
    for messages in orders:
        units.update(next(message.items for message in messages if message.items and message.name == PART))
    return units


def handled() -> set[str]:
    """The ids of the messages in the inbox."""
    return set(InboxMessage.objects.values_list("message_id", flat=True))


def each_order_went_a_way_of_the_table() -> None:
    """From message to message, with these events and to this status; and they went many ways."""
    ways: Counter[tuple[str, ...]] = Counter()
    for history in crowds.histories().values():
        assert crowds.by_the_table(history.handled) == (history.published, history.status), history
        ways[tuple(message[1] for message in history.handled)] += 1
    assert len(ways) > 10, ways


def everything_was_heard(shop: Shop) -> None:
    recorded = {str(event_id) for event_id in OutboxEvent.objects.values_list("event_id", flat=True)}
    assert {event["id"] for event in shop.heard()} == recorded


def each_was_sold_once(paid: list[list[Said]]) -> None:
    orders = Reservation.objects.filter(order_id__in=orders_of(paid))
    assert list(orders.values_list("status", "is_live").distinct()) == [("CONFIRMED", True)]
    assert orders.count() == len(paid)
    lines = set(orders.values_list("items__id", flat=True))
    kinds = Counter(StockMovement.objects.filter(line_id__in=lines).values_list("kind", flat=True))
    assert kinds == {"RESERVE": len(lines), "CONFIRM": len(lines)}


# --- why: the lock of the order ------------------------------------------------------------------------------------


@contextmanager
def without_the_orders_lock() -> Iterator[None]:
    """Two consumers with messages of one order do not wait for each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inbox, "_lock_key", lambda _order_id: randbelow(2**31))
        yield


def cancel_at_last_while_it_is_created(
    order: Order, *, seconds: float, within: tuple[Guard, ...] = ()
) -> tuple[str, str]:
    """What becomes of an order.cancelled on its last try, and of the order.created that comes before its commit.

    `seconds` lie between the decision and the commit of the first.
    """
    cancelled = delivery("order.cancelled", order_of(order.id), tries=settings.MESSAGE_MAX_TRIES)
    with Worker(INVENTORY_CRASH_POINT=f"orders.before_commit=sleep:{seconds}") as worker:
        worker.begin(partial(outcome_of, cancelled), within=within)
        wait_until(has_somebody_looked)
        with ExitStack() as stack:
            for guard in within:
                stack.enter_context(guard())
            created = order.tell("order.created", order.content)
        [outcome] = worker.answers()
    return outcome, created


def has_somebody_looked() -> bool:
    """Whether another session has decided and sleeps; what it writes is sent with the COMMIT."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND state = 'idle in transaction' AND clock_timestamp() - state_change > interval '100 ms'"
        )
        return cursor.fetchone() is not None


@pytest.mark.usefixtures("books")
def test_an_order_that_is_called_off_in_the_same_moment_is_not_held() -> None:
    order = Order()
    assert cancel_at_last_while_it_is_created(order, seconds=1) == ("cancelled", "rejected")
    assert [factories.numbers(product_id) for product_id in order.products] == [(10, 0, 0), (10, 0, 0)]


@pytest.mark.usefixtures("books")
def test_control_without_the_orders_lock_a_dead_order_keeps_its_units() -> None:
    order = Order()
    within = (without_the_orders_lock,)
    assert cancel_at_last_while_it_is_created(order, seconds=3, within=within) == ("cancelled", "reserved")
    assert [factories.numbers(product_id) for product_id in order.products] == [(7, 3, 0), (8, 2, 0)]


# --- why: the inbox ------------------------------------------------------------------------------------------------


@contextmanager
def without_the_inbox() -> Iterator[None]:
    """Nobody remembers what was handled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inbox, "lock_and_read", lambda _received: Known())
        patch.setattr(inbox, "record", lambda _handled: None)
        yield


def created_failed_and_created_again(order: Order) -> list[str]:
    """What becomes of an order.created, of the failed payment, and of the same order.created that comes again."""
    created = delivery("order.created", order_of(order.id, order.content))
    failed = delivery("payment.failed", order_of(order.id))
    return [outcome_of(message) for message in (created, failed, created)]


@pytest.mark.usefixtures("books")
def test_a_message_that_comes_again_does_nothing_though_it_could() -> None:
    order = Order()
    assert created_failed_and_created_again(order) == ["reserved", "released", "duplicate"]
    assert factories.numbers(order.first) == (10, 0, 0)


@pytest.mark.usefixtures("books")
def test_control_without_the_inbox_it_holds_units_for_a_dead_order() -> None:
    order = Order()
    with without_the_inbox():
        assert created_failed_and_created_again(order) == ["reserved", "released", "reserved"]
    assert factories.numbers(order.first) == (7, 3, 0)
