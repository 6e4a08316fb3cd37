"""Every row of the table in docs/reference/events.md, walked on the real database as the consumer would."""

from collections import Counter
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent
from inventory_project.routes import ROUTES
from tests import factories
from tests.db.stock import records
from tests.integration.messaging import table
from tests.integration.messaging.shops import word
from tests.integration.messaging.table import STATES, Order, Row

ROWS = table.rows()
ORDER_EVENTS = ("inventory.reserved", "inventory.confirmed", "inventory.released", "inventory.rejected")
# What an event says of each of its units: how available and reserved have changed.
DELTAS = {
    "inventory.reserved": (-1, +1),
    "inventory.confirmed": (0, -1),
    "inventory.released (returned)": (+1, 0),
    "inventory.released (cancelled)": (+1, -1),
    "inventory.released (expired)": (+1, -1),
    "inventory.released (payment_failed)": (+1, -1),
}


def test_each_event_stands_beside_each_state_and_no_row_twice() -> None:
    assert {(row.state, row.event) for row in ROWS} == set(product(STATES, ROUTES))
    assert max(Counter(row.name for row in ROWS).values()) == 1


@pytest.mark.usefixtures("books")
def test_a_row_that_says_what_nobody_knows_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match=r"nobody knows how payment\.failed is sent with: half the money"):
        table.message(Order(), Row("none", "payment.failed", ("half the money",), "ignored", "-", ()))


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_row_is_what_happens(row: Row) -> None:
    order = Order()
    STATES[row.state](order)
    message = table.message(order, row)
    last_event, units = records.last_event(), units_of(order)
    handled = InboxMessage.objects.filter(order_id=order.id).count()

    assert table.outcome_of(message) == row.outcome
    assert (order.current.status if order.current else table.NOTHING) == row.then
    events = events_after(last_event, order)
    assert tuple(word(event.type, event.data) for event in events) == row.publishes
    for event in events:
        assert items_of(event) == expected_items(order, row, event)
    assert units_of(order) == moved(units, events)

    is_kept = row.outcome not in ("delayed", "dead")
    assert InboxMessage.objects.filter(order_id=order.id).count() == handled + is_kept
    if is_kept:
        inbox = InboxMessage.objects.get(message_id=message.message_id)
        assert (inbox.source, inbox.type, inbox.outcome) == (message.exchange, row.event, row.outcome)
        with records.no_trace():
            assert table.outcome_of(message) == "duplicate"
    else:
        with records.no_trace():
            assert table.outcome_of(message) == row.outcome


def events_after(last_event: int, order: Order) -> list[OutboxEvent]:
    """What was published about the order since, in its order."""
    events = OutboxEvent.objects.filter(id__gt=last_event, type__in=ORDER_EVENTS, data__order_id=str(order.id))
    return list(events.order_by("id"))


def items_of(event: OutboxEvent) -> dict[UUID, int]:
    items: list[dict[str, Any]] = event.data.get("items", [])
    return {UUID(item["product_id"]): item["quantity"] for item in items}


def expected_items(order: Order, row: Row, event: OutboxEvent) -> dict[UUID, int]:
    """What an event of this row names: the part that the message named, else all that the order has."""
    if event.type == "inventory.rejected":
        return {}
    if "items" in row.conditions:
        return {order.first: 1}
    if "other content" in row.conditions and event.type == "inventory.reserved":
        return {order.first: 1}
    if "in part" in row.state and row.event == "payment.confirmed":
        return {**order.content, order.first: order.content[order.first] - 1}
    return order.content


def units_of(order: Order) -> dict[UUID, tuple[int, int, int]]:
    return {product_id: factories.numbers(product_id) for product_id in order.products}


def moved(units: dict[UUID, tuple[int, int, int]], events: list[OutboxEvent]) -> dict[UUID, tuple[int, int, int]]:
    """The units as they are if these events tell the truth and nothing is left unsaid."""
    after = dict(units)
    for event in events:
        for product_id, quantity in items_of(event).items():
            available, reserved, incoming = after[product_id]
            by_available, by_reserved = DELTAS[word(event.type, event.data)]
            after[product_id] = (available + by_available * quantity, reserved + by_reserved * quantity, incoming)
    return after
