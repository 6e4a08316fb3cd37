"""What a message asks for: an order is not lost for its postal code, and what was published can be said back."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from inventory_project.foundation.errors import Invalid
from inventory_project.foundation.messaging.consumer import Route
from inventory_project.foundation.messaging.envelope import Message
from inventory_project.foundation.messaging.inbox import Handled
from inventory_project.foundation.messaging.models import OutboxEvent
from reservations import handlers, lifecycle
from reservations.models import Reservation, ReservationItem
from reservations.requests import Confirm
from tests import factories
from tests.db.stock import records
from tests.factories import ACTOR, RJ, SP
from warehouses.allocation import explanation
from warehouses.models import PostalArea

pytestmark = pytest.mark.usefixtures("books")

ORDER = UUID("018f4e3a-7c1b-7d2e-9a40-000000000001")


def handle(route: Route, type_: str, data: dict[str, Any]) -> str:
    """The outcome of this message. Raises the refusal of one that is a dead letter."""
    message = Message(source="/shop", id=str(uuid4()), type=type_, data=data, extensions={}, tries=0)
    [answer] = route.handle_many([route.read(message)])
    if isinstance(answer, Handled):
        return answer.outcome
    raise answer


def created(product_id: UUID, **more: object) -> dict[str, Any]:
    return {"order_id": str(ORDER), "items": [{"product_id": str(product_id), "quantity": 2}], **more}


# --- postal codes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [None, "", "  "])
def test_an_order_without_a_postal_code_is_held_and_the_reason_says_so(code: object) -> None:
    product = factories.product({SP: 5})

    assert handle(handlers.ORDER_CREATED, "order.created", created(product.pk, delivery_postal_code=code)) == "reserved"

    reservation = Reservation.objects.get()
    assert (reservation.delivery_postal_code, reservation.allocation["notes"]) == ("", ["no_postal_code"])
    assert factories.numbers(product.pk) == (3, 2, 0)


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("N/A", "N/A"),
        ("-", "-"),
        ("<b>", "<b>"),
        ("x" * 16, "x" * 16),
        ("x" * 17, "?"),
        ("0" * 200, "?"),
        ("01310\n100", "?"),
        ("\x00", "?"),
        (1310100, "?"),
        (True, "?"),
        ([], "?"),
        ({"code": "01310-100"}, "?"),
    ],
)
def test_an_order_with_what_is_no_postal_code_is_held_and_the_reason_says_so(code: object, kept: str) -> None:
    product = factories.product({SP: 5})

    assert handle(handlers.ORDER_CREATED, "order.created", created(product.pk, delivery_postal_code=code)) == "reserved"

    reservation = Reservation.objects.get()
    assert (reservation.delivery_postal_code, reservation.allocation["notes"]) == (kept, ["unknown_postal_code"])
    assert factories.numbers(product.pk) == (3, 2, 0)


@pytest.mark.parametrize("code", ["01310-100", "01310100", "01.310-100", " 01310 100 ", "01310\u2013100", "01310/100"])
def test_whatever_separates_the_digits_of_a_postal_code_it_is_the_same_place(code: str) -> None:
    PostalArea.objects.create(
        country="BR", prefix="01", latitude=-23.5521, longitude=-46.6453, name="Sao Paulo, SP", region="southeast"
    )
    product = factories.product({SP: 5})

    handle(handlers.ORDER_CREATED, "order.created", created(product.pk, delivery_postal_code=code))

    reservation = Reservation.objects.get()
    area = explanation.explain(reservation.allocation)["delivery"]["area"]
    assert (reservation.delivery_postal_code, area) == (code.strip(), "BR 01")


@pytest.mark.parametrize("warehouse_id", [None, "", " "])
def test_a_line_whose_warehouse_is_null_or_empty_is_served_from_any(warehouse_id: object) -> None:
    product = factories.product({RJ: 5})
    data = created(product.pk)
    data["items"][0]["warehouse_id"] = warehouse_id

    assert handle(handlers.ORDER_CREATED, "order.created", data) == "reserved"

    assert ReservationItem.objects.get().warehouse_id == RJ


@pytest.mark.parametrize("warehouse_id", ["WH 1", 5, [], "x" * 65])
def test_a_warehouse_that_is_no_id_is_refused_because_goods_would_leave_from_elsewhere(warehouse_id: object) -> None:
    product = factories.product({RJ: 5})
    data = created(product.pk)
    data["items"][0]["warehouse_id"] = warehouse_id

    with records.no_trace(), pytest.raises(Invalid, match=r"^items\[0\]\.warehouse_id: "):
        handle(handlers.ORDER_CREATED, "order.created", data)


# --- what was published, said back ---------------------------------------------------------------------------------


def said_of(order_id: UUID) -> list[dict[str, Any]]:
    """The items as `inventory.reserved` has published them."""
    [event] = [row for row in OutboxEvent.objects.filter(type="inventory.reserved") if _order_of(row) == order_id]
    items: list[dict[str, Any]] = event.data["items"]
    return items


def _order_of(event: OutboxEvent) -> UUID:
    return UUID(event.data["order_id"])


@pytest.mark.parametrize("is_confirmed", [False, True])
def test_the_items_of_an_order_that_was_split_can_be_called_off_as_they_were_published(is_confirmed: bool) -> None:
    products = [factories.product({SP: 1, RJ: 1}).pk for _ in range(60)]
    items = [{"product_id": str(product_id), "quantity": 2} for product_id in products]
    handle(handlers.ORDER_CREATED, "order.created", {"order_id": str(ORDER), "items": items})
    published = said_of(ORDER)
    assert len(published) == 120
    if is_confirmed:
        reservation_id = Reservation.objects.get().id
        lifecycle.one(lifecycle.confirm_many, Confirm(reservation_id=reservation_id, actor=ACTOR))

    data = {"order_id": str(ORDER), "items": published}
    assert handle(handlers.ORDER_CANCELLED, "order.cancelled", data) == "released"

    assert {factories.numbers(product_id, place) for product_id in products for place in (SP, RJ)} == {(1, 0, 0)}


def test_an_item_of_two_full_lines_can_be_called_off_as_it_was_published() -> None:
    product = factories.product({SP: 20_000})
    line = {"product_id": str(product.pk), "quantity": 10_000}
    data = {"order_id": str(ORDER), "items": [line, line | {"warehouse_id": SP}]}
    handle(handlers.ORDER_CREATED, "order.created", data)
    published = said_of(ORDER)
    assert [item["quantity"] for item in published] == [20_000]

    data = {"order_id": str(ORDER), "items": published}
    assert handle(handlers.ORDER_CANCELLED, "order.cancelled", data) == "released"

    assert factories.numbers(product.pk) == (20_000, 0, 0)
