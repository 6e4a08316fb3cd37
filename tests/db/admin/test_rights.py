"""The books are only read, whoever asks; who may only look changes nothing else either."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from inventory_project.foundation.messaging.models import InboxMessage
from stock.models import Product, SalesBlock, StockLevel
from tests import factories
from tests.db.admin.pages import LISTS, change, choose, told
from tests.db.admin.test_lists import MODELS
from tests.factories import SP

pytestmark = pytest.mark.django_db

BOOKS = [model for model in LISTS if model != "stock_product"]


@pytest.fixture
def rows(db: None) -> dict[str, Any]:
    """A row of each model."""
    product = factories.product({SP: 5})
    held = factories.hold(product.pk)
    InboxMessage.objects.create(source="/shop", message_id="1", type="order.created", order_id=held.order_id)
    SalesBlock.objects.create(product=product, reason="x", blocked_by="x", blocked_at=product.created_at)
    return {name: model._default_manager.latest("pk") for name, model in MODELS.items()}


@pytest.mark.parametrize("model", BOOKS)
def test_nobody_adds_changes_or_deletes_the_books(ana: Client, rows: dict[str, Any], model: str) -> None:
    before = list(MODELS[model]._default_manager.order_by("pk").values())
    page = ana.get(change(model, rows[model].pk)).content.decode()
    assert [name for name in ("_save", "deletelink") if name in page] == []
    everything = {field.name: "7" for field in MODELS[model]._meta.fields}
    assert ana.get(f"{LISTS[model]}add/").status_code == 403
    assert ana.post(f"{LISTS[model]}add/", everything).status_code == 403
    assert ana.post(change(model, rows[model].pk), everything).status_code == 403
    assert ana.post(change(model, rows[model].pk).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
    choose(ana, model, "delete_selected", [rows[model].pk], post="yes")
    assert list(MODELS[model]._default_manager.order_by("pk").values()) == before


def test_a_product_cannot_be_deleted(ana: Client, rows: dict[str, Any]) -> None:
    pk = rows["stock_product"].pk
    assert ana.post(change("stock_product", pk).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
    assert told(ana, choose(ana, "stock_product", "delete_selected", [pk], post="yes")) == ["No action selected."]
    assert Product.objects.count() == 1


def test_saving_a_product_writes_no_quantity_even_if_the_form_has_one(ana: Client, rows: dict[str, Any]) -> None:
    level = rows["stock_stocklevel"]
    form = {
        "sku": "MUG-1",
        "name": "A mug",
        "low_stock_threshold": "",
        "available": "999",
        "levels-TOTAL_FORMS": "2",
        "levels-INITIAL_FORMS": "1",
        "levels-0-id": str(level.pk),
        "levels-0-available": "999",
        "levels-0-DELETE": "on",
        "levels-1-warehouse": SP,
        "levels-1-available": "999",
        "sales_blocks-TOTAL_FORMS": "0",
        "sales_blocks-INITIAL_FORMS": "0",
    }
    response = ana.post(change("stock_product", level.product_id), form)
    assert response.status_code == 302
    assert Product.objects.get().name == "A mug"
    assert list(StockLevel.objects.values_list("pk", "available")) == [(level.pk, level.available)]


@pytest.mark.parametrize(
    ("model", "action"),
    [
        ("stock_product", "block_sales"),
        ("stock_product", "unblock_sales"),
        ("reservations_reservation", "expire_now"),
        ("reservations_reservation", "cancel_now"),
    ],
)
def test_who_may_only_look_cannot_act(rui: Client, rows: dict[str, Any], model: str, action: str) -> None:
    before = list(MODELS[model]._default_manager.values())
    page = rui.get(LISTS[model])
    assert (page.status_code, action in page.content.decode()) == (200, False)
    choose(rui, model, action, [rows[model].pk], is_answered="yes", reason="because")
    assert list(MODELS[model]._default_manager.values()) == before


def test_who_may_only_look_cannot_save_a_product(rui: Client, rows: dict[str, Any]) -> None:
    form = {"id": "5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1001", "sku": "MUG-1", "name": "A mug"}
    assert rui.get(change("stock_product", rows["stock_product"].pk)).status_code == 200
    assert rui.post(change("stock_product", rows["stock_product"].pk), form).status_code == 403
    assert rui.post(f"{LISTS['stock_product']}add/", form).status_code == 403
    assert Product.objects.get().name == "A product"


def test_what_one_may_not_view_is_not_shown(rui: Client, log_in: Callable[..., Client], rows: dict[str, Any]) -> None:
    hidden = [model for model in LISTS if rui.get(LISTS[model]).status_code == 403]
    assert hidden == [
        *("stock_salesblock", "stock_stockmovement", "stock_stockdocument"),
        *("messaging_outboxevent", "messaging_inboxmessage"),
    ]
    page = rui.get(change("stock_product", rows["stock_product"].pk)).content.decode()
    assert ("levels-group" in page, "sales_blocks-group" in page) == (True, False)
    nobody = log_in("eva")
    assert [nobody.get(address).status_code for address in LISTS.values()] == [403] * len(LISTS)


@pytest.mark.parametrize("right", ["change_product", "change_reservation"])
def test_the_right_to_change_brings_the_actions_and_no_others(log_in: Callable[..., Client], right: str) -> None:
    factories.hold(factories.product({SP: 5}).pk)
    clerk = log_in("eva", "view_product", "view_reservation", right)
    offered = {
        action
        for model in ("stock_product", "reservations_reservation")
        for action in ("block_sales", "unblock_sales", "expire_now", "cancel_now", "delete_selected")
        if f'value="{action}"' in clerk.get(LISTS[model]).content.decode()
    }
    expected = {
        "change_product": {"block_sales", "unblock_sales"},
        "change_reservation": {"expire_now", "cancel_now"},
    }
    assert offered == expected[right]


def test_a_stranger_is_asked_to_log_in(client: Client) -> None:
    for address in LISTS.values():
        response = client.get(address)
        assert (response.status_code, response["Location"].partition("?")[0]) == (302, "/admin/login/")
