"""Products are made and corrected, and their sales blocked, through the domain."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from inventory_project.foundation.errors import Invalid
from stock import blocking, catalogue
from stock.admin import ProductAdmin
from stock.models import Product, SalesBlock, StockLevel
from tests import factories
from tests.db.admin.pages import LISTS, answer, change, choose, hidden_fields, told
from tests.factories import RJ, SP

pytestmark = pytest.mark.django_db

ADD = f"{LISTS['stock_product']}add/"
MODEL = "stock_product"
ID = UUID("5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1001")
FORM = {"id": str(ID), "sku": "MUG-1", "name": "A mug", "low_stock_threshold": ""}


def edit(client: Client, product: Product, **fields: str) -> Any:
    """Open the product's page, fill in fields and save."""
    address = change(MODEL, product.pk)
    return client.post(address, {**hidden_fields(client.get(address)), **FORM, "sku": product.sku, **fields})


def blocks() -> list[tuple[UUID, str, str, str, str]]:
    fields = ("product_id", "reason", "blocked_by", "lifted_reason", "lifted_by")
    return list(SalesBlock.objects.order_by("id").values_list(*fields))


# --- making and correcting -----------------------------------------------------------------------------------------


def test_a_product_is_made_with_its_id(ana: Client) -> None:
    response = ana.post(ADD, {**FORM, "low_stock_threshold": "7"})
    assert (response.status_code, response["Location"]) == (302, LISTS[MODEL])
    made = Product.objects.get()
    assert (made.pk, made.sku, made.name, made.low_stock_threshold) == (ID, "MUG-1", "A mug", 7)


def test_the_form_for_a_new_product_brings_a_new_id(ana: Client) -> None:
    ids = {UUID(ana.get(ADD).context["adminform"].form["id"].value()) for _ in range(2)}
    assert [id_.version for id_ in ids] == [4, 4]


def test_a_changed_threshold_reaches_the_stock_levels(ana: Client) -> None:
    product = factories.product({SP: 8})
    version = StockLevel.objects.get().version
    assert edit(ana, product, low_stock_threshold="5", name="A cup").status_code == 302
    product.refresh_from_db()
    assert (product.name, product.low_stock_threshold) == ("A cup", 5)
    level = StockLevel.objects.get()
    assert (level.low_stock_threshold, level.is_low, level.version) == (5, False, version + 1)


def test_the_id_and_the_block_of_a_product_cannot_be_changed(ana: Client) -> None:
    product = factories.product()
    assert edit(ana, product, id=str(uuid4()), is_blocked="on").status_code == 302
    assert list(Product.objects.values_list("pk", "is_blocked", "name")) == [(product.pk, False, "A mug")]


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"sku": "TAKEN"}, "sku", "Product with this SKU already exists."),
        ({"low_stock_threshold": "-1"}, "low_stock_threshold", "greater than or equal to 0"),
        ({"low_stock_threshold": "1000001"}, "low_stock_threshold", "less than or equal to 1000000"),
        ({"low_stock_threshold": "a few"}, "low_stock_threshold", "Enter a whole number."),
        ({"name": " "}, "name", "This field is required."),
        ({"id": "1"}, "id", "Enter a valid UUID."),
        ({"id": ""}, "id", "This field is required."),
        ({"id": "00000000-0000-4000-8000-000000000001"}, "id", "Product with this Id already exists."),
    ],
)
def test_a_mistake_is_a_form_error_and_changes_nothing(
    ana: Client, fields: dict[str, str], field: str, sentence: str
) -> None:
    taken = UUID("00000000-0000-4000-8000-000000000001")
    catalogue.put(catalogue.ProductRequest(product_id=taken, sku="TAKEN", name="Another"))
    before = list(Product.objects.values())
    response = ana.post(ADD, {**FORM, **fields})
    assert response.status_code == 200
    assert sentence in response.context["adminform"].form.errors[field][0]
    assert list(Product.objects.values()) == before


def test_an_sku_taken_while_the_form_was_checked_is_told(ana: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model = ProductAdmin.save_model

    def somebody_is_faster(*args: Any, **kwargs: Any) -> None:
        catalogue.put(catalogue.ProductRequest(product_id=uuid4(), sku="MUG-1", name="Another"))
        save_model(*args, **kwargs)

    monkeypatch.setattr(ProductAdmin, "save_model", somebody_is_faster)
    response = ana.post(ADD, FORM)
    assert (response.status_code, response["Location"]) == (302, ADD)
    assert told(ana, response) == ["Another product has the SKU 'MUG-1'. Nothing was changed."]
    assert not Product.objects.filter(pk=ID).exists()


def test_a_script_in_a_name_stays_text(ana: Client) -> None:
    script = "<script>alert(1)</script>"
    catalogue.put(catalogue.ProductRequest(product_id=ID, sku="<b>MUG", name=script))
    factories.receive(ID, SP, 5)
    held = factories.hold(ID, 1)
    pages = [
        *(ana.get(LISTS[model]) for model in LISTS),
        ana.get(change(MODEL, ID)),
        ana.get(change("reservations_reservation", held.id)),
        choose(ana, MODEL, "block_sales", [ID]),
    ]
    for page in pages:
        assert page.status_code == 200
        assert script not in page.content.decode()
        assert "<b>MUG" not in page.content.decode()
    assert "&lt;b&gt;MUG &lt;script&gt;" in pages[-1].content.decode()


# --- blocking sales ------------------------------------------------------------------------------------------------


def test_blocking_asks_for_a_reason_first(ana: Client) -> None:
    product = factories.product({SP: 5})
    for fields in ({}, {"is_answered": "yes"}, {"is_answered": "yes", "reason": "  "}):
        page = choose(ana, MODEL, "block_sales", [product.pk], **fields)
        assert (page.status_code, b'name="reason"' in page.content) == (200, True)
        assert str(product).encode() in page.content
    assert page.context["form"].errors == {"reason": ["This field is required."]}
    assert choose(ana, MODEL, "block_sales", [product.pk], is_answered="yes", reason="x" * 501).status_code == 200
    assert blocks() == []
    assert not StockLevel.objects.filter(is_blocked=True).exists()


def test_blocking_goes_through_the_domain(ana: Client) -> None:
    chosen, other = factories.product({SP: 5, RJ: 5}), factories.product({SP: 5})
    messages = answer(ana, MODEL, "block_sales", [chosen.pk], reason="recall 17")
    assert messages == ["Products blocked: 1."]
    assert blocks() == [(chosen.pk, "recall 17", "staff:ana", "", "")]
    assert list(Product.objects.filter(is_blocked=True)) == [chosen]
    flags = StockLevel.objects.order_by("warehouse_id").values_list("product_id", "is_blocked")
    assert sorted(flags) == sorted([(chosen.pk, True), (chosen.pk, True), (other.pk, False)])


def test_blocking_twice_changes_nothing_and_another_reason_is_told_of_the_first(ana: Client) -> None:
    product = factories.product({SP: 5})
    for _ in range(2):
        messages = answer(ana, MODEL, "block_sales", [product.pk], reason="recall 17")
        assert messages == ["Products blocked: 1."]
    messages = answer(ana, MODEL, "block_sales", [product.pk], reason="price is wrong")
    assert messages == [
        "Products blocked: 0.",
        f"{product} was blocked before by staff:ana: recall 17",
    ]
    assert blocks() == [(product.pk, "recall 17", "staff:ana", "", "")]


def test_what_the_domain_calls_invalid_is_a_form_error(ana: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    product = factories.product()

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise Invalid("This is no reason.")

    monkeypatch.setattr(blocking, "block_product", refuse)
    page = choose(ana, MODEL, "block_sales", [product.pk], is_answered="yes", reason="x")
    assert (page.status_code, page.context["form"].non_field_errors()) == (200, ["This is no reason."])
    assert "This is no reason." in page.content.decode()


def test_unblocking_keeps_the_history(ana: Client) -> None:
    product = factories.product({SP: 5})
    answer(ana, MODEL, "block_sales", [product.pk], reason="recall 17")
    messages = answer(ana, MODEL, "unblock_sales", [product.pk], reason="all checked")
    assert messages == ["Products unblocked: 1."]
    assert blocks() == [(product.pk, "recall 17", "staff:ana", "all checked", "staff:ana")]
    assert not StockLevel.objects.filter(is_blocked=True).exists()


def test_unblocking_what_was_not_blocked_says_so_and_is_not_counted(ana: Client) -> None:
    blocked, other = factories.product(), factories.product()
    blocking.block_product(blocked.pk, reason="recall 17", actor="test")
    messages = answer(ana, MODEL, "unblock_sales", [blocked.pk, other.pk], reason="all checked")
    assert messages == ["Products unblocked: 1.", f"{other} was not blocked."]
    assert blocks() == [(blocked.pk, "recall 17", "test", "all checked", "staff:ana")]


def test_an_answer_counts_though_the_filtered_list_no_longer_shows_the_product(ana: Client) -> None:
    product = factories.product({SP: 5})
    address = f"{LISTS[MODEL]}?is_blocked__exact=0"
    choice = {
        "action": "block_sales",
        "_selected_action": [str(product.pk)],
        "is_answered": "yes",
        "reason": "recall 17",
    }
    for _ in range(2):
        assert told(ana, ana.post(address, choice)) == ["Products blocked: 1."]
    assert len(blocks()) == 1


def test_an_action_takes_five_hundred_rows_at_most(ana: Client) -> None:
    Product.objects.bulk_create(Product(pk=uuid4(), sku=f"SKU-{n}", name="A product") for n in range(501))
    pks = [str(pk) for pk in Product.objects.values_list("pk", flat=True)]
    everything = {"action": "block_sales", "select_across": "1", "_selected_action": pks[:1]}
    refused = ["Select 500 rows at most; nothing was changed."]
    assert told(ana, ana.post(LISTS[MODEL], everything)) == refused
    assert answer(ana, MODEL, "block_sales", pks, reason="recall 17") == refused
    assert choose(ana, MODEL, "block_sales", pks[:500]).content.count(b'name="_selected_action"') == 500
    assert blocks() == []


@pytest.mark.parametrize("selected", [[], ["1"], ["' OR 1=1"]])
def test_a_selection_of_nothing_is_refused(ana: Client, selected: list[str]) -> None:
    factories.product()
    response = choose(ana, MODEL, "block_sales", selected, is_answered="yes", reason="recall 17")
    assert (response.status_code, response["Location"], len(told(ana, response))) == (302, LISTS[MODEL], 1)
    assert blocks() == []


def test_a_look_never_changes_anything(ana: Client) -> None:
    product = factories.product()
    query = {"action": "block_sales", "_selected_action": str(product.pk), "is_answered": "yes", "reason": "x"}
    assert ana.get(LISTS[MODEL], query).status_code in (200, 302)
    assert blocks() == []


def test_a_long_user_name_still_fits_the_books(log_in: Any) -> None:
    product = factories.product()
    answer(log_in("a" * 150, "*"), MODEL, "block_sales", [product.pk], reason="recall 17")
    assert blocks() == [(product.pk, "recall 17", f"staff:{'a' * 144}", "", "")]
