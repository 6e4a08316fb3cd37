"""The gate turns away what the counters say is sold out, and is never the reason why something there is not sold."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import Error, connection
from django.test.utils import CaptureQueriesContext
from django_redis import get_redis_connection

from inventory_project.foundation.errors import Refusal
from reservations import gate, lifecycle
from reservations.models import Reservation
from reservations.requests import Item, Outcome, Reserve
from stock import blocking
from stock.counters import copies
from tests import factories
from tests.db.reservations import verbs
from tests.factories import RJ, SP, reserve_request
from warehouses import network

LIE_VERSION = 999_999


@pytest.fixture(autouse=True)
def books(transactional_db: None) -> Iterator[None]:
    """Real transactions, and an audit of all invariants after the test."""
    yield
    assert factories.broken_invariants() == []


@pytest.fixture(autouse=True)
def network_is_looked_at_before(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not once a second amid the statements that are counted."""
    network.recent()
    monkeypatch.setattr(network, "RECENT_SECONDS", 3_600.0)


def sold_out(stock: dict[str, int]) -> UUID:
    """A product of which everything is held, as the counters know."""
    product = factories.product(stock)
    for warehouse_id, units in stock.items():
        factories.hold(product.pk, units, warehouse_id)
    return product.pk


def within_the_interval(*product_ids: UUID) -> None:
    """Let somebody else be the probe of these products for now."""
    assert copies.probe(set(product_ids)) is not None


def after_the_interval(product_id: UUID) -> None:
    get_redis_connection("default").delete(f"probe:{product_id}")


def lie(product_id: UUID, warehouse_id: str, text: str) -> None:
    get_redis_connection("default").hset(f"stock:{product_id}", warehouse_id, text)


def levels_locked(requests: Sequence[Reserve]) -> tuple[list[str], int]:
    """What became of the requests of one batch, and how often stock levels were locked for it."""
    with CaptureQueriesContext(connection) as captured:
        answers = verbs.codes(lifecycle.reserve_many, *requests)
    return answers, sum("FOR NO KEY UPDATE" in query["sql"] for query in captured.captured_queries)


def refusal(request: Reserve) -> dict[str, Any]:
    [answer] = lifecycle.reserve_many([request])
    assert isinstance(answer, Refusal)
    return {"code": answer.code, "detail": answer.detail, **answer.extra}


# --- turning away --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 10, 100])
def test_a_batch_for_what_is_sold_out_takes_one_look_for_replays_and_nothing_else(size: int) -> None:
    product_id = sold_out({SP: 5})
    within_the_interval(product_id)
    with CaptureQueriesContext(connection) as captured:
        answers = verbs.codes(lifecycle.reserve_many, *[reserve_request(product_id) for _ in range(size)])
    assert answers == ["insufficient_stock"] * size
    assert len(captured) == 1
    assert '"reservation"."is_live"' in captured.captured_queries[0]["sql"]


def test_equal_requests_of_a_batch_share_a_refusal_and_others_do_not() -> None:
    product_id = sold_out({SP: 5, RJ: 2})
    within_the_interval(product_id)
    alike = [reserve_request(product_id) for _ in range(3)]
    others = [
        reserve_request(product_id, 2),
        reserve_request(product_id, 1, SP),
        reserve_request(product_id, delivery_postal_code="01310-100"),
        reserve_request(product_id, 1, RJ, allow_split=False),
    ]

    refused = gate.screen([*alike, *others]).refused

    assert refused[0] is refused[1] is refused[2]
    assert len({id(one) for one in refused.values()}) == 1 + len(others)


def test_what_is_there_passes_beside_what_is_sold_out() -> None:
    gone, there = sold_out({SP: 5}), factories.product({SP: 5}).pk
    within_the_interval(gone)
    requests = [reserve_request(gone), reserve_request(there), reserve_request(gone)]
    assert verbs.codes(lifecycle.reserve_many, *requests) == ["insufficient_stock", "new", "insufficient_stock"]


@pytest.mark.parametrize(
    "items",
    [
        lambda product_id, other_id: (Item(product_id, 1),),
        lambda product_id, other_id: (Item(product_id, 1, SP),),
        lambda product_id, other_id: (Item(product_id, 3), Item(other_id, 9), Item(product_id, 2, RJ)),
        lambda product_id, other_id: (Item(other_id, 9, SP), Item(product_id, 1)),
    ],
)
def test_the_gate_answers_as_the_database_would(items: Any) -> None:
    product_id, other_id = sold_out({SP: 5, RJ: 2}), sold_out({SP: 1})
    requests = [Reserve(order_id=uuid4(), items=items(product_id, other_id), actor=factories.ACTOR) for _ in range(2)]
    by_the_database = refusal(requests[0])  # the probe
    with CaptureQueriesContext(connection) as captured:
        by_the_gate = refusal(requests[1])
    assert len(captured) == 1
    assert by_the_gate == by_the_database


def test_a_blocked_product_is_refused_as_blocked() -> None:
    product_id = factories.product({SP: 5}).pk
    factories.hold(product_id)
    blocking.block_product(product_id, reason="a test", actor=factories.ACTOR)
    within_the_interval(product_id)
    answers, locked = levels_locked([reserve_request(product_id)])
    assert (answers, locked) == (["sales_blocked"], 0)
    blocking.unblock_product(product_id, reason="a test", actor=factories.ACTOR)
    assert levels_locked([reserve_request(product_id)])[0] == ["new"]


def test_a_warehouse_that_does_not_exist_is_for_the_database_to_tell() -> None:
    product_id = sold_out({SP: 5})
    within_the_interval(product_id)
    assert verbs.codes(lifecycle.reserve_many, reserve_request(product_id, 1, "wh-none-001")) == ["unknown_ids"]


# --- never in the way ----------------------------------------------------------------------------------------------


def test_the_buyer_of_the_last_unit_gets_the_reservation_again_when_the_product_is_sold_out() -> None:
    product_id = factories.product({SP: 1}).pk
    buyer = reserve_request(product_id)
    assert verbs.codes(lifecycle.reserve_many, buyer) == ["new"]
    within_the_interval(product_id)
    assert verbs.codes(lifecycle.reserve_many, reserve_request(product_id), buyer) == ["insufficient_stock", "replay"]


def test_one_request_in_each_interval_asks_the_database_all_the_same() -> None:
    product_id = sold_out({SP: 5})
    requests = [reserve_request(product_id) for _ in range(3)]
    answers, locked = levels_locked(requests)
    assert (answers, locked) == (["insufficient_stock"] * 3, 1)
    assert levels_locked(requests) == (["insufficient_stock"] * 3, 0)
    after_the_interval(product_id)
    assert levels_locked(requests) == (["insufficient_stock"] * 3, 1)


def test_two_requests_of_the_probes_order_get_one_answer() -> None:
    product_id = factories.product({SP: 5}).pk
    factories.hold(product_id)
    lie(product_id, SP, f"{LIE_VERSION}:0:5:0:1:5")
    twin = reserve_request(product_id)
    assert verbs.codes(lifecycle.reserve_many, twin, reserve_request(product_id), twin) == [
        "new",
        "insufficient_stock",
        "replay",
    ]


def test_a_counter_that_is_too_low_costs_no_sale_after_the_first_probe() -> None:
    product_id = factories.product({SP: 5}).pk
    factories.hold(product_id)
    lie(product_id, SP, f"{LIE_VERSION}:0:5:0:1:5")
    within_the_interval(product_id)
    assert verbs.codes(lifecycle.reserve_many, reserve_request(product_id)) == ["insufficient_stock"]
    after_the_interval(product_id)
    assert verbs.codes(lifecycle.reserve_many, reserve_request(product_id)) == ["new"]
    # The lie has the highest version and would stay; the probe has shown that it is one.
    assert verbs.codes(lifecycle.reserve_many, reserve_request(product_id)) == ["new"]


def test_without_the_lesson_of_the_probe_the_lie_would_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "correct_counters", lambda *_: None)
    product_id = factories.product({SP: 5}).pk
    factories.hold(product_id)
    lie(product_id, SP, f"{LIE_VERSION}:0:5:0:1:5")
    assert verbs.codes(lifecycle.reserve_many, reserve_request(product_id)) == ["new"]
    assert verbs.codes(lifecycle.reserve_many, reserve_request(product_id)) == ["insufficient_stock"]


@pytest.mark.parametrize("text", ["999999:999999:0:0:1:5", "0:999999:0:0:1:5", "-5", "abc", "1:-5:0:0:1:5", ""])
def test_a_counter_that_lies_upwards_or_makes_no_sense_sells_nothing_that_is_not_there(text: str) -> None:
    product_id = sold_out({SP: 5})
    lie(product_id, SP, text)
    within_the_interval(product_id)
    answers, locked = levels_locked([reserve_request(product_id)])
    assert (answers, locked) == (["insufficient_stock"], 1)
    assert factories.numbers(product_id) == (0, 5, 0)


def test_no_order_is_turned_away_unseen_when_the_database_cannot_say_whose_is_a_replay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    product_id = sold_out({SP: 5})
    within_the_interval(product_id)

    def away(**_options: Any) -> Any:
        raise Error

    monkeypatch.setattr(Reservation.objects, "filter", away)
    screening = gate.screen([reserve_request(product_id)])
    assert (screening.refused, screening.probes) == ({}, {})


def test_a_reservation_and_its_end_are_told_to_redis() -> None:
    product_id = factories.product({SP: 5}).pk
    held = factories.hold(product_id, ttl_minutes=7)
    key = f"reservation:{held.id}"
    assert 6.5 * 60 < get_redis_connection("default").ttl(key) <= 7 * 60
    verbs.extend(held, minutes=3, reference="a-call")
    assert 9.5 * 60 < get_redis_connection("default").ttl(key) <= 10 * 60
    outcome = verbs.confirm(held)
    assert isinstance(outcome, Outcome)
    assert get_redis_connection("default").exists(key) == 0
