"""Many orders whose messages come in every order and several times; and what the table makes of what was handled."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from random import Random
from typing import NamedTuple
from uuid import UUID, uuid4

from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent
from inventory_project.foundation.messaging.rabbitmq.messages import TRIES_HEADER
from reservations.models import Reservation
from tests.integration.messaging import table
from tests.integration.messaging.shops import Shop, order_of, word
from tests.integration.messaging.table import NOTHING, Row

LAST_TRY = {TRIES_HEADER: 12}
PART = "order.cancelled of a unit"  # in a sequence of types
ORDER_EVENTS = ("inventory.reserved", "inventory.confirmed", "inventory.released", "inventory.rejected")


@dataclass(frozen=True)
class Said:
    """A message; sent again, it is the same one."""

    type: str
    order_id: UUID
    items: Mapping[UUID, int] | None
    headers: Mapping[str, int]
    name: str

    @property
    def id(self) -> str:
        return f"{self.order_id} {self.name}"

    def send(self, shop: Shop) -> None:
        data = order_of(self.order_id, self.items)
        shop.say(self.type, data, message_id=self.id, headers=dict(self.headers))


def said(type_: str, order_id: UUID, items: Mapping[UUID, int], *, is_last_try: bool = False) -> Said:
    """An order.created names its items, and PART one unit of the first of them."""
    headers = LAST_TRY if is_last_try else {}
    if type_ == PART:
        return Said("order.cancelled", order_id, {next(iter(items)): 1}, headers, type_)
    return Said(type_, order_id, items if type_ == "order.created" else None, headers, type_)


def in_every_order(
    types: Sequence[str], products: Sequence[UUID], *, times: int, last_tries: float, random: Random, least: int = 1
) -> list[list[Said]]:
    """The messages of so many orders for each sequence of these types, of `least` to 3 units of some of these products.

    Each message stands in its sequence 1 to 3 times, at random behind the first time. An order.cancelled is on its last
    try in this part of the orders.
    """
    orders = []
    for types_in_order in list(permutations(types)) * times:
        order_id = uuid4()
        items = {product_id: random.randint(least, 3) for product_id in random.sample(products, random.randint(1, 2))}
        is_last_try = random.random() < last_tries
        messages: list[Said] = []
        for type_ in types_in_order:
            messages.append(
                said(type_, order_id, items, is_last_try=is_last_try and type_ == "order.cancelled"),
            )
        for message in tuple(messages):
            for _ in range(random.randint(0, 2)):
                messages.insert(random.randint(messages.index(message) + 1, len(messages)), message)
        orders.append(messages)
    return orders


def interleaved(orders: Iterable[Sequence[Said]], random: Random) -> Iterator[Said]:
    """All messages, those of each order in their sequence, the orders mixed at random."""
    waiting = [iter(messages) for messages in orders]
    while waiting:
        place = random.randrange(len(waiting))
        message = next(waiting[place], None)
        if message is None:
            waiting[place] = waiting[-1]
            waiting.pop()
        else:
            yield message


# --- what the table makes of it ------------------------------------------------------------------------------------


Handled = tuple[str, str, str, bool]  # type, outcome, code, and whether it named a part of the items


class History(NamedTuple):
    """What was done about an order: its messages as they were handled, what was published, how it stands."""

    handled: list[Handled]
    published: list[str]
    status: str


def histories() -> dict[UUID, History]:
    """Those of all orders."""
    handled: dict[UUID, list[Handled]] = defaultdict(list)
    columns = ("order_id", "type", "outcome", "code", "message_id")
    for order_id, type_, outcome, code, message_id in InboxMessage.objects.order_by("id").values_list(*columns):
        handled[order_id].append((type_, outcome, code, message_id.endswith(PART)))
    published: dict[UUID, list[str]] = defaultdict(list)
    for event in OutboxEvent.objects.filter(type__in=ORDER_EVENTS).order_by("id"):
        published[UUID(event.data["order_id"])].append(word(event.type, event.data))
    latest = Reservation.objects.order_by("is_live", "created_at").values_list("order_id", "status")
    statuses: dict[UUID, str] = dict(latest)
    return {
        order_id: History(messages, published[order_id], statuses.get(order_id, NOTHING))
        for order_id, messages in handled.items()
    }


def by_the_table(handled: Sequence[Handled]) -> tuple[list[str], str]:
    """What the table publishes for these messages, one after the other, and the status it ends with."""
    state, status = "none", NOTHING
    published: list[str] = []
    for message in handled:
        row = _row(state, *message)
        published += row.publishes
        state, status = _state_after(state, row), row.then
    return published, status


def _row(state: str, type_: str, outcome: str, code: str, is_part: bool) -> Row:
    """The one row that a message can have been."""
    rejections = {f"inventory.rejected ({code})"}
    found = [
        row
        for row in _table()
        if (row.state, row.event, row.outcome) == (state, type_, outcome)
        and ("items" in row.conditions) == is_part
        and not any(word in condition for condition in row.conditions for word in ("all", "many", "other"))
        and (outcome != "rejected" or rejections & set(row.publishes))
    ]
    assert len(found) == 1, f"{len(found)} rows for {state} | {type_} | {outcome} {code}"
    return found[0]


_table = cache(table.rows)


def _state_after(state: str, row: Row) -> str:
    is_called_off = "called off" in state or row.outcome == "cancelled"
    if row.then == NOTHING:
        if is_called_off:
            return "called off"
        return "rejected" if row.event == "order.created" else state
    is_part = "items" in row.conditions
    is_returned = "returned" in state or (not is_part and "inventory.released (returned)" in row.publishes)
    words = [row.then]
    if row.then == "CONFIRMED" and is_returned:
        words.append("returned")
    if row.then == "CANCELLED" and not is_called_off:
        words += ["unpaid"] if row.event == "payment.failed" or "unpaid" in state else []
        words += ["in part"] if is_part or "in part" in state else []
    if is_called_off:
        words.append("called off")
    return " ".join(words)
