"""One event for each thing that becomes of a reservation, with exactly these data."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError

from inventory_project.foundation import moments
from inventory_project.foundation.messaging.models import OutboxEvent
from reservations import lifecycle
from reservations.holds import Hold
from reservations.requests import Item, Reserve
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, RJ, SP, reserve_request

pytestmark = pytest.mark.usefixtures("books")


def ids(held: Hold) -> dict[str, str]:
    return {"reservation_id": str(held.id), "order_id": str(held.order_id)}


def items(held: Hold, *quantities: int) -> list[dict[str, Any]]:
    """The hold's lines with these quantities; those of 0 are left out."""
    return [
        {"product_id": str(line.product_id), "warehouse_id": line.warehouse_id, "quantity": quantity}
        for line, quantity in zip(held.lines, quantities, strict=True)
        if quantity
    ]


def a_hold() -> Hold:
    """5 units of a product with plenty left, 3 at one warehouse and 2 at the other."""
    product = factories.product({RJ: 50, SP: 50}, low_stock_threshold=0)
    items = (Item(product.pk, 3, RJ), Item(product.pk, 2, SP))
    return verbs.reserve(Reserve(order_id=uuid4(), items=items, actor=ACTOR)).hold


def test_a_hold_is_told_with_its_end_and_its_lines() -> None:
    held = a_hold()
    assert records.events()[2:] == [
        (
            "inventory.reserved",
            str(held.id),
            "",
            {**ids(held), "expires_at": moments.utc_text(held.expires_at), "items": items(held, 3, 2)},
        )
    ]
    row = OutboxEvent.objects.order_by("id").last()
    assert row is not None
    assert (row.occurred_at, row.published_at, row.event_id.version) == (held.created_at, None, 7)


def test_a_confirmation_is_told_with_what_has_left() -> None:
    held = a_hold()
    start = records.last_event()
    verbs.confirm(held)
    assert records.events(after=start) == [
        ("inventory.confirmed", str(held.id), "", {**ids(held), "items": items(held, 3, 2)})
    ]


def test_a_partial_confirmation_is_told_with_the_part_and_then_the_rest_as_released() -> None:
    held = a_hold()
    start = records.last_event()
    verbs.confirm(held, Item(held.lines[0].product_id, 1, RJ))
    assert records.events(after=start) == [
        ("inventory.confirmed", str(held.id), "", {**ids(held), "items": items(held, 1, 0)}),
        ("inventory.released", str(held.id), "", {**ids(held), "reason": "partial", "items": items(held, 2, 2)}),
    ]


@pytest.mark.parametrize("reason", ["cancelled", "payment_failed"])
def test_a_cancelled_hold_is_told_with_the_reason(reason: str) -> None:
    held = a_hold()
    start = records.last_event()
    verbs.cancel(held, reason=reason)
    assert records.events(after=start) == [
        ("inventory.released", str(held.id), "", {**ids(held), "reason": reason, "items": items(held, 3, 2)})
    ]


@pytest.mark.parametrize("is_swept", [False, True])
def test_an_expired_hold_is_told_as_released(is_swept: bool) -> None:
    held = a_hold()
    start = records.last_event()
    if is_swept:
        factories.make_overdue(held)
        assert lifecycle.sweep().released == 1
    else:
        verbs.expire(held)
    assert records.events(after=start) == [
        ("inventory.released", str(held.id), "", {**ids(held), "reason": "expired", "items": items(held, 3, 2)})
    ]


def test_each_return_is_told_under_its_reference() -> None:
    held = a_hold()
    verbs.confirm(held, Item(held.lines[0].product_id, 4))
    start = records.last_event()
    verbs.give_back(held, Item(held.lines[0].product_id, 1, SP), reference="return-1")
    verbs.give_back(held, reference="return-2")
    assert records.events(after=start) == [
        (
            "inventory.released",
            str(held.id),
            reference,
            {**ids(held), "reason": "returned", "items": items(held, *quantities), "reference": reference},
        )
        for reference, quantities in (("return-1", (0, 1)), ("return-2", (3, 0)))
    ]


def test_a_revived_hold_is_told_as_reserved_and_confirmed_under_its_own_id() -> None:
    held = a_hold()
    verbs.expire(held)
    start = records.last_event()
    revived = verbs.pay(held.order_id).hold
    assert records.events(after=start) == [
        (
            "inventory.reserved",
            str(revived.id),
            "",
            {**ids(revived), "expires_at": moments.utc_text(revived.expires_at), "items": items(revived, 3, 2)},
        ),
        ("inventory.confirmed", str(revived.id), "", {**ids(revived), "items": items(revived, 3, 2)}),
    ]


def test_replays_refusals_and_extensions_tell_nothing() -> None:
    held = a_hold()
    product_id = held.lines[0].product_id
    start = records.last_event()
    verbs.reserve(reserve_request(product_id, 5, order_id=held.order_id))
    verbs.extend(held, minutes=1, reference="call-1")
    assert verbs.codes(lifecycle.reserve_many, reserve_request(product_id, 999)) == ["insufficient_stock"]
    assert records.events(after=start) == []
    verbs.confirm(held)
    verbs.confirm(held)
    verbs.pay(held.order_id)
    verbs.give_back(held)
    verbs.give_back(held)
    assert records.event_types(after=start) == ["inventory.confirmed", "inventory.released"]


def test_a_batch_tells_its_events_in_the_order_of_its_requests() -> None:
    product = factories.product({SP: 50}, low_stock_threshold=0)
    start = records.last_event()
    requests = [reserve_request(product.pk) for _ in range(4)]
    lifecycle.reserve_many(requests)
    told = [data["order_id"] for _, _, _, data in records.events(after=start)]
    assert told == [str(request.order_id) for request in requests]


@pytest.mark.parametrize("is_return", [False, True])
def test_the_database_refuses_a_second_event_for_one_occasion(is_return: bool) -> None:
    held = a_hold()
    verbs.confirm(held)
    verbs.give_back(held)
    twin = OutboxEvent.objects.filter(occasion="return-1" if is_return else "").order_by("id").last()
    assert twin is not None
    twin.pk = None
    with records.no_trace(), pytest.raises(IntegrityError, match='"outbox_event_is_recorded_once_for_each_occasion"'):
        twin.save(force_insert=True)
