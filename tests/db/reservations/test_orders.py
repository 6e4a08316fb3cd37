"""What order and payment events make of reservations, beyond the table: batches, ids, references, what goes wrong."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inventory_project.foundation.errors import Invalid, NotFound, Refusal
from inventory_project.foundation.messaging.envelope import Message
from inventory_project.foundation.messaging.inbox import Handled, Received
from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent
from inventory_project.routes import ROUTES
from reservations.models import Reservation
from reservations.requests import Item
from stock import blocking
from stock.models import StockMovement
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, RJ, SP
from warehouses.allocation import explanation
from warehouses.models import PostalArea, Warehouse

pytestmark = pytest.mark.usefixtures("books")

LAST = 12  # tries


def message(
    type_: str,
    order_id: UUID,
    items: dict[UUID, int] | None = None,
    *,
    message_id: str | None = None,
    source: str = "shop",
    tries: int = 0,
    **extensions: str,
) -> Message:
    data: dict[str, Any] = {"order_id": str(order_id)}
    if items is not None:
        data["items"] = [{"product_id": str(product_id), "quantity": units} for product_id, units in items.items()]
    return Message(
        source=source, id=message_id or str(uuid4()), type=type_, data=data, extensions=extensions, tries=tries
    )


def answers(*messages: Message) -> list[Handled | Refusal]:
    """What comes of messages of one type in one batch."""
    route = ROUTES[messages[0].type]
    received: Sequence[Received[Any]] = [route.read(each) for each in messages]
    return list(route.handle_many(received))


def handle(*messages: Message) -> list[str]:
    """The same in words: the outcome with its code, or the code of the refusal."""
    return [
        answer.code if isinstance(answer, Refusal) else f"{answer.outcome} {answer.code}".strip()
        for answer in answers(*messages)
    ]


def created(product_id: UUID, quantity: int = 1) -> UUID:
    """An order whose stock is held."""
    order_id = uuid4()
    assert handle(message("order.created", order_id, {product_id: quantity})) == ["reserved"]
    return order_id


def published(*order_ids: UUID) -> list[tuple[str, dict[str, str]]]:
    """What was published about these orders and whose doing it was, in its order."""
    events = OutboxEvent.objects.filter(data__order_id__in=[str(order_id) for order_id in order_ids]).order_by("id")
    return list(events.values_list("type", "extensions"))


def expire(order_id: UUID) -> None:
    verbs.expire(Reservation.objects.get(order_id=order_id, is_live=True))  # type: ignore[arg-type]  # has an id


# --- batches -------------------------------------------------------------------------------------------------------


def test_each_message_of_a_batch_is_answered_in_its_place() -> None:
    product, blocked = factories.product({SP: 5}), factories.product({SP: 5})
    blocking.block_product(blocked.pk, reason="recall", actor=ACTOR)
    live, dead = created(product.pk, 2), uuid4()
    assert handle(message("order.cancelled", dead, tries=LAST)) == ["cancelled"]
    before = message("order.created", uuid4(), {product.pk: 1})
    assert handle(before) == ["reserved"]
    batch = [
        (message("order.created", uuid4(), {product.pk: 3}), "rejected insufficient_stock"),
        (message("order.created", uuid4(), {product.pk: 1}), "reserved"),
        (before, "duplicate"),
        (message("order.created", uuid4(), {uuid4(): 1}), "rejected unknown_product"),
        (message("order.created", live, {product.pk: 2}), "repeated"),
        (message("order.created", uuid4(), {product.pk: 6_000, blocked.pk: 4_000}), "rejected sales_blocked"),
        (message("order.created", live, {product.pk: 1}), "conflict order_conflict"),
        (message("order.created", dead, {product.pk: 1}), "rejected order_cancelled"),
        (message("order.created", uuid4(), {product.pk: 1}), "reserved"),
    ]
    assert handle(*[each for each, _ in batch]) == [answer for _, answer in batch]
    assert factories.numbers(product.pk) == (0, 5, 0)
    with records.no_trace():
        assert handle(*[each for each, _ in batch]) == ["duplicate"] * len(batch)


def test_what_makes_no_sense_leaves_its_neighbours_alone_and_is_not_kept() -> None:
    product = factories.product({SP: 5})
    item = {"product_id": str(product.pk), "quantity": 6_000}
    unsound = message("order.created", uuid4())
    unsound = replace(unsound, data={**unsound.data, "items": [item, item]})
    sound = message("order.created", uuid4(), {product.pk: 2})
    [refusal, answer] = answers(unsound, sound)
    assert isinstance(refusal, Invalid)
    assert "equal lines added up; it is 12000" in refusal.detail
    assert answer == Handled(outcome="reserved")
    with records.no_trace():
        assert handle(unsound) == ["invalid"]
    assert list(InboxMessage.objects.values_list("message_id", flat=True)) == [sound.id]


def test_what_comes_too_early_leaves_its_neighbours_alone_and_is_not_kept() -> None:
    product = factories.product({SP: 5})
    order_id = created(product.pk, 2)
    assert handle(message("payment.confirmed", uuid4()), message("payment.confirmed", order_id)) == [
        "not_found",
        "confirmed",
    ]
    assert InboxMessage.objects.filter(type="payment.confirmed").count() == 1
    [refusal] = answers(message("payment.failed", uuid4(), tries=LAST))
    assert isinstance(refusal, NotFound)


def test_of_twins_in_one_batch_that_name_different_orders_only_the_first_is_handled() -> None:
    product = factories.product({SP: 5})
    twins = [message("order.created", uuid4(), {product.pk: 1}, message_id="1") for _ in range(3)]
    assert handle(*twins, message("order.created", uuid4(), {product.pk: 1})) == [
        "reserved",
        "invalid",
        "invalid",
        "reserved",
    ]
    assert factories.numbers(product.pk) == (3, 2, 0)


def test_the_last_units_go_to_the_first_and_the_others_are_told_what_is_left() -> None:
    product = factories.product({SP: 3})
    orders = [message("order.created", uuid4(), {product.pk: units}) for units in (2, 2, 1)]
    assert handle(*orders) == ["reserved", "rejected insufficient_stock", "reserved"]
    [rejected] = OutboxEvent.objects.filter(type="inventory.rejected")
    assert rejected.data["shortages"][0]["available"] == 0  # decided once more, after its neighbours


def test_before_an_order_is_rejected_what_is_overdue_is_released() -> None:
    product = factories.product({SP: 3})
    factories.make_overdue(factories.hold(product.pk, 3))
    assert handle(message("order.created", uuid4(), {product.pk: 2})) == ["reserved"]
    assert factories.numbers(product.pk) == (1, 2, 0)


def test_before_a_late_payment_is_rejected_what_is_overdue_is_released() -> None:
    product = factories.product({SP: 3})
    order_id = created(product.pk, 3)
    expire(order_id)
    factories.make_overdue(factories.hold(product.pk, 2))
    assert handle(message("payment.confirmed", order_id)) == ["confirmed"]
    assert factories.numbers(product.pk) == (0, 0, 0)


def test_a_rejection_is_kept_once_though_the_order_is_decided_twice() -> None:
    product = factories.product({SP: 1})
    order = message("order.created", uuid4(), {product.pk: 2})
    order_id = UUID(order.data["order_id"])
    assert handle(order) == ["rejected insufficient_stock"]
    assert InboxMessage.objects.count() == 1
    assert published(order_id) == [("inventory.rejected", {})]


SIZES = (1, 10, 100)


@pytest.mark.parametrize(
    ("type_", "before", "outcome", "number"),
    [
        ("order.created", None, "reserved", 16),
        ("payment.confirmed", "order.created", "confirmed", 19),
        ("payment.failed", "order.created", "released", 19),
        ("order.cancelled", "order.created", "cancelled", 19),
    ],
)
def test_a_batch_takes_as_many_statements_for_a_hundred_messages_as_for_one(
    type_: str, before: str | None, outcome: str, number: int
) -> None:
    taken = []
    for size in SIZES:
        product = factories.product({SP: 500})
        orders = [uuid4() for _ in range(size)]
        if before:
            handle(*[message(before, order_id, {product.pk: 1}) for order_id in orders])
        items = {product.pk: 1} if type_ == "order.created" else None
        batch = [message(type_, order_id, items) for order_id in orders]
        with CaptureQueriesContext(connection) as captured:
            assert set(handle(*batch)) == {outcome}
        taken.append(len(captured))
        with CaptureQueriesContext(connection) as captured:
            assert set(handle(*batch)) == {"duplicate"}
        assert len(captured) == 5
    assert taken == [number] * len(SIZES)


# --- who and why ---------------------------------------------------------------------------------------------------


def test_each_event_is_the_doing_of_its_own_message() -> None:
    product = factories.product({SP: 2})
    one, two, three = uuid4(), uuid4(), uuid4()
    handle(
        message("order.created", one, {product.pk: 1}, requestid="cart-1"),
        message("order.created", two, {product.pk: 2}, requestid="cart-2"),
        message("order.created", three, {product.pk: 1}),
    )
    handle(message("payment.failed", one, requestid="card-1"), message("payment.failed", three, requestid="card-3"))
    assert published(one) == [
        ("inventory.reserved", {"requestid": "cart-1"}),
        ("inventory.released", {"requestid": "card-1"}),
    ]
    assert published(two) == [("inventory.rejected", {"requestid": "cart-2"})]
    assert published(three) == [("inventory.reserved", {}), ("inventory.released", {"requestid": "card-3"})]
    assert not OutboxEvent.objects.exclude(data__has_key="order_id").exclude(extensions={}).exists()


def test_the_books_name_the_event_as_the_actor() -> None:
    product = factories.product({SP: 5})
    order_id = created(product.pk, 2)
    handle(message("order.cancelled", order_id, {product.pk: 1}))
    handle(message("payment.confirmed", order_id))
    movements = StockMovement.objects.exclude(line_id=None).order_by("id").values_list("kind", "actor")
    assert list(movements) == [
        ("RESERVE", "event:order.created"),
        ("RELEASE", "event:order.cancelled"),
        ("CONFIRM", "event:payment.confirmed"),
    ]


# --- where it goes -------------------------------------------------------------------------------------------------


@pytest.fixture
def _two_cities(books: None) -> None:
    """São Paulo and Rio: a warehouse and a postal area in each."""
    for warehouse_id, prefix, latitude, longitude, name in (
        (SP, "01", -23.55, -46.63, "São Paulo, SP"),
        (RJ, "20", -22.9, -43.18, "Rio de Janeiro, RJ"),
    ):
        factories.warehouse(warehouse_id)
        Warehouse.objects.filter(pk=warehouse_id).update(latitude=latitude, longitude=longitude)
        PostalArea.objects.create(
            country="BR", prefix=prefix, latitude=latitude, longitude=longitude, name=name, region="southeast"
        )


@pytest.mark.usefixtures("_two_cities")
@pytest.mark.parametrize(
    ("delivery", "warehouse_id", "area", "notes"),
    [
        ({"delivery_postal_code": "20040-020"}, RJ, "BR 20", []),
        ({"delivery_postal_code": "01310-100"}, SP, "BR 01", []),
        ({}, SP, "", ["no_postal_code"]),
    ],
    ids=["Rio", "São Paulo", "not said"],
)
def test_an_order_is_served_from_the_warehouse_nearest_to_where_it_says_that_it_goes(
    delivery: dict[str, str], warehouse_id: str, area: str, notes: list[str]
) -> None:
    product = factories.product({SP: 9, RJ: 9})
    factories.hold(product.pk, 1, RJ)  # so São Paulo, with more left, goes before it where distance says nothing
    order = message("order.created", uuid4(), {product.pk: 2})
    assert handle(replace(order, data={**order.data, **delivery})) == ["reserved"]
    reservation = Reservation.objects.prefetch_related("items").get(order_id=order.data["order_id"])
    assert reservation.delivery_postal_code == delivery.get("delivery_postal_code", "")
    assert [(line.warehouse_id, line.quantity) for line in reservation.lines] == [(warehouse_id, 2)]
    told = explanation.explain(reservation.allocation)
    assert (told["delivery"]["area"], [note["code"] for note in told["notes"]]) == (area, notes)


# --- whatever comes first ------------------------------------------------------------------------------------------


def handle_in_order(order_id: UUID, steps: Sequence[str], product_id: UUID) -> None:
    """Each message once, those that come too early again at the end; `expire` ends a hold that is still ACTIVE."""
    waiting = [(step, str(uuid4())) for step in steps]
    for _ in range(5 * len(steps)):
        if not waiting:
            return
        step, message_id = waiting.pop(0)
        if step == "expire":
            for held in Reservation.objects.filter(order_id=order_id, status="ACTIVE"):
                verbs.expire(held)  # type: ignore[arg-type]  # has an id
            continue
        items = {"order.created": {product_id: 3}, "part": {product_id: 1}}.get(step)
        type_ = "order.cancelled" if step == "part" else step
        [answer] = answers(message(type_, order_id, items, message_id=message_id))
        if isinstance(answer, NotFound):
            waiting.append((step, message_id))
    raise AssertionError(f"never handled: {waiting}")


@pytest.mark.parametrize(
    ("others", "sold"),
    [
        (("part",), 2),
        (("payment.failed",), 3),
        (("part", "payment.failed"), 2),
        (("order.cancelled",), 0),
        (("part", "order.cancelled"), 0),
        (("payment.failed", "order.cancelled"), 0),
    ],
)
def test_what_is_sold_in_the_end_does_not_depend_on_what_came_first(others: tuple[str, ...], sold: int) -> None:
    ends = {}
    for steps in permutations(("order.created", "expire", "payment.confirmed", *others)):
        product = factories.product({SP: 5})
        handle_in_order(uuid4(), steps, product.pk)
        ends[steps] = factories.numbers(product.pk)
    assert ends == dict.fromkeys(ends, (5 - sold, 0, 0))


def test_an_item_that_the_order_never_had_is_a_conflict_after_the_end_as_before() -> None:
    product, other = factories.product({SP: 5}), factories.product({SP: 5})
    order_id = created(product.pk, 3)
    part = {other.pk: 1}
    assert handle(message("order.cancelled", order_id, part)) == ["conflict exceeds_reservation"]
    expire(order_id)
    assert handle(message("order.cancelled", order_id, part)) == ["conflict exceeds_reservation"]
    assert handle(message("payment.confirmed", order_id)) == ["confirmed"]
    assert factories.numbers(product.pk) == (2, 0, 0)


def test_a_message_that_comes_again_under_the_id_of_a_part_does_not_bring_back_the_rest() -> None:
    product = factories.product({SP: 5})
    order_id = created(product.pk, 3)
    handle(message("payment.confirmed", order_id))
    assert handle(message("order.cancelled", order_id, {product.pk: 1}, message_id="17")) == ["released"]
    InboxMessage.objects.all().delete()  # it is that long ago
    assert handle(message("order.cancelled", order_id, message_id="17")) == ["conflict reference_conflict"]
    assert factories.numbers(product.pk) == (3, 0, 0)


# --- beside HTTP ---------------------------------------------------------------------------------------------------


def test_an_order_that_was_called_off_may_be_held_over_http_and_is_then_like_any_other() -> None:
    product = factories.product({SP: 5})
    order_id = uuid4()
    assert handle(message("order.cancelled", order_id, tries=LAST)) == ["cancelled"]
    verbs.reserve(factories.reserve_request(product.pk, 2, order_id=order_id))
    assert handle(message("order.created", order_id, {product.pk: 2})) == ["rejected order_cancelled"]
    assert factories.numbers(product.pk) == (3, 2, 0)
    assert handle(message("order.cancelled", order_id)) == ["cancelled"]
    assert factories.numbers(product.pk) == (5, 0, 0)
    verbs.reserve(factories.reserve_request(product.pk, 2, order_id=order_id))
    assert handle(message("payment.confirmed", order_id)) == ["confirmed"]
    assert factories.numbers(product.pk) == (3, 0, 0)


def test_a_called_off_order_is_not_revived_though_its_hold_expired_after_that() -> None:
    product = factories.product({SP: 5})
    order_id = uuid4()
    handle(message("order.cancelled", order_id, tries=LAST))
    verbs.reserve(factories.reserve_request(product.pk, 2, order_id=order_id))
    expire(order_id)
    assert handle(message("payment.confirmed", order_id)) == ["rejected order_cancelled"]
    assert factories.numbers(product.pk) == (5, 0, 0)


# --- references ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sources", [("shop", "market"), ("s" * 255, "s" * 254)])
def test_parts_named_by_two_sources_under_one_id_are_two_parts(sources: tuple[str, str]) -> None:
    product = factories.product({SP: 10})
    order_id = created(product.pk, 4)
    for source in sources:
        part = message("order.cancelled", order_id, {product.pk: 1}, message_id="1" * 128, source=source)
        assert handle(part) == ["released"]
    assert factories.numbers(product.pk) == (8, 2, 0)
    references = OutboxEvent.objects.filter(type="inventory.released").values_list("data__reference", flat=True)
    assert len(set(references)) == 2
    assert all(len(reference) <= 128 for reference in references)


def test_a_part_is_booked_under_the_source_and_id_of_its_message() -> None:
    product = factories.product({SP: 10})
    order_id = created(product.pk, 4)
    handle(message("order.cancelled", order_id, {product.pk: 1}, message_id="4711"))
    assert records.movements(product.pk)[-1] == ("RELEASE", SP, 1, -1, "shop 4711")


def test_a_return_over_http_under_the_messages_id_does_not_stand_for_the_cancellation() -> None:
    product = factories.product({SP: 10})
    order_id = created(product.pk, 4)
    handle(message("payment.confirmed", order_id))
    held = Reservation.objects.get(order_id=order_id)
    verbs.give_back(held, Item(product.pk, 1), reference="rma-1")  # type: ignore[arg-type]
    assert handle(message("order.cancelled", order_id, message_id="rma-1")) == ["cancelled"]
    assert factories.numbers(product.pk) == (10, 0, 0)


def test_an_id_that_was_used_for_another_message_is_no_repeat_of_it_but_refused() -> None:
    product, order_id = factories.product({SP: 5}), uuid4()
    assert handle(message("order.created", order_id, {product.pk: 2}, message_id="17")) == ["reserved"]
    with records.no_trace():
        [of_another_type] = answers(message("order.cancelled", order_id, message_id="17"))
        [of_another_order] = answers(message("order.created", uuid4(), {product.pk: 2}, message_id="17"))
    for answer in (of_another_type, of_another_order):
        assert isinstance(answer, Invalid)
        assert answer.detail == "The id 17 was used before, for another message of shop."
    assert handle(message("order.created", order_id, {product.pk: 2}, message_id="17")) == ["duplicate"]
