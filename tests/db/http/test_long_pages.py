"""A page of reservations ends after so many lines, and the cursor goes on, forth and back."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client
from pytest_django import Settings

from reservations import lifecycle
from reservations.requests import Item, Reserve
from tests import factories
from tests.db.http.calls import API, statements

LINES = (1, 3, 2, 4, 1, 1, 5, 1)  # of the reservations, the newest last
MAX_LINES = 4


@pytest.fixture
def ids(db: None, settings: Settings) -> list[str]:
    """The reservations, the newest first."""
    settings.RESERVATION_PAGE_MAX_LINES = MAX_LINES
    products = [factories.product({factories.SP: 100}).pk for _ in range(max(LINES))]

    def reserve(lines: int) -> UUID:
        items = tuple(Item(product, 1) for product in products[:lines])
        return lifecycle.one(
            lifecycle.reserve_many, Reserve(order_id=uuid4(), items=items, actor=factories.ACTOR)
        ).hold.id

    return [str(reserve(lines)) for lines in LINES][::-1]


def walk(api: Client, path: str, link: str) -> tuple[list[list[Any]], str]:
    """The pages from this one on, and the path of the last one."""
    pages = []
    while True:
        page = api.get(path).json()
        pages.append(page["results"])
        if page[link] is None:
            return pages, path
        path = page[link]


def ids_of(pages: list[list[Any]]) -> list[str]:
    return [row["id"] for page in pages for row in page]


def lines_of(page: list[Any]) -> list[int]:
    return [len(row["items"]) for row in page]


def test_a_page_ends_after_so_many_lines_and_the_next_one_goes_on(api: Client, ids: list[str]) -> None:
    pages, last = walk(api, f"{API}/reservations?page_size=200", "next")

    assert ids_of(pages) == ids
    assert [lines_of(page) for page in pages] == [[1], [5], [1, 1], [4], [2], [3, 1]]

    back, _ = walk(api, last, "previous")

    assert ids_of(back[::-1]) == ids
    assert all(sum(lines_of(page)) <= MAX_LINES or len(page) == 1 for page in back)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_it_also_ends_after_so_many_reservations(api: Client, ids: list[str], size: int) -> None:
    pages, last = walk(api, f"{API}/reservations?page_size={size}", "next")
    back, _ = walk(api, last, "previous")

    assert ids_of(pages) == ids == ids_of(back[::-1])
    assert max(len(page) for page in [*pages, *back]) == min(size, 2)


def test_a_page_takes_as_many_statements_as_ever(api: Client, ids: list[str]) -> None:
    assert (
        statements(api, f"{API}/reservations?page_size=1") == statements(api, f"{API}/reservations?page_size=200") == 2
    )
