"""A reservation explains itself, and is ended through the domain."""

import html
import re
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from inventory_project.foundation.messaging.models import OutboxEvent
from reservations import lifecycle
from reservations.models import Reservation, ReservationItem
from reservations.requests import Confirm, Item
from stock.models import Product, SalesBlock, StockMovement
from tests import factories
from tests.db.admin.pages import LISTS, answer, change, choose
from tests.factories import PR, RJ, SP
from warehouses.models import AllocationPolicy, PostalArea, Warehouse

pytestmark = pytest.mark.django_db

MODEL = "reservations_reservation"


def statuses() -> list[str]:
    return list(Reservation.objects.order_by("id").values_list("status", flat=True))


@pytest.fixture
def saopaulo() -> None:
    """The postal codes that begin with 01, and three warehouses whose places are known."""
    PostalArea.objects.create(
        country="BR", prefix="01", latitude=-23.5521, longitude=-46.6453, name="Sao Paulo, SP", region="southeast"
    )
    places = ((SP, -23.5505, -46.6333, 1), (RJ, -22.9035, -43.1764, 2), (PR, -25.4295, -49.2719, 1))
    for warehouse_id, latitude, longitude, priority in places:
        factories.warehouse(warehouse_id, priority=priority)
        Warehouse.objects.filter(pk=warehouse_id).update(latitude=latitude, longitude=longitude)


def explained(ana: Client, reservation_id: UUID) -> str:
    """What the page says of why these warehouses."""
    page = ana.get(change(MODEL, reservation_id)).content.decode()
    return page.partition("Why these warehouses")[2].partition("Replaces")[0]


def paragraphs(explanation: str) -> list[str]:
    """The sentences above, between and below the tables, as a person reads them."""
    return [shown_text(text) for text in re.findall(r"<p>(.*)</p>", explanation)]


def tables(explanation: str) -> list[list[list[str]]]:
    """The rows of each table below its head."""
    return [
        [[shown_text(cell) for cell in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)] for row in body.split("<tr>")[1:]]
        for body in re.findall(r"<tbody>(.*?)</tbody>", explanation, re.DOTALL)
    ]


def shown_text(markup: str) -> str:
    return html.unescape(re.sub("<[^>]+>", "", markup)).replace("\N{NO-BREAK SPACE}", " ").strip()


EVERY_OTHER = "For every region without its own policy: "
BUILT_IN = (
    "fewest parcels, then nearest (up to 50 km farther is equally near), then priority, then balance; "
    "into as few parcels as possible."
)


@pytest.mark.usefixtures("saopaulo")
def test_one_warehouse_is_explained_by_where_the_order_goes_the_policy_and_what_each_preference_said(
    ana: Client,
) -> None:
    product = factories.product({SP: 10, RJ: 20, PR: 1})
    factories.hold(product.pk, 1, SP)
    held = factories.hold(product.pk, 2, delivery_postal_code="01310-100")
    explanation = explained(ana, held.id)
    assert paragraphs(explanation) == [
        f"{SP} (1 km away) serves the order: it is the nearest (before {RJ}).",
        "Delivery: Sao Paulo, SP (BR 01, region southeast). "
        "The code's beginning is known, which is a town or a part of one.",
        f"Policy: {EVERY_OTHER}{BUILT_IN}",
        "The preferences in their order, each applied to the choices left before it (warehouses or sets of them):",
    ]
    considered, said = tables(explanation)
    assert considered == [
        [str(product), SP, "southeast", "1", "1.2 km", "9", "10.0%", "2", "-"],
        [str(product), PR, "southeast", "1", "338.0 km", "1", "0.0%", "-", "not enough for the whole line: 1 of 2"],
        [str(product), RJ, "southeast", "2", "361.7 km", "20", "0.0%", "-", "another is nearer"],
    ]
    assert said == [["fewest parcels", "1", "2"], ["nearest", "1.2 km", "1"]]


@pytest.mark.usefixtures("saopaulo")
def test_an_order_from_three_warehouses_says_what_each_gave(ana: Client) -> None:
    product = factories.product({SP: 10, RJ: 20, PR: 30})
    explanation = explained(ana, factories.hold(product.pk, 55, delivery_postal_code="01310-100").id)
    assert paragraphs(explanation)[0].endswith("A line comes from several warehouses.")
    [considered] = tables(explanation)
    assert [(row[1], *row[5:]) for row in considered] == [
        (SP, "10", "0.0%", "10", "not enough for the whole line: 10 of 55"),
        (PR, "30", "0.0%", "30", "not enough for the whole line: 30 of 55"),
        (RJ, "20", "0.0%", "15", "not enough for the whole line: 20 of 55"),
    ]


@pytest.mark.usefixtures("saopaulo")
def test_a_named_warehouse_a_forbidden_split_and_what_the_other_lines_need_are_told(ana: Client) -> None:
    named, free = factories.product({SP: 5, RJ: 5}), factories.product({SP: 5, RJ: 5, PR: 5})
    only = factories.product({SP: 5, PR: 1})
    items = (Item(named.pk, 1, RJ), Item(free.pk, 2, None), Item(only.pk, 2, None))
    request = factories.reserve_request(named.pk, items=items, delivery_postal_code="01310-100", allow_split=False)
    held = lifecycle.one(lifecycle.reserve_many, request).hold
    explanation = explained(ana, held.id)
    assert paragraphs(explanation)[0].startswith(f"Requested by the caller: {RJ}. {SP} (1 km away) serves the rest: ")
    assert f"Policy: {EVERY_OTHER}{BUILT_IN} This order forbade splitting." in paragraphs(explanation)
    considered = tables(explanation)[0]
    assert sorted((row[0], row[1], *row[-2:]) for row in considered) == sorted(
        [
            (str(named), SP, "-", "the line named another"),
            (str(named), RJ, "1", "-"),
            (str(free), SP, "2", "-"),
            (str(free), PR, "-", "not enough for the other lines"),
            (str(free), RJ, "-", "not enough for the other lines"),
            (str(only), SP, "2", "-"),
            (str(only), PR, "-", "not enough for the whole line: 1 of 2"),
            (str(only), RJ, "-", "not enough for the whole line: 0 of 2"),
        ]
    )


@pytest.mark.usefixtures("saopaulo")
def test_without_a_postal_code_the_notes_say_what_was_done_without(ana: Client) -> None:
    Warehouse.objects.filter(pk=RJ).update(served_regions=["southeast"])
    explanation = explained(ana, factories.hold(factories.product({SP: 5, RJ: 5, PR: 5}).pk, 2).id)
    sentence, where, *_ = paragraphs(explanation)
    assert sentence.endswith(
        "No postal code was given, so distance did not count. "
        "The delivery region is not known, so no warehouse was ruled out for not serving it."
    )
    assert where == "Delivery: Not known."
    considered, said = tables(explanation)
    assert [(row[1], row[4], row[-1]) for row in considered] == [
        (PR, "-", "-"),
        (SP, "-", "equal in everything, and the id decided"),
        (RJ, "-", "another has a lower priority number"),
    ]
    assert said[1] == ["nearest", "not known", "3"]


@pytest.mark.usefixtures("saopaulo")
@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"preferences": ["balance"], "split": "never"}, "balance; never into several parcels."),
        (
            {"preferences": ["priority", "nearest"], "tolerance_km": 0.5, "split": "by_line"},
            "priority, then nearest (up to 0.5 km farther is equally near); each line whole from one warehouse.",
        ),
        (
            {"preferences": ["nearest"], "tolerance_km": 1500, "split": "at_most", "most_parcels": 2},
            "nearest (up to 1,500 km farther is equally near); into 2 parcels at most.",
        ),
    ],
)
def test_the_policy_of_a_region_is_told_in_words(ana: Client, policy: dict[str, Any], told: str) -> None:
    AllocationPolicy.objects.create(region="southeast", **policy)
    Warehouse.objects.filter(pk=PR).update(served_regions=["south"])
    product = factories.product({SP: 5, RJ: 5, PR: 5})
    explanation = explained(ana, factories.hold(product.pk, 2, delivery_postal_code="01310-100").id)
    assert f"Policy: For southeast: {told}" in paragraphs(explanation)
    assert tables(explanation)[0][-1] == [
        *(str(product), PR, "-", "-", "-", "-", "-", "-"),
        "does not serve the region",
    ]


def test_a_preference_that_decided_is_told_of_each_that_lost_by_it(ana: Client) -> None:
    product = factories.product({SP: 10, RJ: 10})
    factories.hold(product.pk, 1, RJ)
    considered, said = tables(explained(ana, factories.hold(product.pk, 2).id))
    assert [(row[1], row[-1]) for row in considered] == [
        (RJ, "another warehouse has sold a smaller share of its stock"),
        (SP, "-"),
    ]
    assert said[-1] == ["balance", "0.0%", "1"]


def test_what_the_first_version_kept_is_shown_as_far_as_it_goes(ana: Client) -> None:
    product = factories.product({SP: 12, RJ: 40})
    held = factories.hold(product.pk, 1)
    parts = [{"product_id": str(product.pk), "warehouse_id": key, "quantity": n} for key, n in ((SP, 12), (RJ, 8))]
    Reservation.objects.filter(pk=held.id).update(
        allocation={
            "version": 1,
            "strategy": "split_line",
            "tie_break": "fewest_warehouses",
            "candidates": [
                {"warehouse_id": key, "region": "southeast", "priority": 1, "available": {str(product.pk): units}}
                for key, units in ((RJ, 15), (SP, 12))
            ],
            "candidates_left_out": 7,
            "rejected": [
                {
                    "warehouse_id": SP,
                    "product_id": str(product.pk),
                    "reason": "insufficient",
                    "requested": 20,
                    "available": 12,
                },
                {"warehouse_id": PR, "product_id": str(product.pk), "reason": "closed"},
            ],
            "chosen": [{"strategy": "split_line", "tie_break": "fewest_warehouses", "parts": parts}],
        }
    )
    explanation = explained(ana, held.id)
    assert paragraphs(explanation) == [
        f"{SP} and {RJ} serve the order: it makes the fewest parcels. A line comes from several warehouses.",
        "Less preferred warehouses that are not shown: 7.",
    ]
    assert tables(explanation) == [
        [
            [str(product), RJ, "southeast", "1", "-", "15", "-", "8", "-"],
            [str(product), SP, "southeast", "1", "-", "12", "-", "12", "not enough for the whole line: 12 of 20"],
            [str(product), PR, "-", "-", "-", "-", "-", "-", "closed"],
        ]
    ]


def test_what_a_newer_version_kept_is_no_error(ana: Client) -> None:
    held = factories.hold(factories.product({SP: 5}).pk)
    Reservation.objects.filter(pk=held.id).update(allocation={"version": 3, "of": "another form"})
    explanation = explained(ana, held.id)
    assert paragraphs(explanation) == [
        "Another version of the service wrote this record, in a form that this version cannot read."
    ]
    assert tables(explanation) == []


def test_names_are_shown_as_text_whatever_is_in_them(ana: Client) -> None:
    bad = "<script>alert(1)</script>"
    PostalArea.objects.create(country="BR", prefix="01", latitude=0, longitude=0, name=bad, region=bad)
    AllocationPolicy.objects.create(region=bad, preferences=["priority"], split="never")
    factories.warehouse(SP, region=bad)
    product = factories.product({SP: 5})
    Product.objects.filter(pk=product.pk).update(name=bad)
    held = factories.hold(product.pk, delivery_postal_code="01310-100")
    explanation = explained(ana, held.id)
    assert ("<script" in explanation, explanation.count("&lt;script&gt;")) == (False, 5)


def test_an_explanation_costs_the_same_number_of_statements_however_long_it_is(ana: Client) -> None:
    def cost(reservation_id: UUID) -> int:
        with CaptureQueriesContext(connection) as captured:
            explained(ana, reservation_id)
        return len(captured)

    few = cost(factories.hold(factories.product({SP: 5}).pk).id)
    products = [factories.product({SP: 5, RJ: 5, PR: 5}) for _ in range(6)]
    items = tuple(Item(product.pk, 2, None) for product in products)
    request = factories.reserve_request(products[0].pk, items=items)
    assert cost(lifecycle.one(lifecycle.reserve_many, request).hold.id) == few


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
        ("expire_now", "EXPIRED", "expired", "Reservations expired: 2."),
        ("cancel_now", "CANCELLED", "cancelled", "Reservations cancelled: 2."),
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
        "Reservations cancelled: 1.",
        *(f"Reservation {id_} is CONFIRMED." for id_ in confirmed[:10]),
        "2 more were refused.",
    ]
    assert statuses() == ["CONFIRMED"] * 12 + ["CANCELLED"]


def test_reservations_that_are_not_there_are_left_out(ana: Client) -> None:
    told = answer(ana, MODEL, "cancel_now", [uuid4()])
    assert told == ["Reservations cancelled: 0."]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("model", "action", "told"),
    [
        (MODEL, "cancel_now", "Reservations cancelled: 0."),
        ("stock_product", "block_sales", "Products blocked: 0."),
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
            "Another transaction keeps what this request needs locked; nothing was changed.",
        ]
    assert (statuses(), SalesBlock.objects.count()) == (["ACTIVE"], 0)
