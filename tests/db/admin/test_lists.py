"""Every list of the admin opens, turns its page, finds and filters, and counts no further than it must."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext

from inventory_project.foundation.admin import LargeTableAdmin
from inventory_project.foundation.messaging.models import InboxMessage, OutboxEvent
from reservations import lifecycle
from reservations.holds import Hold
from reservations.models import Reservation, ReservationItem
from reservations.requests import Extend
from stock import blocking
from stock.models import Product, SalesBlock, StockDocument, StockLevel, StockMovement
from tests import factories
from tests.db.admin.pages import LISTS, change
from tests.factories import RJ, SP

pytestmark = pytest.mark.django_db

MODELS: dict[str, type[Model]] = {
    "stock_product": Product,
    "stock_salesblock": SalesBlock,
    "stock_stocklevel": StockLevel,
    "stock_stockmovement": StockMovement,
    "stock_stockdocument": StockDocument,
    "reservations_reservation": Reservation,
    "messaging_outboxevent": OutboxEvent,
    "messaging_inboxmessage": InboxMessage,
}
SEARCHES: dict[str, tuple[Callable[["Shop"], object], ...]] = {
    "stock_product": (lambda shop: shop.product.pk, lambda shop: shop.product.sku, lambda shop: shop.product.sku[:-1]),
    "stock_salesblock": (lambda shop: shop.blocked.pk, lambda shop: shop.blocked.sku),
    "stock_stocklevel": (lambda shop: shop.product.pk, lambda shop: shop.product.sku),
    "stock_stockmovement": (
        lambda shop: shop.product.pk,
        lambda shop: shop.product.sku,
        lambda shop: shop.document.reference,
        lambda shop: shop.line.pk,
        lambda shop: StockMovement.objects.latest("id").pk,
    ),
    "stock_stockdocument": (lambda shop: shop.document.reference,),
    "reservations_reservation": (
        lambda shop: shop.hold.id,
        lambda shop: shop.hold.order_id,
        lambda shop: shop.line.pk,
    ),
    "messaging_outboxevent": (lambda shop: shop.hold.id,),
    "messaging_inboxmessage": (lambda shop: shop.hold.order_id, lambda shop: f"paid {shop.hold.order_id}"),
}
FILTERS = {
    "stock_product": ("is_blocked__exact=1",),
    "stock_salesblock": ("lifted_at__isempty=1",),
    "stock_stocklevel": (
        *("is_low__exact=1", "is_blocked__exact=1", "is_closed__exact=0"),
        f"warehouse__id__exact={SP}",
    ),
    "stock_stockmovement": (
        *("kind__exact=RESERVE", "created_at__gte=2020-01-01+00%3A00%3A00%2B00%3A00"),
        f"warehouse__id__exact={SP}",
    ),
    "stock_stockdocument": ("kind__exact=RECEIPT", f"warehouse__id__exact={SP}"),
    "reservations_reservation": ("status__exact=ACTIVE", "is_live__exact=1"),
    "messaging_outboxevent": ("state=waiting", "state=published", "state=unrouted"),
    "messaging_inboxmessage": ("outcome__exact=confirmed", "type=payment.confirmed"),
}


@dataclass
class Shop:
    """Something of everything, three rows of each at least, so that two rows to a page make a second page."""

    product: Product
    blocked: Product
    hold: Hold
    line: ReservationItem
    document: StockDocument


@pytest.fixture
def shop(db: None) -> Shop:
    """Three products in two warehouses, each blocked once and held twice."""
    products = [factories.product({SP: 8, RJ: 20}) for _ in range(3)]
    for product in products:
        held = factories.hold(product.pk, 2, SP)
        lifecycle.one(lifecycle.extend_many, Extend(reservation_id=held.id, minutes=1, reference="more", actor="test"))
        blocking.block_product(product.pk, reason="recall", actor="test")
        InboxMessage.objects.create(
            source="/shop",
            message_id=f"paid {held.order_id}",
            type="payment.confirmed",
            order_id=held.order_id,
            outcome=InboxMessage.Outcome.CONFIRMED,
        )
    for event, moment in zip(OutboxEvent.objects.order_by("id")[:2], ("published_at", "unrouted_at"), strict=True):
        OutboxEvent.objects.filter(pk=event.pk).update(**{moment: held.created_at})
    for product in products[:2]:
        blocking.unblock_product(product.pk, reason="checked", actor="test")
    return Shop(
        product=products[0],
        blocked=products[2],
        hold=held,
        line=ReservationItem.objects.get(reservation=held.id),
        document=StockDocument.objects.latest("id"),
    )


def results(response: Any) -> list[Any]:
    """The rows that a list shows."""
    assert response.status_code == 200
    return list(response.context["cl"].result_list)


def test_the_admin_is_named_and_lists_every_model(ana: Client) -> None:
    page = ana.get("/admin/").content.decode()
    assert "Inventory Service" in page
    assert [model for model, address in LISTS.items() if f'href="{address}"' not in page] == []


@pytest.mark.parametrize("model", LISTS)
def test_a_list_shows_its_rows_and_turns_the_page(
    ana: Client, shop: Shop, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(admin.site.get_model_admin(MODELS[model])), "list_per_page", 2)
    every = set(MODELS[model]._default_manager.values_list("pk", flat=True))
    first, second = (results(ana.get(LISTS[model], {"p": page})) for page in (1, 2))
    assert (len(first), len(second)) == (2, min(2, len(every) - 2))
    assert len({row.pk for row in first + second} & every) == len(first) + len(second)


@pytest.mark.parametrize("model", LISTS)
def test_a_search_finds_by_what_an_index_carries(ana: Client, shop: Shop, model: str) -> None:
    for term in SEARCHES[model]:
        rows = results(ana.get(LISTS[model], {"q": f" {term(shop)} "}))
        assert 0 < len(rows) <= MODELS[model]._default_manager.count()
    assert results(ana.get(LISTS[model], {"q": "nothing like it"})) == []


@pytest.mark.parametrize("model", LISTS)
def test_filters_narrow_a_list(ana: Client, shop: Shop, model: str) -> None:
    for query in FILTERS[model]:
        assert len(results(ana.get(f"{LISTS[model]}?{query}"))) > 0


def test_filters_show_what_they_say(ana: Client, shop: Shop) -> None:
    assert results(ana.get(LISTS["stock_product"], {"is_blocked__exact": 1})) == [shop.blocked]
    low = results(ana.get(LISTS["stock_stocklevel"], {"is_low__exact": 1}))
    assert [level.warehouse_id for level in low] == [SP, SP, SP]
    assert [block.product for block in results(ana.get(LISTS["stock_salesblock"], {"lifted_at__isempty": 1}))] == [
        shop.blocked
    ]


def test_a_flag_is_a_word_and_no_icon(ana: Client, shop: Shop) -> None:
    def flags(address: str) -> set[str]:
        page = ana.get(address).content.decode()
        assert "icon-yes" not in page
        assert "icon-no" not in page
        return set(re.findall(r">(blocked|closed|low|live|-)<", page))

    level = StockLevel.objects.get(product=shop.blocked, warehouse=SP)
    blocking.close_warehouse(RJ, actor="test")
    assert flags(LISTS["stock_product"]) == {"blocked", "-"}
    assert flags(LISTS["stock_stocklevel"]) == {"blocked", "closed", "low", "-"}
    assert flags("/admin/warehouses/warehouse/") == {"closed", "-"}
    assert flags(change("stock_product", shop.blocked.pk)) == {"blocked", "closed", "low", "-"}
    assert flags(change("stock_stocklevel", level.pk)) == {"blocked", "low", "-"}
    assert flags(change("warehouses_warehouse", RJ)) == {"closed"}
    assert flags(change("reservations_reservation", shop.hold.id)) == {"live", "-"}


@pytest.mark.parametrize("model", LISTS)
def test_a_filter_that_makes_no_sense_is_left_out(ana: Client, shop: Shop, model: str) -> None:
    response = ana.get(LISTS[model], {"pk__gte": "abc", "p": "9999"})
    assert (response.status_code, response["Location"]) == (302, f"{LISTS[model]}?e=1")


@pytest.mark.parametrize("model", LISTS)
def test_every_row_has_a_page(ana: Client, shop: Shop, model: str) -> None:
    for pk in MODELS[model]._default_manager.values_list("pk", flat=True):
        assert ana.get(change(model, pk)).status_code == 200
    assert ana.get(change(model, "no-such-id")).status_code == 302


@pytest.mark.parametrize("model", LISTS)
def test_no_list_reads_a_whole_table_to_count_it_or_looks_up_row_by_row(ana: Client, shop: Shop, model: str) -> None:
    ana.get(LISTS[model])
    with CaptureQueriesContext(
        connection,
    ) as few:
        results(ana.get(LISTS[model]))
    for _ in range(5):
        held = factories.hold(factories.product({SP: 9}).pk)
        blocking.block_product(held.lines[0].product_id, reason="recall", actor="test")
    with CaptureQueriesContext(connection) as many:
        results(ana.get(LISTS[model]))
    assert len(many) == len(few)
    counts = [query["sql"] for query in many if "COUNT(" in query["sql"].upper()]
    assert [sql for sql in counts if "LIMIT 10000" not in sql] == []
    assert [query["sql"] for query in many if "DISTINCT" in query["sql"].upper()] == []


def scans_without_index(sql: str) -> list[str]:
    """The parts of the query's plan that walk through a table, or through all of an index, for want of a better one.

    Which of its ways the planner takes depends on how large the tables are, and on what earlier tests left in them. So
    it is left one way alone: a bitmap is made of what an index finds by a condition, and of nothing else. Any other
    scan is what it falls back to.
    """
    with connection.cursor() as cursor:
        for way in ("seqscan", "indexscan", "indexonlyscan", "mergejoin"):
            cursor.execute(f"SET LOCAL enable_{way} = off")
        cursor.execute(f"EXPLAIN {sql}")
        plan = [row[0] for row in cursor.fetchall()]
        for way in ("seqscan", "indexscan", "indexonlyscan", "mergejoin"):
            cursor.execute(f"SET LOCAL enable_{way} = on")
    scans = [line.strip() for line in plan if " Scan " in line]
    assert scans != []
    return [scan for scan in scans if "Bitmap" not in scan]


def searches(ana: Client, model: str, term: object) -> list[str]:
    """The queries by which a list is searched: is there any, how many, which."""
    with CaptureQueriesContext(connection) as queries:
        ana.get(LISTS[model], {"q": str(term)})
    return [query["sql"] for query in queries if f'FROM "{MODELS[model]._meta.db_table}"' in query["sql"]]


@pytest.mark.parametrize("model", LISTS)
def test_a_search_is_served_by_an_index(ana: Client, shop: Shop, model: str) -> None:
    for term in SEARCHES[model]:
        asked = searches(ana, model, term(shop))
        assert len(asked) >= 3
        assert [(sql, scans) for sql in asked if (scans := scans_without_index(sql))] == []


def test_control_without_its_index_a_search_walks_through_the_table(ana: Client, shop: Shop) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX inbox_message_by_order")

    asked = searches(ana, "messaging_inboxmessage", shop.hold.order_id)

    assert len(asked) >= 3
    assert [sql for sql in asked if not scans_without_index(sql)] == []


def test_every_model_of_the_books_is_registered_in_this_manner() -> None:
    assert [
        model for model in MODELS.values() if not isinstance(admin.site.get_model_admin(model), LargeTableAdmin)
    ] == []


def test_where_beat_may_run_its_periodic_tasks_are_shown(ana: Client) -> None:
    assert "Periodic tasks" in ana.get("/admin/").content.decode()
