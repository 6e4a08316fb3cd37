"""The inbox: proof of what was handled, one row for each message, written in the transaction of its effect.

A consumer first locks the orders of its messages. So two consumers with messages of one order see all of each other's
work or none of it, even before there is a reservation whose row they could lock (decision 0015).
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db import connection, transaction

from inventory_project.foundation import bulkhead, database
from inventory_project.foundation.messaging.envelope import Message
from inventory_project.foundation.messaging.models import InboxMessage

Request = TypeVar("Request")
Outcome = InboxMessage.Outcome

ORDER_LOCKS = 0x0DE2  # the first half of these advisory locks' keys; the jobs' locks have single keys
COLUMNS = ("source", "message_id", "type", "order_id", "outcome", "code")
KNOWN = database.fields_of(InboxMessage, ("source", "message_id", "type", "order_id", "outcome"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(Generic[Request]):
    """A message, its order, and the request to the domain that its reader made of it."""

    message: Message
    order_id: UUID
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """The outcome of a message. `code` is the reason if the message did not have its intended effect."""

    outcome: str
    code: str = ""


@dataclass(slots=True)
class Known:
    """What the inbox knows of earlier messages and their orders."""

    handled: dict[tuple[str, str], tuple[str, UUID]] = field(default_factory=dict)  # type and order, by source and id
    called_off: set[UUID] = field(default_factory=set)  # orders
    rejected: set[UUID] = field(default_factory=set)  # orders of which a message was rejected

    def has(self, message: Message) -> bool:
        """Whether a message with the same source and id was handled before."""
        return (message.source, message.id) in self.handled

    def is_over(self, order_id: UUID) -> bool:
        """Whether the order was cancelled or rejected, so that no reservation is expected for it any more."""
        return order_id in self.called_off or order_id in self.rejected

    def is_same(self, received: "Received[Any]") -> bool:
        """Whether the earlier message with this source and id had the same type and order."""
        message = received.message
        return self.handled.get((message.source, message.id)) == (message.type, received.order_id)


def lock_and_read(received: Sequence[Received[Any]]) -> Known:
    """Lock the orders of these messages until the transaction ends, then read what the inbox knows of them."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("an order's lock lasts as long as the transaction")
    keys = sorted({_lock_key(each.order_id) for each in received})
    with bulkhead.first_statements():
        database.execute("SELECT pg_advisory_xact_lock(%s, key) FROM unnest(%s::int[]) AS key", [ORDER_LOCKS, keys])
        known = database.select(
            KNOWN,
            "SELECT source, message_id, type, order_id, outcome FROM inbox_message "
            "WHERE order_id = ANY(%s) OR message_id = ANY(%s)",
            [[each.order_id for each in received], [each.message.id for each in received]],
            _known,
        )
    return known()


def look(received: Sequence[Received[Any]]) -> dict[UUID, int]:
    """Whether the order of each message is locked; see `foundation.bulkhead`. Locks those that are free."""
    orders = {each.order_id: _lock_key(each.order_id) for each in received}
    cursor = database.execute(
        "SELECT key, NOT pg_try_advisory_xact_lock(%s, key) FROM unnest(%s::int[]) AS key",
        [ORDER_LOCKS, sorted(set(orders.values()))],
    )
    with cursor:
        is_locked = dict(cursor.fetchall())
    return {order_id: bulkhead.UNKNOWN if is_locked[key] else bulkhead.FREE for order_id, key in orders.items()}


def _known(rows: Sequence[Any]) -> Known:
    known = Known()
    for source, message_id, type_, order_id, outcome in rows:
        known.handled[source, message_id] = (type_, order_id)
        if outcome == Outcome.CANCELLED:
            known.called_off.add(order_id)
        elif outcome == Outcome.REJECTED:
            known.rejected.add(order_id)
    return known


def _lock_key(order_id: UUID) -> int:
    """A signed 32-bit key for the order. If two orders share one, they wait for each other needlessly, no more."""
    return zlib.crc32(order_id.bytes) - 2**31


def record(handled: Sequence[tuple[Received[Any], Handled]]) -> None:
    """Write one row for each handled message. Raises IntegrityError if one of them was handled before."""
    database.insert_rows(
        InboxMessage,
        COLUMNS,
        [
            (
                received.message.source,
                received.message.id,
                received.message.type,
                received.order_id,
                done.outcome,
                done.code,
            )
            for received, done in handled
        ],
    )
