"""The table of docs/reference/events.md: its rows, how an order comes into each state, and what each message says."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from django.conf import settings

from inventory_project.foundation.errors import NotFound, Refusal
from inventory_project.foundation.messaging import envelope
from inventory_project.foundation.messaging.consumer import Route
from inventory_project.foundation.messaging.inbox import Handled
from inventory_project.foundation.messaging.rabbitmq.messages import TRIES_HEADER, Delivery
from inventory_project.routes import ROUTES
from reservations import holds, lifecycle
from reservations.models import Reservation
from reservations.requests import Cancel, Return
from stock import blocking
from tests import factories
from tests.factories import ACTOR, SP
from tests.integration.messaging.shops import EXCHANGES, order_of

DOCUMENT = Path(settings.BASE_DIR) / "docs" / "reference" / "events.md"
COLUMNS = ("state", "event", "with", "outcome", "then", "publishes")
STOCK = 10
NOBODY = UUID("018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f")
NOTHING = "-"


class Row(NamedTuple):
    """One line of the table. `conditions` is the column `with`, `publishes` the words of the events."""

    state: str
    event: str
    conditions: tuple[str, ...]
    outcome: str
    then: str
    publishes: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.state} | {self.event} | {', '.join(self.conditions) or NOTHING}"


def rows() -> list[Row]:
    """The table as it stands in the document."""
    header = r"\| " + r" \| ".join(COLUMNS) + r" \|\n\|[-|]+\|\n"
    [table] = re.findall(header + r"((?:\|.*\|\n)+)", DOCUMENT.read_text("utf-8"))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return [
        Row(state, event, _words(conditions), outcome, then, _words(publishes))
        for state, event, conditions, outcome, then, publishes in cells
    ]


def _words(cell: str) -> tuple[str, ...]:
    return () if cell == NOTHING else tuple(cell.split(", "))


# --- messages ------------------------------------------------------------------------------------------------------


def delivery(type_: str, data: dict[str, Any], *, message_id: str = "", tries: int = 0) -> Delivery:
    """A message in bare JSON as the broker hands it over."""
    return Delivery(
        tag=1,
        exchange=EXCHANGES[type_.partition(".")[0]],
        routing_key=type_,
        body=json.dumps(data).encode(),
        message_id=message_id or str(uuid4()),
        content_type="application/json",
        correlation_id=None,
        headers={TRIES_HEADER: tries} if tries else {},
    )


def handle(delivered: Delivery) -> Handled | Refusal:
    """What the consumer does with a single message."""
    message = envelope.read(delivered)
    route: Route = ROUTES[message.type]
    [answer] = route.handle_many([route.read(message)])
    return answer


def outcome_of(delivered: Delivery) -> str:
    """In the words of the table."""
    answer = handle(delivered)
    if isinstance(answer, Handled):
        return answer.outcome
    assert isinstance(answer, NotFound), answer
    return "dead" if envelope.read(delivered).is_last_try else "delayed"


# --- orders --------------------------------------------------------------------------------------------------------


@dataclass
class Order:
    """An order of two products that have ten units each, and what is said about it."""

    id: UUID = field(default_factory=uuid4)
    first: UUID = field(default_factory=lambda: factories.product({SP: STOCK}).pk)
    second: UUID = field(default_factory=lambda: factories.product({SP: STOCK}).pk)

    @property
    def content(self) -> dict[UUID, int]:
        return {self.first: 3, self.second: 2}

    @property
    def products(self) -> tuple[UUID, UUID]:
        return self.first, self.second

    @property
    def current(self) -> Reservation | None:
        """The live reservation, else the latest."""
        return Reservation.objects.filter(order_id=self.id).order_by("is_live", "created_at").last()

    def tell(self, type_: str, items: dict[UUID, int] | None = None, *, tries: int = 0) -> str:
        return outcome_of(delivery(type_, order_of(self.id, items), tries=tries))

    def expect(self, outcome: str, type_: str, items: dict[UUID, int] | None = None, *, tries: int = 0) -> None:
        """On the way to a state."""
        assert self.tell(type_, items, tries=tries) == outcome


def make_overdue(order_id: UUID) -> None:
    """Move the end of the order's hold into the past."""
    [held] = holds.live_of_orders([order_id])().values()
    factories.make_overdue(held)


def _called_off(order: Order) -> None:
    order.expect("cancelled", "order.cancelled", tries=settings.MESSAGE_MAX_TRIES)


def _rejected(order: Order) -> None:
    others = factories.hold(order.first, STOCK)
    order.expect("rejected", "order.created", order.content)
    lifecycle.one(lifecycle.cancel_many, Cancel(reservation_id=others.id, actor=ACTOR))


def _active(order: Order) -> None:
    order.expect("reserved", "order.created", order.content)


def _overdue(order: Order) -> None:
    _active(order)
    make_overdue(order.id)


def _confirmed(order: Order) -> None:
    _active(order)
    order.expect("confirmed", "payment.confirmed")


def _returned(order: Order) -> None:
    _confirmed(order)
    reservation_id = Reservation.objects.get(order_id=order.id).pk
    lifecycle.one(lifecycle.return_many, Return(reservation_id=reservation_id, reference="back", actor=ACTOR))


def _expired(order: Order) -> None:
    _overdue(order)
    assert lifecycle.sweep().released == 1


def _cancelled(order: Order) -> None:
    _active(order)
    reservation_id = Reservation.objects.get(order_id=order.id).pk
    lifecycle.one(lifecycle.cancel_many, Cancel(reservation_id=reservation_id, actor=ACTOR))


def _unpaid(order: Order) -> None:
    _active(order)
    order.expect("released", "payment.failed")


def _less(before: Callable[[Order], None], *, is_all: bool) -> Callable[[Order], None]:
    """After the end of the hold a unit of the first product is cancelled, or everything."""

    def bring(order: Order) -> None:
        before(order)
        items = order.content if is_all else {order.first: 1}
        order.expect("released", "order.cancelled", items)

    return bring


def _then_called_off(before: Callable[[Order], None]) -> Callable[[Order], None]:
    def bring(order: Order) -> None:
        before(order)
        order.expect("cancelled", "order.cancelled")

    return bring


STATES: dict[str, Callable[[Order], None]] = {
    "none": lambda _order: None,
    "called off": _called_off,
    "rejected": _rejected,
    "ACTIVE": _active,
    "ACTIVE overdue": _overdue,
    "CONFIRMED": _confirmed,
    "CONFIRMED returned": _returned,
    "CONFIRMED returned called off": _then_called_off(_confirmed),
    "EXPIRED": _expired,
    "EXPIRED in part": _less(_expired, is_all=False),
    "EXPIRED in all": _less(_expired, is_all=True),
    "EXPIRED called off": _then_called_off(_expired),
    "CANCELLED": _cancelled,
    "CANCELLED unpaid": _unpaid,
    "CANCELLED unpaid in part": _less(_unpaid, is_all=False),
    "CANCELLED called off": _then_called_off(_unpaid),
}


def _take_all(order: Order) -> None:
    """Somebody else buys what is free."""
    for product_id in order.products:
        factories.hold(product_id, factories.numbers(product_id)[0])


def _block(order: Order) -> None:
    blocking.block_product(order.first, reason="recall", actor=ACTOR)


def message(order: Order, row: Row) -> Delivery:
    """The message of the row, once the world is as its conditions say."""
    tries, items, warehouse_id = 0, None, None
    if row.event == "order.created":
        items = order.content
    for condition in row.conditions:
        match (row.event, condition):
            case (_, "last try"):
                tries = settings.MESSAGE_MAX_TRIES
            case (_, "sales blocked"):
                _block(order)
            case ("payment.confirmed", "no stock"):
                _take_all(order)
            case ("order.created", "no stock"):
                items = {order.first: STOCK + 1}
            case ("order.created", "same content"):
                items = order.content
            case ("order.created", "other content"):
                items = {order.first: 1}
            case ("order.created", "unknown product"):
                items = {order.first: 1, NOBODY: 1}
            case ("order.created", "unknown warehouse"):
                warehouse_id = "wh-none-001"
            case ("order.cancelled", "items"):
                items = {order.first: 1}
            case ("order.cancelled", "all items"):
                items = order.content
            case ("order.cancelled", "too many items"):
                items = {order.first: 4}
            case _:
                raise ValueError(f"nobody knows how {row.event} is sent with: {condition}")
    data = order_of(order.id, items)
    if warehouse_id is not None:
        data["items"] = [{**item, "warehouse_id": warehouse_id} for item in data["items"]]
    return delivery(row.event, data, tries=tries)
