"""A reservation explains itself, and is ended through the domain."""

import re
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from inventory_project.messaging.models import OutboxEvent
from reservations import lifecycle
from reservations.models import Reservation, ReservationItem
from reservations.requests import Confirm
from stock.models import SalesBlock, StockMovement
from tests import factories
from tests.db.admin.pages import LISTS, answer, change, choose
from tests.factories import RJ, SP

pytestmark = pytest.mark.django_db

MODEL = "reservations_reservation"


def statuses() -> list[str]:
    return list(Reservation.objects.order_by("id").values_list("status", flat=True))


@pytest.mark.parametrize(
    ("stock", "quantity", "warehouse_id", "sentence"),
    [
        ({SP: 5}, 2, SP, "Each line comes from the warehouse it named."),
        ({SP: 5}, 2, None, "One warehouse serves all lines that named none. There was nothing to choose between."),
        ({SP: 5, RJ: 3}, 2, None, "equal in priority, the fullest was preferred."),
        ({SP: 5, RJ: 5}, 2, None, "Those that could were equal in priority and stock, so the id decided."),
        ({SP: 5, RJ: 5}, 7, None, "No warehouse could serve a line whole, so it comes from as few as could."),
    ],
)
def test_the_allocation_is_told_in_words(
    ana: Client, stock: dict[str, int], quantity: int, warehouse_id: str | None, sentence: str
) -> None:
    held = factories.hold(factories.product(stock).pk, quantity, warehouse_id)
    assert sentence in ana.get(change(MODEL, held.id)).content.decode()


def test_the_allocation_is_shown_as_a_table(ana: Client) -> None:
    product = factories.product({SP: 5, RJ: 1})
    held = factories.hold(product.pk, 2)
    page = ana.get(change(MODEL, held.id)).content.decode()
    table = page.partition("Why these warehouses")[2].partition("</table>")[0]
    rows = [re.findall(r"<td>(.*)</td>", row) for row in table.split("<tr>")[2:]]
    assert [[re.sub("<[^>]+>", "", cell) for cell in row] for row in rows] == [
        [str(product), RJ, "southeast", "1", "1", "-", "insufficient"],
        [str(product), SP, "southeast", "1", "5", "2", "-"],
    ]


def test_times_are_in_utc_to_the_second(ana: Client) -> None:
    held = factories.hold(factories.product({SP: 5}).pk)
    page = ana.get(change(MODEL, held.id)).content.decode()
    for moment in (held.created_at, held.expires_at):
        assert f"{moment:%Y-%m-%d %H:%M:%S} UTC" in page


def test_each_line_leads_to_its_movements(ana: Client) -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 2)
    factories.hold(product.pk, 1)
    line = ReservationItem.objects.get(reservation=held.id)
    link = f"{LISTS['stock_stockmovement']}?line_id={line.pk}"
    assert f'href="{link}"' in ana.get(change(MODEL, held.id)).content.decode()
    movements = list(ana.get(link).context["cl"].result_list)
    assert [(movement.kind, movement.line_id) for movement in movements] == [("RESERVE", line.pk)]


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize(
    ("action", "status", "reason", "told"),
    [
        ("expire_now", "EXPIRED", "expired", "Reservations that are expired now: 2."),
        ("cancel_now", "CANCELLED", "cancelled", "Reservations that are cancelled now: 2."),
    ],
)
def test_selected_holds_are_released_after_a_question(
    ana: Client, action: str, status: str, reason: str, told: str
) -> None:
    product = factories.product({SP: 5})
    chosen = [factories.hold(product.pk, 2).id for _ in range(2)]
    factories.hold(product.pk, 1)
    asked = choose(ana, MODEL, action, chosen)
    assert (asked.status_code, b'name="is_answered"' in asked.content) == (200, True)
    assert statuses() == ["ACTIVE", "ACTIVE", "ACTIVE"]
    for _ in range(2):
        assert answer(ana, MODEL, action, chosen) == [told]
    assert statuses() == [status, status, "ACTIVE"]
    assert factories.numbers(product.pk) == (4, 1, 0)
    released = StockMovement.objects.filter(kind="RELEASE").values_list("actor", "reason", "available_delta")
    assert list(released) == [("staff:ana", reason, 2), ("staff:ana", reason, 2)]
    assert OutboxEvent.objects.filter(type="inventory.released").count() == 2


def test_what_cannot_be_cancelled_is_told_and_the_rest_is(ana: Client) -> None:
    product = factories.product({SP: 50})
    confirmed = [factories.hold(product.pk).id for _ in range(12)]
    lifecycle.confirm_many([Confirm(reservation_id=id_, actor="test") for id_ in confirmed])
    held = factories.hold(product.pk).id
    told = answer(ana, MODEL, "cancel_now", [*confirmed, held])
    assert told == [
        "Reservations that are cancelled now: 1.",
        *(f"Reservation {id_} is CONFIRMED." for id_ in confirmed[:10]),
        "Refused besides: 2.",
    ]
    assert statuses() == ["CONFIRMED"] * 12 + ["CANCELLED"]


def test_reservations_that_are_not_there_are_left_out(ana: Client) -> None:
    told = answer(ana, MODEL, "cancel_now", [uuid4()])
    assert told == ["Reservations that are cancelled now: 0."]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("model", "action", "told"),
    [
        (MODEL, "cancel_now", "Reservations that are cancelled now: 0."),
        ("stock_product", "block_sales", "Products that are blocked now: 0."),
    ],
)
def test_a_row_that_somebody_else_holds_is_told(ana: Client, model: str, action: str, told: str) -> None:
    held = factories.hold(factories.product({SP: 5}).pk)
    chosen = {MODEL: held.id, "stock_product": held.lines[0].product_id}[model]
    table = {MODEL: "reservation", "stock_product": "stock_product"}[model]
    with psycopg.connect(settings.DATABASE_URL, dbname=connection.settings_dict["NAME"]) as another:
        another.execute(f"SELECT FROM {table} WHERE id = %s FOR UPDATE", [chosen])  # a name of ours
        assert answer(ana, model, action, [chosen], reason="recall 17") == [
            told,
            "The database is too busy; nothing was changed.",
        ]
    assert (statuses(), SalesBlock.objects.count()) == (["ACTIVE"], 0)
