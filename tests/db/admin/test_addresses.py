"""Whatever stands in an address of the admin, the answer is a page. The pages are those that are registered."""

import re
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import pytest
from django.contrib import admin
from django.db import models
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse
from django.urls.resolvers import RegexPattern

from stock.models import Product, StockMovement
from tests import factories
from tests.db.admin.pages import LISTS, change

pytestmark = pytest.mark.django_db(transaction=True)  # as in the service: an error ends one statement only

REGISTERED: dict[str, type[models.Model]] = {
    model._meta.label_lower: model for model in sorted(admin.site._registry, key=lambda model: model._meta.label)
}
REFUSED_LOOKUPS = (
    "regex",
    "iregex",
    "contains",
    "startswith",
    "year",
    "range",
    "in",
    "gt",
    "year__gte",
    "date__lt",
    "sku__exact",
)
ALLOWED_LOOKUPS = ("", "__exact", "__isnull", "__gte", "__lt")
NASTY = (
    *("(", "'", "%FF", "-1", "1_0", "9" * 25, "1e400", "nan", "None", "%F0%9F%93%A6", "%0A", "..", "x" * 5_000),
    *("0001-01-01T00:00:00%2B14:00", "9999-12-31%2023:59:59-14:00", "99999999999-01-01", "[]", "%7B%7D", "%C2%B2"),
)
WITH_NUL = ("%00", "a%00b")
NASTY_IDS = (*NASTY[::2], *WITH_NUL, "_00", "5", "add", "018f4e3a-7c1b-7d2e-9a40-3f5b6c7d8e9f")
OWN_PARAMETERS = ("q", "o", "p", "e", "all", "_popup", "_to_field", "_facets", "_changelist_filters", "next")


@pytest.fixture
def staff(log_in: Callable[..., Client]) -> Client:
    """A superuser's browser, which gets a defect as 500."""
    client = log_in("eva", "*")
    client.raise_request_exception = False
    return client


def status(client: Client, address: str) -> int:
    """The status of a page; a refusal must be one that a person can read."""
    response: Any = client.get(address)
    if response.status_code == 400:
        assert b"This address cannot be read" in response.content, address
    return int(response.status_code)


def columns(model: type[models.Model]) -> list[str]:
    return ["pk", *(field.name for field in model._meta.concrete_fields)]


def address_of_list(model: type[models.Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def test_every_app_of_ours_is_walked() -> None:
    apps = {label.partition(".")[0] for label in REGISTERED}
    assert apps >= {"access", "auth", "messaging", "reservations", "stock", "warehouses"}


@pytest.mark.parametrize("label", REGISTERED)
def test_a_nasty_parameter_of_a_list_is_answered_with_a_page(staff: Client, label: str) -> None:
    model, values = REGISTERED[label], cycle(NASTY)
    address = address_of_list(model)
    filters = [
        name for each in admin.site._registry[model].list_filter if (name := getattr(each, "parameter_name", None))
    ]
    asked = [f"{name}{lookup}" for name in columns(model) for lookup in ALLOWED_LOOKUPS]
    asked += [*filters, *OWN_PARAMETERS, "colour", "__", "__exact", "id__exact__exact", "é"]

    wrong = {
        query: found
        for name in asked
        for query in (f"{name}={next(values)}", *([] if "__" in name else [f"{name}="]))
        if (found := status(staff, f"{address}?{query}")) not in (200, 302, 400)
    }

    assert wrong == {}


@pytest.mark.parametrize("label", REGISTERED)
def test_no_list_is_filtered_by_a_lookup_that_no_page_offers(staff: Client, label: str) -> None:
    address, lookups = address_of_list(REGISTERED[label]), cycle(REFUSED_LOOKUPS)
    for name in columns(REGISTERED[label]):
        for lookup in ("regex", next(lookups), next(lookups)):
            assert status(staff, f"{address}?{name}__{lookup}=(") == 400, (name, lookup)


@pytest.mark.parametrize("label", REGISTERED)
def test_nul_in_a_parameter_is_refused_whatever_its_name(staff: Client, label: str) -> None:
    model = REGISTERED[label]
    filters = [getattr(each, "parameter_name", "x") for each in admin.site._registry[model].list_filter]
    for name in (*columns(model), *filters, *OWN_PARAMETERS, "%00"):
        assert status(staff, f"{address_of_list(model)}?{name}=a%00b") == 400, name


def pages(patterns: list[Any], prefix: str = "/admin/") -> Iterator[str]:
    """The route of each page of the admin, with {} where it names something."""
    entry: URLPattern | URLResolver
    for entry in patterns:
        if isinstance(entry.pattern, RegexPattern):
            continue  # the lists of apps, and the one that answers all other addresses
        route = prefix + re.sub("<[^>]+>", "{}", str(entry.pattern))
        if isinstance(entry, URLResolver):
            yield from pages(entry.url_patterns, route)
        else:
            yield route


PAGES = sorted(set(pages(admin.site.get_urls())))


def test_the_pages_are_found() -> None:
    assert {"/admin/", "/admin/login/", "/admin/r/{}/{}/", "/admin/autocomplete/"} <= set(PAGES)
    for model in REGISTERED.values():
        assert {address_of_list(model), f"{address_of_list(model)}{{}}/change/"} <= set(PAGES)


@pytest.mark.parametrize("page", [page for page in PAGES if "{}" in page])
def test_a_nasty_id_in_an_address_is_answered_with_a_page(staff: Client, page: str) -> None:
    wrong = {}
    for nasty in NASTY_IDS:
        found = status(staff, page.replace("{}", nasty))
        if found not in (200, 302, 301, 400, 403, 404) or (nasty in WITH_NUL and found not in (400, 404)):
            wrong[nasty] = found
    assert wrong == {}


@pytest.mark.parametrize("page", [page for page in PAGES if "{}" not in page and "dead-letters" not in page])
def test_a_nasty_query_of_a_page_is_answered_with_a_page(staff: Client, page: str) -> None:
    for query in ("x=%00", "%00", "_popup=%00", "next=%00", "name__regex=(", "id__year=99999999999"):
        assert status(staff, f"{page}?{query}") == 400, query
    for query in ("_to_field=%FF", "_changelist_filters=%25%00".replace("%00", "%2500"), "_popup=1", "user=x", "id=x"):
        assert status(staff, f"{page}?{query}") in (200, 302, 400, 403, 404, 405), query


def test_who_is_not_logged_in_learns_no_more(client: Client) -> None:
    page = client.get("/admin/stock/product/?sku=%00")
    assert (page.status_code, b"This address cannot be read" in page.content) == (400, True)
    assert b"Products" not in page.content


def test_the_links_between_the_pages_are_answered(staff: Client) -> None:
    product = factories.product({factories.SP: 8})
    factories.hold(product.pk, 2)
    page = staff.get(change("stock_product", product.pk)).content.decode()
    links = set(re.findall(r'href="(/admin/stock/stockmovement/\?[^"]+)"', page))
    assert len(links) == 2
    for link in links:
        response = staff.get(link.replace("&amp;", "&"))
        assert (response.status_code, len(response.context["cl"].result_list)) == (200, 2)
    assert StockMovement.objects.count() == 2


def test_a_search_finds_a_text_in_its_composed_form(staff: Client) -> None:
    product = factories.product()
    Product.objects.filter(pk=product.pk).update(sku="Caf\u00e9")

    response = staff.get(LISTS["stock_product"], {"q": " Cafe\u0301 "})

    assert [row.pk for row in response.context["cl"].result_list] == [product.pk]


def test_the_api_below_the_admin_keeps_its_own_answers(staff: Client) -> None:
    response = staff.post("/admin/products/%00/block-sales", {}, content_type="application/json")
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")
