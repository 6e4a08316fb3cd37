"""A shop, the consumer and the relay, each a process of its own: what is said to the service and what it answers."""

from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from inventory_project.foundation import moments
from inventory_project.foundation.messaging.models import InboxMessage
from reservations import lifecycle
from reservations.models import Reservation
from stock import blocking
from tests import factories
from tests.factories import ACTOR, RJ, SP
from tests.integration.messaging.programs import clean, command, wait_for_consumers
from tests.integration.messaging.shops import Event, Shop, order_of, wait_until_handled
from tests.integration.messaging.table import make_overdue
from tests.servers import RabbitMQ
from tests.service import KEY, Service, environment, url_of_test_database

pytestmark = pytest.mark.usefixtures("books")

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RESERVED, CONFIRMED, RELEASED, REJECTED = (
    f"inventory.{name}" for name in ("reserved", "confirmed", "released", "rejected")
)


@pytest.fixture(scope="module")
def service(rabbitmq: RabbitMQ, django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a broker with a consumer and a relay at it, the same ones for all tests of this file."""
    folder = tmp_path_factory.mktemp("programs")
    with (
        clean(rabbitmq.url),
        command("consume_events", url=rabbitmq.url, log=folder / "consumer.log") as consumer,
        command("publish_events", url=rabbitmq.url, log=folder / "relay.log") as relay,
    ):
        yield rabbitmq.url
        assert (consumer.stop(), relay.stop()) == (0, 0)
    assert "Traceback" not in consumer.output + relay.output


@pytest.fixture
def shop(transactional_db: None, service: str) -> Iterator[Shop]:
    with Shop(service) as shop:
        wait_for_consumers(shop)
        yield shop


def item(product_id: UUID, quantity: int, warehouse_id: str = SP) -> dict[str, Any]:
    return {"product_id": str(product_id), "warehouse_id": warehouse_id, "quantity": quantity}


def created(shop: Shop, items: dict[UUID, int]) -> tuple[UUID, str]:
    """An order whose stock is held, and its reservation's id."""
    order_id = uuid4()
    shop.say("order.created", order_of(order_id, items))
    [reserved] = shop.wait_for(order_id, RESERVED)
    return order_id, reserved["subject"]


def extensions(event: Event) -> tuple[str | None, str | None]:
    return event.get("traceparent"), event.get("requestid")


# --- the normal way ------------------------------------------------------------------------------------------------


def test_an_order_is_reserved_and_its_payment_confirms_it(shop: Shop) -> None:
    product = factories.product({SP: 10})
    order_id = uuid4()
    first = shop.say("order.created", order_of(order_id, {product.pk: 3}))
    [reserved] = shop.wait_for(order_id, RESERVED)
    assert factories.numbers(product.pk) == (7, 3, 0)
    row = Reservation.objects.get(order_id=order_id)
    assert (row.status, row.actor) == ("ACTIVE", "event:order.created")
    assert reserved["subject"] == str(row.pk)
    assert reserved["source"] == "/inventory-service"
    assert reserved["data"] == {
        "reservation_id": str(row.pk),
        "order_id": str(order_id),
        "expires_at": moments.utc_text(row.expires_at),
        "items": [item(product.pk, 3)],
    }

    second = shop.say("payment.confirmed", order_of(order_id))
    [_, confirmed] = shop.wait_for(order_id, RESERVED, CONFIRMED)
    assert confirmed["data"] == {
        "reservation_id": str(row.pk),
        "order_id": str(order_id),
        "items": [item(product.pk, 3)],
    }
    assert wait_until_handled(first, second) == ["reserved", "confirmed"]
    assert factories.numbers(product.pk) == (7, 0, 0)
    assert [reserved["id"] != confirmed["id"], reserved["time"] < confirmed["time"]] == [True, True]


def test_the_same_as_cloud_events(shop: Shop) -> None:
    product = factories.product({SP: 10})
    order_id = uuid4()
    first = shop.say_cloud_event("order.created", order_of(order_id, {product.pk: 3}))
    shop.wait_for(order_id, RESERVED)
    second = shop.say_cloud_event("payment.confirmed", order_of(order_id))
    shop.wait_for(order_id, RESERVED, CONFIRMED)
    rows = InboxMessage.objects.order_by("id").values_list("source", "message_id", "type", "order_id", "outcome")
    assert list(rows) == [
        ("/shop", first, "order.created", order_id, "reserved"),
        ("/shop", second, "payment.confirmed", order_id, "confirmed"),
    ]
    assert factories.numbers(product.pk) == (7, 0, 0)


def test_a_failed_payment_releases_what_was_held(shop: Shop) -> None:
    product = factories.product({SP: 10})
    order_id, reservation_id = created(shop, {product.pk: 4})
    shop.say("payment.failed", order_of(order_id))
    [_, released] = shop.wait_for(order_id, RESERVED, f"{RELEASED} (payment_failed)")
    assert released["data"] == {
        "reservation_id": reservation_id,
        "order_id": str(order_id),
        "reason": "payment_failed",
        "items": [item(product.pk, 4)],
    }
    assert factories.numbers(product.pk) == (10, 0, 0)
    assert Reservation.objects.get(order_id=order_id).status == "CANCELLED"


def test_each_message_three_times_has_one_effect(shop: Shop) -> None:
    product = factories.product({SP: 10})
    order_id = uuid4()
    said = [("order.created", {product.pk: 4}), ("order.cancelled", {product.pk: 1}), ("payment.confirmed", None)]
    for type_, items in said:
        for _ in range(3):
            shop.say(type_, order_of(order_id, items), message_id=f"{order_id} {type_}")
        wait_until_handled(f"{order_id} {type_}")
    last = shop.say("order.created", order_of(uuid4(), {product.pk: 1}))  # behind all of them in the queue
    wait_until_handled(last)
    shop.wait_for(order_id, RESERVED, f"{RELEASED} (cancelled)", CONFIRMED)
    assert factories.numbers(product.pk) == (6, 1, 0)
    assert InboxMessage.objects.filter(order_id=order_id).count() == 3


# --- calling off ---------------------------------------------------------------------------------------------------


def test_an_order_that_is_cancelled_before_its_payment_is_released(shop: Shop) -> None:
    product, other = factories.product({SP: 10}), factories.product({SP: 10})
    order_id, _ = created(shop, {product.pk: 4, other.pk: 1})
    part = shop.say("order.cancelled", order_of(order_id, {product.pk: 3}))
    [_, released] = shop.wait_for(order_id, RESERVED, f"{RELEASED} (cancelled)")
    assert released["data"]["items"] == [item(product.pk, 3)]
    assert (factories.numbers(product.pk), factories.numbers(other.pk)) == ((9, 1, 0), (9, 1, 0))
    assert Reservation.objects.get(order_id=order_id).status == "ACTIVE"

    rest = shop.say("order.cancelled", order_of(order_id))
    [_, _, released] = shop.wait_for(order_id, RESERVED, f"{RELEASED} (cancelled)", f"{RELEASED} (cancelled)")
    rest_of_it = sorted([item(product.pk, 1), item(other.pk, 1)], key=itemgetter("product_id"))
    assert sorted(released["data"]["items"], key=itemgetter("product_id")) == rest_of_it
    assert wait_until_handled(part, rest) == ["released", "cancelled"]
    assert (factories.numbers(product.pk), factories.numbers(other.pk)) == ((10, 0, 0), (10, 0, 0))
    assert Reservation.objects.get(order_id=order_id).status == "CANCELLED"


def test_what_is_left_of_an_order_that_was_cut_is_paid_for(shop: Shop) -> None:
    product = factories.product({SP: 10})
    order_id, _ = created(shop, {product.pk: 4})
    shop.say("order.cancelled", order_of(order_id, {product.pk: 3}))
    shop.say("payment.confirmed", order_of(order_id))
    [_, _, confirmed] = shop.wait_for(order_id, RESERVED, f"{RELEASED} (cancelled)", CONFIRMED)
    assert confirmed["data"]["items"] == [item(product.pk, 1)]
    assert factories.numbers(product.pk) == (9, 0, 0)


def test_an_order_that_is_cancelled_after_its_payment_comes_back(shop: Shop) -> None:
    product = factories.product({SP: 10})
    order_id, reservation_id = created(shop, {product.pk: 4})
    shop.say("payment.confirmed", order_of(order_id))
    shop.wait_for(order_id, RESERVED, CONFIRMED)
    part = shop.say("order.cancelled", order_of(order_id, {product.pk: 1}))
    [*_, returned] = shop.wait_for(order_id, RESERVED, CONFIRMED, f"{RELEASED} (returned)")
    assert returned["data"]["items"] == [item(product.pk, 1)]
    assert factories.numbers(product.pk) == (7, 0, 0)

    rest = shop.say("order.cancelled", order_of(order_id))
    expected = [RESERVED, CONFIRMED, f"{RELEASED} (returned)", f"{RELEASED} (returned)"]
    [*_, returned] = shop.wait_for(order_id, *expected)
    assert (returned["subject"], returned["data"]["items"]) == (reservation_id, [item(product.pk, 3)])
    assert factories.numbers(product.pk) == (10, 0, 0)

    again = shop.say("order.cancelled", order_of(order_id))
    anew = shop.say("order.created", order_of(order_id, {product.pk: 4}))
    assert wait_until_handled(part, rest, again, anew) == [
        "released",
        "cancelled",
        "repeated",
        "rejected (order_cancelled)",
    ]
    shop.wait_for(order_id, *expected, f"{REJECTED} (order_cancelled)")
    assert factories.numbers(product.pk) == (10, 0, 0)


# --- rejections ----------------------------------------------------------------------------------------------------


def test_an_order_that_stock_does_not_allow_is_rejected_with_what_is_short(shop: Shop) -> None:
    product, plenty = factories.product({SP: 2, RJ: 1}), factories.product({SP: 10})
    order_id = uuid4()
    first = shop.say("order.created", order_of(order_id, {product.pk: 4, plenty.pk: 1}))
    [rejected] = shop.wait_for(order_id, f"{REJECTED} (insufficient_stock)")
    assert rejected["subject"] == str(order_id)
    assert rejected["data"] == {
        "order_id": str(order_id),
        "cause": "order.created",
        "code": "insufficient_stock",
        "detail": "There is not enough stock for this order.",
        "shortages": [{"product_id": str(product.pk), "warehouse_id": None, "requested": 4, "available": 3}],
        "lacking": "stock",
    }
    second = shop.say("payment.confirmed", order_of(order_id))
    [_, rejected] = shop.wait_for(order_id, f"{REJECTED} (insufficient_stock)", f"{REJECTED} (order_rejected)")
    assert (rejected["data"]["cause"], rejected["data"]["shortages"]) == ("payment.confirmed", [])
    assert wait_until_handled(first, second) == ["rejected (insufficient_stock)", "rejected (order_rejected)"]
    assert (factories.numbers(product.pk), factories.numbers(plenty.pk)) == ((2, 0, 0), (10, 0, 0))
    assert not Reservation.objects.exists()


def test_an_order_of_what_does_not_exist_is_rejected_and_is_no_dead_letter(shop: Shop) -> None:
    product, nothing = factories.product({SP: 10}), UUID("018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f")
    order_id, other_id = uuid4(), uuid4()
    shop.say("order.created", order_of(order_id, {product.pk: 1, nothing: 1}))
    [rejected] = shop.wait_for(order_id, f"{REJECTED} (unknown_product)")
    assert rejected["data"]["product_ids"] == [str(nothing)]
    items = [{"product_id": str(product.pk), "quantity": 1, "warehouse_id": "wh-none-001"}]
    shop.say("order.created", order_of(other_id, items=None) | {"items": items})
    [rejected] = shop.wait_for(other_id, f"{REJECTED} (unknown_warehouse)")
    assert rejected["data"]["warehouse_ids"] == ["wh-none-001"]
    assert shop.dead_letters() == {}
    assert factories.numbers(product.pk) == (10, 0, 0)


def test_an_order_of_what_is_not_for_sale_is_rejected(shop: Shop) -> None:
    product = factories.product({SP: 10})
    blocking.block_product(product.pk, reason="recall", actor=ACTOR)
    order_id = uuid4()
    shop.say("order.created", order_of(order_id, {product.pk: 1}))
    [rejected] = shop.wait_for(order_id, f"{REJECTED} (sales_blocked)")
    assert rejected["data"]["product_ids"] == [str(product.pk)]


# --- late and early ------------------------------------------------------------------------------------------------


def expire(order_id: UUID) -> None:
    """Its time is up, and the sweeper has seen it."""
    make_overdue(order_id)
    assert lifecycle.sweep().released == 1


def test_a_late_payment_gets_its_goods_where_there_are_any(shop: Shop) -> None:
    product = factories.product({SP: 10})
    order_id, first_id = created(shop, {product.pk: 4})
    expire(order_id)
    paid = shop.say("payment.confirmed", order_of(order_id))
    expected = [RESERVED, f"{RELEASED} (expired)", RESERVED, CONFIRMED]
    [_, _, reserved, confirmed] = shop.wait_for(order_id, *expected)
    assert reserved["subject"] == confirmed["subject"] != first_id
    assert wait_until_handled(paid) == ["confirmed"]
    assert str(Reservation.objects.get(pk=confirmed["subject"]).replaces_id) == first_id
    assert factories.numbers(product.pk) == (6, 0, 0)


def test_a_late_payment_whose_goods_are_sold_is_rejected(shop: Shop) -> None:
    product = factories.product({SP: 4})
    order_id, _ = created(shop, {product.pk: 4})
    expire(order_id)
    created(shop, {product.pk: 3})
    paid = shop.say("payment.confirmed", order_of(order_id))
    [*_, rejected] = shop.wait_for(order_id, RESERVED, f"{RELEASED} (expired)", f"{REJECTED} (insufficient_stock)")
    assert rejected["data"]["cause"] == "payment.confirmed"
    assert rejected["data"]["shortages"] == [
        {"product_id": str(product.pk), "warehouse_id": None, "requested": 4, "available": 1}
    ]
    assert wait_until_handled(paid) == ["rejected (insufficient_stock)"]
    assert factories.numbers(product.pk) == (1, 3, 0)


def test_a_payment_that_comes_before_its_order_waits_for_it(shop: Shop) -> None:
    product = factories.product({SP: 10})
    order_id = uuid4()
    paid = shop.say("payment.confirmed", order_of(order_id))
    ordered = shop.say("order.created", order_of(order_id, {product.pk: 2}))
    shop.wait_for(order_id, RESERVED, CONFIRMED)
    assert wait_until_handled(ordered, paid) == ["reserved", "confirmed"]
    assert list(InboxMessage.objects.order_by("id").values_list("message_id", flat=True)) == [ordered, paid]
    assert shop.dead_letters() == {}
    assert factories.numbers(product.pk) == (8, 0, 0)


# --- beside HTTP, and with a trace ---------------------------------------------------------------------------------


def test_a_hold_over_http_is_the_orders_own_and_is_paid_by_event(shop: Shop, service: str, tmp_path: Path) -> None:
    product = factories.product({SP: 10})
    order_id = uuid4()
    database = url_of_test_database()
    env = environment(DATABASE_URL=database, RABBITMQ_URL=service, SECRET_KEY=KEY, INVENTORY_API_AUTH="off")
    with Service(env=env, log=tmp_path / "serve.log") as web:
        whose = {"traceparent": TRACE, "X-Request-ID": "click-1"}
        answer = web.ask("POST", "/api/inventory/reservations", order_of(order_id, {product.pk: 2}), **whose)
        assert answer.status == 201, answer.text
    [reserved] = shop.wait_for(order_id, RESERVED)
    assert (reserved["subject"], extensions(reserved)) == (answer.json()["id"], (TRACE, "click-1"))
    said = [
        shop.say("order.created", order_of(order_id, {product.pk: 2})),
        shop.say("order.created", order_of(order_id, {product.pk: 3})),
        shop.say("payment.confirmed", order_of(order_id)),
    ]
    assert wait_until_handled(*said) == ["repeated", "conflict (order_conflict)", "confirmed"]
    shop.wait_for(order_id, RESERVED, CONFIRMED)
    assert factories.numbers(product.pk) == (8, 0, 0)


def test_what_caused_an_event_is_named_in_it(shop: Shop) -> None:
    product = factories.product({SP: 2})
    one, another, third = uuid4(), uuid4(), uuid4()
    later = TRACE.replace("b7ad6b7169203331", "00f067aa0ba902b7")
    shop.say("order.created", order_of(one, {product.pk: 2}), headers={"traceparent": TRACE}, correlation_id="cart-1")
    shop.wait_for(one, RESERVED)
    shop.say_cloud_event("order.created", order_of(another, {product.pk: 1}), traceparent=later, requestid="cart-2")
    shop.say("payment.failed", order_of(one), headers={"traceparent": "garbled", "requestid": "cart-3"})
    [rejected] = shop.wait_for(another, f"{REJECTED} (insufficient_stock)")
    [reserved, released] = shop.wait_for(one, RESERVED, f"{RELEASED} (payment_failed)")
    shop.say("order.created", order_of(third, {product.pk: 1}))
    [untraced] = shop.wait_for(third, RESERVED)
    assert extensions(reserved) == (TRACE, "cart-1")
    assert extensions(rejected) == (later, "cart-2")
    assert extensions(released) == (None, "cart-3")
    assert extensions(untraced) == (None, None)
    stock_events = [event for event in shop.heard() if "order_id" not in event["data"]]
    assert [event["type"] for event in stock_events][1:3] == ["inventory.out_of_stock", "inventory.back_in_stock"]
    assert {extensions(event) for event in stock_events} == {(None, None)}
