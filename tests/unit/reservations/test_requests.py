"""What counts as the same request, and what makes no sense whatever the stock."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from reservations import holds, reserving
from reservations.requests import Cancel, Confirm, Item, Reserve, is_same_content, merged, weight

A, B = UUID(int=1), UUID(int=2)
SP, RJ = "wh-sp-001", "wh-rj-001"


def test_equal_lines_are_added_up_in_the_order_of_first_mention() -> None:
    items = [Item(B, 1), Item(A, 2), Item(B, 3), Item(B, 4, SP)]
    assert merged(items) == (Item(B, 4), Item(A, 2), Item(B, 4, SP))


def test_a_line_that_names_a_warehouse_is_not_one_that_names_none() -> None:
    assert merged([Item(A, 1, SP), Item(A, 1), Item(A, 1, RJ)]) == (Item(A, 1, SP), Item(A, 1), Item(A, 1, RJ))


def test_a_request_weighs_as_much_as_the_lines_that_it_names() -> None:
    three = (Item(A, 1), Item(A, 1, SP), Item(B, 2))
    order_id = reservation_id = uuid4()
    reserve = Reserve(order_id=order_id, items=three, actor="test")
    confirm = Confirm(reservation_id=reservation_id, items=three[:2], actor="test")
    assert [weight(reserve), weight(confirm), weight(replace(confirm, items=None))] == [3, 2, 1]
    assert weight(Cancel(reservation_id=reservation_id, actor="test")) == 1


@pytest.mark.parametrize(
    ("items", "is_same"),
    [
        ([Item(A, 5), Item(B, 4)], True),
        ([Item(B, 4), Item(A, 5)], True),
        ([Item(A, 2), Item(B, 4), Item(A, 3)], True),
        ([Item(A, 3, SP), Item(A, 2, RJ), Item(B, 4, SP)], True),
        ([Item(A, 2, SP), Item(A, 1, SP), Item(A, 2), Item(B, 4)], True),
        ([Item(A, 1, RJ), Item(A, 4), Item(B, 4)], True),
        ([Item(A, 4), Item(B, 4)], False),
        ([Item(A, 6), Item(B, 4)], False),
        ([Item(A, 5)], False),
        ([Item(A, 5), Item(B, 4), Item(UUID(int=3), 1)], False),
        ([Item(A, 4, SP), Item(A, 1), Item(B, 4)], False),
        ([Item(A, 2, SP), Item(A, 2, SP), Item(A, 1), Item(B, 4)], False),
        ([Item(A, 5), Item(B, 4, RJ)], False),
        ([], False),
    ],
)
def test_the_same_content_is_equal_totals_with_each_named_warehouse_where_the_hold_stands(
    items: list[Item], is_same: bool
) -> None:
    parts = [
        (holds.new_line(product_id=product_id, warehouse_id=warehouse_id, quantity=units), units)
        for product_id, warehouse_id, units in ((A, SP, 3), (A, RJ, 2), (B, SP, 4))
    ]
    assert is_same_content(parts, items) is is_same


def test_a_part_of_nothing_is_not_compared() -> None:
    line = holds.new_line(product_id=A, warehouse_id=SP, quantity=3)
    assert is_same_content([(line, 0)], [])
    assert not is_same_content([(line, 0)], [Item(A, 3)])


def request(items: tuple[Item, ...] = (Item(A, 1),), **options: Any) -> Reserve:
    return Reserve(order_id=uuid4(), items=items, actor="test", **options)


@pytest.fixture
def _limits(settings: Settings) -> None:
    settings.RESERVATION_MAX_LINES = 3
    settings.RESERVATION_MAX_QUANTITY = 10
    settings.RESERVATION_TTL_MAX_MINUTES = 60


@pytest.mark.usefixtures("_limits")
@pytest.mark.parametrize(
    "sound",
    [
        request((Item(A, 10),)),
        request((Item(A, 1), Item(B, 1), Item(UUID(int=3), 1))),
        request((Item(A, 10, SP), Item(A, 10, RJ), Item(A, 10))),
        request(ttl_minutes=1),
        request(ttl_minutes=60),
    ],
)
def test_a_request_within_the_limits_is_sound(sound: Reserve) -> None:
    assert reserving.check(sound) is None


@pytest.mark.usefixtures("_limits")
@pytest.mark.parametrize(
    ("senseless", "detail"),
    [
        (request(()), "A reservation has 1 to 3 lines."),
        (request((Item(A, 1),) * 4), "A reservation has 1 to 3 lines."),
        (
            request((Item(B, 1), Item(A, 11))),
            f"The quantity of product {A} must be 1 to 10, equal lines added up; it is 11.",
        ),
        (
            request((Item(A, 6), Item(A, 5))),
            f"The quantity of product {A} must be 1 to 10, equal lines added up; it is 11.",
        ),
        (request((Item(A, 0),)), f"The quantity of product {A} must be 1 to 10, equal lines added up; it is 0."),
        (request((Item(A, -1),)), f"The quantity of product {A} must be 1 to 10, equal lines added up; it is -1."),
        (request(ttl_minutes=0), "ttl_minutes must be 1 to 60, not 0."),
        (request(ttl_minutes=61), "ttl_minutes must be 1 to 60, not 61."),
    ],
)
def test_a_request_beyond_a_limit_is_invalid_and_says_which(senseless: Reserve, detail: str) -> None:
    refusal = reserving.check(senseless)
    assert refusal is not None
    assert (refusal.code, refusal.detail) == ("invalid", detail)
