"""What an API token may hold at a time, how many units an order has at most, and how many parts."""

from collections.abc import Iterator
from contextlib import nullcontext
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from inventory_project.foundation.errors import Invalid
from reservations import lifecycle
from reservations.models import Reservation
from reservations.requests import Item, LiveLimit, Outcome, Reserve, TooManyParts
from tests import factories
from tests.db.reservations import verbs
from tests.factories import PR, RJ, SP, reserve_request
from tests.integration.races import guards

pytestmark = pytest.mark.usefixtures("books")

TOKEN, OTHER, FREE = "token:partner", "token:other", "token:checkout"
ORDERS, UNITS = 3, 10


@pytest.fixture(params=["locking all", "choosing first"])
def way(request: pytest.FixtureRequest, settings: Settings) -> Iterator[None]:
    """Both ways to reserve, with limits of 3 orders and 10 units for each token but one."""
    settings.MAX_LIVE_ORDERS_PER_TOKEN, settings.MAX_LIVE_UNITS_PER_TOKEN = ORDERS, UNITS
    settings.UNLIMITED_TOKENS = frozenset({"checkout"})
    with guards.choosing_first() if request.param == "choosing first" else nullcontext():
        yield


@pytest.fixture
def product() -> UUID:
    return factories.product({SP: 100, RJ: 100}).pk


def ask(product_id: UUID, *quantities: int, actor: str = TOKEN) -> list[str]:
    """The answers to orders of these units, in one batch."""
    return verbs.codes(
        lifecycle.reserve_many, *[reserve_request(product_id, units, actor=actor) for units in quantities]
    )


@pytest.mark.usefixtures("way")
def test_a_token_holds_so_many_orders_at_a_time(product: UUID) -> None:
    assert ask(product, 1) == ["new"]
    assert ask(product, 1, 1, 1, 1) == ["new", "new", "live_limit", "live_limit"]
    assert ask(product, 1) == ["live_limit"]
    assert Reservation.objects.count() == ORDERS


@pytest.mark.usefixtures("way")
def test_a_token_holds_so_many_units_at_a_time(product: UUID) -> None:
    assert ask(product, 4) == ["new"]
    assert ask(product, 7, 6, 1) == ["live_limit", "new", "live_limit"]
    level = [factories.numbers(product, place)[1] for place in (SP, RJ)]
    assert sum(level) == UNITS


@pytest.mark.usefixtures("way")
def test_the_refusal_says_what_is_held_and_changes_nothing(product: UUID) -> None:
    ask(product, 8)

    [refusal] = lifecycle.reserve_many([reserve_request(product, 3, actor=TOKEN)])

    assert isinstance(refusal, LiveLimit)
    assert refusal.extra == {"what": "units", "limit": 10, "live": 8, "requested": 3}
    assert refusal.detail == "This token may hold 10 units at a time. It holds 8, and asks for 3 more."
    assert Reservation.objects.count() == 1
    assert sum(factories.numbers(product, place)[1] for place in (SP, RJ)) == 8


@pytest.mark.usefixtures("way")
def test_other_tokens_and_other_actors_have_limits_of_their_own_or_none(product: UUID) -> None:
    assert ask(product, 10) == ["new"]
    assert ask(product, 1) == ["live_limit"]
    assert ask(product, 10, actor=OTHER) == ["new"]
    for actor in (FREE, "anonymous", "event:order.created", "staff:ana"):
        assert ask(product, 11, 1, 1, 1, actor=actor) == ["new"] * 4, actor


@pytest.mark.usefixtures("way")
def test_a_repeat_is_answered_also_at_the_limit(product: UUID) -> None:
    request = reserve_request(product, 10, actor=TOKEN)
    assert verbs.codes(lifecycle.reserve_many, request) == ["new"]

    assert verbs.codes(lifecycle.reserve_many, request, request) == ["replay", "replay"]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("end", [verbs.confirm, verbs.cancel, verbs.expire])
def test_what_is_settled_is_not_held_any_more(product: UUID, end: verbs.Ending) -> None:
    held = factories.hold(product, 10, actor=TOKEN)
    assert ask(product, 1) == ["live_limit"]

    end(held)

    assert ask(product, 10) == ["new"]


def test_without_a_limit_for_the_token_a_batch_takes_no_statement_more(product: UUID, settings: Settings) -> None:
    def statements(actor: str) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            assert ask(product, 1, 1, actor=actor) == ["new", "new"]
        return [query["sql"].partition(" ")[0] for query in captured.captured_queries]

    usual = statements(TOKEN)
    settings.MAX_LIVE_ORDERS_PER_TOKEN, settings.UNLIMITED_TOKENS = ORDERS, frozenset({"checkout"})

    assert statements(FREE) == usual
    assert len(statements(OTHER)) == len(usual) + 2


def test_the_count_uses_the_index_of_what_an_actor_holds(settings: Settings, product: UUID) -> None:
    settings.MAX_LIVE_ORDERS_PER_TOKEN = ORDERS
    with CaptureQueriesContext(connection) as captured:
        ask(product, 1)
    [count] = [query["sql"] for query in captured.captured_queries if "COUNT(DISTINCT" in query["sql"]]

    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(f"EXPLAIN {count}", [[TOKEN]])
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")

    assert "reservation_active_by_actor" in plan


# --- one order -------------------------------------------------------------------------------------------------------


def test_an_order_has_at_most_so_many_units(product: UUID, settings: Settings) -> None:
    settings.RESERVATION_MAX_UNITS = 10
    items = (Item(product, 6, SP), Item(product, 5, RJ))

    [refusal] = lifecycle.reserve_many([Reserve(order_id=uuid4(), items=items, actor=TOKEN)])

    assert isinstance(refusal, Invalid)
    assert refusal.detail == "A reservation has at most 10 units; this one has 11."
    assert ask(product, 10) == ["new"]


@pytest.mark.parametrize("first", ["locking all", "choosing first"])
def test_an_order_is_served_in_at_most_so_many_parts(settings: Settings, first: str) -> None:
    settings.RESERVATION_MAX_PARTS = 2
    product = factories.product({SP: 1, RJ: 1, PR: 1}).pk
    request = reserve_request(product, 3)

    if first == "choosing first":
        with guards.choosing_first():
            [refusal] = lifecycle.reserve_many([request])
    else:
        [refusal] = lifecycle.reserve_many([request])

    assert isinstance(refusal, TooManyParts)
    assert refusal.extra == {"parts": 3, "limit": 2}
    assert not Reservation.objects.exists()
    assert isinstance(lifecycle.reserve_many([reserve_request(product, 2)])[0], Outcome)
