"""Events over RabbitMQ: how fast orders are consumed and events published, and how long an event is on its way.

The consumer and the relay are processes of their own, as in production, and a queue listens to all events.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from statistics import quantiles
from threading import Event as Flag
from threading import Thread
from uuid import uuid4

import orjson
import pika
from django.conf import settings
from django.db import connection
from pika.adapters.blocking_connection import BlockingChannel
from tqdm import tqdm

from benchmarks import measure
from benchmarks.measure import Range
from benchmarks.scene import Scene
from inventory_project.foundation import database
from inventory_project.foundation.messaging import consumer, relay
from inventory_project.foundation.messaging.heartbeat import Heartbeat
from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent
from inventory_project.foundation.messaging.rabbitmq import topology
from inventory_project.foundation.messaging.rabbitmq.messages import Publication
from inventory_project.foundation.messaging.rabbitmq.session import Session
from reservations import lifecycle
from tests.service import MANAGE

LISTENER = "benchmark.events"
CHUNK = 1_000
CONFIRM_SECONDS = 30
PATIENCE_SECONDS = 300
LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Rates in messages per second; `times_one_by_one` is of turns in the same rounds."""

    messages: int
    consumed: Range
    consumed_one_by_one: Range
    times_one_by_one: Range
    published: Range
    rest_per_second: float
    rest_events: int
    delay_p50_ms: float
    delay_p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One round."""

    consumed: float
    consumed_one_by_one: float
    published: float


def run(scene: Scene, *, rounds: int, messages: int, rest_seconds: float, rest_per_second: float) -> Events:
    """Measure the rates in turns, then the delay at a rest load."""
    with listener() as purge:
        drain()
        turns = [_turn(scene, messages) for _ in tqdm(range(rounds), desc="Events", unit="round", disable=None)]
        with connection.cursor() as cursor:
            cursor.execute("CHECKPOINT")  # at rest the disk is not at work on what was written before
        purge()  # nor the listener on what came before
        delays = _delays(scene, seconds=rest_seconds, per_second=rest_per_second)
    cuts = quantiles(delays, n=100, method="inclusive")
    return Events(
        messages=messages,
        consumed=Range.of([turn.consumed for turn in turns]),
        consumed_one_by_one=Range.of([turn.consumed_one_by_one for turn in turns]),
        times_one_by_one=measure.ratio([turn.consumed for turn in turns], [turn.consumed_one_by_one for turn in turns]),
        published=Range.of([turn.published for turn in turns]),
        rest_per_second=rest_per_second,
        rest_events=len(delays),
        delay_p50_ms=1_000 * cuts[49],
        delay_p99_ms=1_000 * cuts[98],
    )


def drain() -> None:
    """Publish what waits in the outbox, so that nothing has waited long when the books are audited."""
    stop = Flag()
    thread = Thread(target=relay.run, args=(stop, Heartbeat("relay")))
    thread.start()
    try:
        _wait_until_published()
    finally:
        stop.set()
        thread.join()


def _turn(scene: Scene, messages: int) -> Turn:
    """The one that handles one message in a transaction gets a tenth of the messages."""
    consumed = _consume(scene, messages, batch=settings.CONSUMER_BATCH)
    one_by_one = _consume(scene, max(2, messages // 10), batch=1)
    return Turn(consumed=consumed, consumed_one_by_one=one_by_one, published=_publish())


# --- the consumer --------------------------------------------------------------------------------------------------


def _consume(scene: Scene, count: int, *, batch: int) -> float:
    """Messages per second, from the first batch's proof to the last one's."""
    topology.declare_inbox(consumer.bindings(["order.created"]))
    _send(scene, count)
    before = InboxMessage.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    handled = InboxMessage.objects.filter(pk__gt=before)
    with _process("consume_events", CONSUMER_BATCH=str(batch)):
        _wait_until(lambda: handled.count() == count, f"{count} messages handled")
    outcomes = Counter(handled.values_list("outcome", flat=True))
    assert outcomes == {"reserved": count}, outcomes  # a rejection is quicker than a reservation
    return _rate(Counter(handled.values_list("processed_at", flat=True)))


def _rate(sizes: Counter[datetime]) -> float:
    """Rows per second, by the moments at which each batch was recorded; the first one began before that."""
    first, last = min(sizes), max(sizes)
    return (sizes.total() - sizes[first]) / (last - first).total_seconds()


def _send(scene: Scene, count: int) -> None:
    """order.created for new orders, as a shop sends them."""
    requests = iter(scene.requests(count))
    with Session("benchmark") as session:
        while chunk := list(islice(requests, CHUNK)):
            publications = [
                Publication(
                    exchange=settings.ORDER_EVENTS_EXCHANGE,
                    routing_key="order.created",
                    message_id=str(uuid4()),
                    content_type="application/json",
                    body=orjson.dumps(
                        {
                            "order_id": str(request.order_id),
                            "items": [{"product_id": str(item.product_id), "quantity": 1} for item in request.items],
                        }
                    ),
                )
                for request in chunk
            ]
            sending = session.publish(publications, within_seconds=CONFIRM_SECONDS)
            assert all(sending.is_confirmed), sending.problem


# --- the relay -----------------------------------------------------------------------------------------------------


def _publish() -> float:
    """Events per second, from the first batch's mark to the last one's; from the relay's start if there is one mark."""
    waiting = list(OutboxEvent.objects.waiting().values_list("pk", flat=True))
    began = database.database_now()
    with _process("publish_events"):
        _wait_until_published()
    published = OutboxEvent.objects.filter(pk__in=waiting).values_list("published_at", flat=True)
    moments = sorted(moment for moment in published if moment)
    rest = [moment for moment in moments if moment > moments[0]]
    since = moments[0] if rest else began
    return len(rest or moments) / (moments[-1] - since).total_seconds()


def _delays(scene: Scene, *, seconds: float, per_second: float) -> list[float]:
    """Seconds from just before each reservation's request to its event's arrival at a listener."""
    asked: dict[str, float] = {}
    arrived: dict[str, float] = {}
    stop = Flag()
    with _process("publish_events"), Session("benchmark listener") as session:
        session.consume(LISTENER, prefetch=CHUNK)
        listener = Thread(target=_listen, args=(session, arrived, stop))
        listener.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            began = time.monotonic()
            [request] = scene.requests(1)
            asked[str(request.order_id)] = began
            lifecycle.one(lifecycle.reserve_many, request)
            time.sleep(max(0.0, began + 1 / per_second - time.monotonic()))
        _wait_until(lambda: asked.keys() <= arrived.keys(), "all events arrived")
        stop.set()
        listener.join()
    warm = list(asked)[len(asked) // 4 :]  # while the relay starts, events wait for it
    return [arrived[order_id] - asked[order_id] for order_id in warm]


def _listen(session: Session, arrived: dict[str, float], stop: Flag) -> None:
    while not stop.is_set():
        deliveries = session.receive(limit=CHUNK, within_seconds=LOOK_SECONDS)
        now = time.monotonic()
        for delivery in deliveries:
            order_id = orjson.loads(delivery.body)["data"].get("order_id")
            arrived.setdefault(order_id, now)
        session.acknowledge([delivery.tag for delivery in deliveries])


# --- the set-up ----------------------------------------------------------------------------------------------------


@contextmanager
def listener() -> Iterator[Callable[[], None]]:
    """A durable queue for all events, as a shop has one, and a function that empties it."""
    topology.declare_events()
    _have_done(lambda shop: shop.queue_declare(LISTENER, durable=True))
    _have_done(lambda shop: shop.queue_bind(LISTENER, settings.EVENTS_EXCHANGE, "#"))
    try:
        yield lambda: _have_done(lambda shop: shop.queue_purge(LISTENER))
    finally:
        _have_done(lambda shop: shop.queue_delete(LISTENER))


def _have_done(work: Callable[[BlockingChannel], object]) -> None:
    """By a connection of its own, for between two of them there may be minutes without a heartbeat."""
    with pika.BlockingConnection(pika.URLParameters(settings.RABBITMQ_URL)) as shop:
        work(shop.channel())


@contextmanager
def _process(command: str, **environment: str) -> Iterator[None]:
    """The command in a process of its own for the length of the block."""
    process = subprocess.Popen(
        [sys.executable, str(MANAGE), command], env=os.environ | {"LOG_LEVEL": "ERROR"} | environment
    )
    try:
        yield
        assert process.poll() is None, f"{command} ended with {process.returncode}"
    finally:
        process.terminate()
        process.wait()


def _wait_until_published() -> None:
    _wait_until(lambda: not OutboxEvent.objects.waiting().exists(), "all events published")


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"after {PATIENCE_SECONDS} s still not: {what}"
        time.sleep(LOOK_SECONDS)
