"""A minute without RabbitMQ while customers buy over HTTP (F12): a third of one, and by `make soak` a whole one."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from uuid import UUID

import pytest

from inventory_project.foundation.messaging.models import OutboxEvent
from reservations.models import Reservation
from tests import factories
from tests.integration.faults.shoppers import Errand, Shopper, Shoppers, Told, in_words, slowest
from tests.integration.group_commit.conftest import serving
from tests.integration.messaging.faults import troubles
from tests.integration.messaging.faults.commands import Command, Commands
from tests.integration.messaging.faults.neighbours import Neighbour
from tests.processes import wait_until
from tests.servers import RabbitMQ

SHOPPERS, PAUSE_SECONDS = 4, 0.1
BEFORE_SECONDS, AWAY_SECONDS = (20, 60) if os.environ.get("TEST_SOAK") else (7, 20)
MAX_TIMES_SLOWER = 3
PATIENCE_SECONDS = 5  # of one customer


def buying(product_id: UUID, *, seconds: float) -> Errand:
    """Reserve and confirm at a modest pace."""

    def errand(shopper: Shopper) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            reservation_id = shopper.reserve(product_id)
            if reservation_id is not None:
                shopper.settle(reservation_id, "confirm")
            time.sleep(PAUSE_SECONDS)

    return errand


def median_seconds(told: Sequence[Told]) -> float:
    return median(one.seconds for one in told)


def waiting() -> int:
    return OutboxEvent.objects.waiting().count()


def a_minute_away(rabbitmq: RabbitMQ, relay: Command, buy: Callable[[], list[Told]]) -> list[Told]:
    """What was told to those who bought from after the stop of RabbitMQ until before its start."""
    with troubles.stopped(rabbitmq):
        began = time.monotonic()
        relay.wait_for("waiting", "RabbitMQ")
        told = buy()
        assert time.monotonic() - began >= AWAY_SECONDS
        assert waiting() >= len(told)
        assert relay.health()["state"] == "waiting"
    return told


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("books")
def test_no_customer_notices_and_afterwards_all_events_come_in_the_order_of_each_reservation(
    rabbitmq: RabbitMQ, commands: Commands, neighbour: Neighbour, tmp_path: Path
) -> None:
    product_id = factories.product({factories.SP: 100_000}).pk
    with (
        commands.relay() as relay,
        serving(tmp_path / "serve.log", RABBITMQ_URL=rabbitmq.url, LOG_LEVEL="ERROR") as service,
    ):
        relay.wait_for("working")
        shoppers = Shoppers(SHOPPERS, service.port)
        shoppers.go(buying(product_id, seconds=2))  # the first answers of each process are slower
        usual = shoppers.go(buying(product_id, seconds=BEFORE_SECONDS))
        wait_until(lambda: waiting() == 0)
        told = a_minute_away(rabbitmq, relay, lambda: shoppers.go(buying(product_id, seconds=AWAY_SECONDS)))
        wait_until(lambda: waiting() == 0)

    assert in_words(told).keys() == in_words(usual).keys() == {(201, "ACTIVE"), (200, "CONFIRMED")}
    assert median_seconds(told) <= MAX_TIMES_SLOWER * median_seconds(usual)
    assert slowest(told) < PATIENCE_SECONDS
    assert set(shoppers.holds.values()) == {"CONFIRMED"}
    assert set(Reservation.objects.values_list("id", flat=True)) == shoppers.holds.keys()
    first_heard: dict[str, list[str]] = {}
    for event in neighbour.hear():
        types = first_heard.setdefault(event.data["reservation_id"], [])
        if event.type not in types:
            types.append(event.type)
    assert first_heard == {str(id_): ["inventory.reserved", "inventory.confirmed"] for id_ in shoppers.holds}
