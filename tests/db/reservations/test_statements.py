"""A batch takes the same number of SQL statements whatever its size; BEGIN and COMMIT are counted."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from reservations import lifecycle
from reservations.holds import Hold
from reservations.models import Reservation
from reservations.requests import CallOff, Cancel, Confirm, Expire, Extend, Item, Outcome, Pay, Reserve, Return
from tests import factories
from tests.db.reservations import verbs
from tests.factories import ACTOR, RJ, SP, reserve_request

pytestmark = pytest.mark.usefixtures("books")

SIZES = (1, 10, 100)


Verb = Callable[[Sequence[Any]], list[lifecycle.Answer]]


def statements(verb: Verb, requests: Sequence[Any], *, answers: set[str]) -> list[str]:
    """The statements that the batch sends; each of its requests must get one of these answers."""
    with CaptureQueriesContext(connection) as captured:
        assert set(verbs.codes(verb, *requests)) == answers
    return [query["sql"] for query in captured.captured_queries]


# --- batches that are granted --------------------------------------------------------------------------------------


def wishes(size: int) -> list[Reserve]:
    """So many orders of 2 units each, of two products in turn."""
    products = [factories.product({SP: 500, RJ: 500}) for _ in range(2)]
    return [reserve_request(products[i % 2].pk, 2) for i in range(size)]


def granted(size: int) -> list[Hold]:
    return [answer.hold for answer in lifecycle.reserve_many(wishes(size)) if isinstance(answer, Outcome)]


def wishes_for_what_is_overdue(size: int) -> list[Reserve]:
    product = factories.product({SP: size})
    lifecycle.reserve_many([reserve_request(product.pk) for _ in range(size)])
    Reservation.objects.update(expires_at=F("created_at"))
    return [reserve_request(product.pk) for _ in range(size)]


def confirms(size: int) -> list[Confirm]:
    return [Confirm(reservation_id=held.id, actor=ACTOR) for held in granted(size)]


def partial_confirms(size: int) -> list[Confirm]:
    return [
        Confirm(reservation_id=held.id, items=(Item(held.lines[0].product_id, 1),), actor=ACTOR)
        for held in granted(size)
    ]


def cancels(size: int) -> list[Cancel]:
    return [Cancel(reservation_id=held.id, actor=ACTOR) for held in granted(size)]


def expiries(size: int) -> list[Expire]:
    return [Expire(reservation_id=held.id, only_if_due=False, actor=ACTOR) for held in granted(size)]


def extensions(size: int) -> list[Extend]:
    return [
        Extend(reservation_id=held.id, minutes=1, reference=f"call-{i}", actor=ACTOR)
        for i, held in enumerate(granted(size))
    ]


def returns(size: int) -> list[Return]:
    requests = confirms(size)
    lifecycle.confirm_many(requests)
    return [Return(reservation_id=request.reservation_id, reference="return-1", actor=ACTOR) for request in requests]


def payments(size: int) -> list[Pay]:
    return [Pay(order_id=held.order_id, actor=ACTOR) for held in granted(size)]


def late_payments(size: int) -> list[Pay]:
    holds = granted(size)
    lifecycle.expire_many([Expire(reservation_id=held.id, only_if_due=False, actor=ACTOR) for held in holds])
    return [Pay(order_id=held.order_id, actor=ACTOR) for held in holds]


def call_offs(size: int) -> list[CallOff]:
    return [
        CallOff(order_id=held.order_id, reason="cancelled", reference=f"off-{i}", actor=ACTOR)
        for i, held in enumerate(granted(size))
    ]


def call_offs_of_a_part(size: int) -> list[CallOff]:
    return [
        CallOff(
            order_id=held.order_id,
            items=(Item(held.lines[0].product_id, 1),),
            reason="cancelled",
            reference=f"off-{i}",
            actor=ACTOR,
        )
        for i, held in enumerate(granted(size))
    ]


def call_offs_of_what_was_paid(size: int) -> list[CallOff]:
    requests = call_offs(size)
    lifecycle.pay_many([Pay(order_id=request.order_id, actor=ACTOR) for request in requests])
    return requests


# Every verb, its requests, and how many statements they take.
BATCHES: list[tuple[Verb, Callable[[int], Sequence[Any]], int]] = [
    (lifecycle.reserve_many, wishes, 12),
    (lifecycle.reserve_many, wishes_for_what_is_overdue, 33),
    (lifecycle.confirm_many, confirms, 12),
    (lifecycle.confirm_many, partial_confirms, 12),
    (lifecycle.cancel_many, cancels, 12),
    (lifecycle.expire_many, expiries, 12),
    (lifecycle.extend_many, extensions, 11),
    (lifecycle.return_many, returns, 13),
    (lifecycle.pay_many, payments, 15),
    (lifecycle.pay_many, late_payments, 15),
    (verbs.call_off_many, call_offs, 15),
    (verbs.call_off_many, call_offs_of_a_part, 15),
    (verbs.call_off_many, call_offs_of_what_was_paid, 15),
]


@pytest.mark.parametrize(("verb", "requests", "number"), BATCHES)
def test_a_batch_takes_as_many_statements_for_a_hundred_requests_as_for_one(
    verb: Verb, requests: Callable[[int], Sequence[Any]], number: int
) -> None:
    taken = [len(statements(verb, requests(size), answers={"new"})) for size in SIZES]
    assert taken == [number, number, number]


# --- the others ----------------------------------------------------------------------------------------------------


def test_a_batch_of_replays_writes_nothing() -> None:
    for size in SIZES:
        requests = wishes(size)
        lifecycle.reserve_many(requests)
        assert len(statements(lifecycle.reserve_many, requests, answers={"replay"})) == 7


def test_a_batch_of_refusals_writes_nothing_and_looks_once_for_what_is_overdue() -> None:
    product = factories.product({SP: 1})
    for size in SIZES:
        requests = [reserve_request(product.pk, 2) for _ in range(size)]
        assert len(statements(lifecycle.reserve_many, requests, answers={"insufficient_stock"})) == 9


def test_the_release_of_what_is_due_takes_as_many_statements_for_a_hundred_holds_as_for_one() -> None:
    for size in SIZES:
        granted(size)
        Reservation.objects.update(expires_at=F("created_at"))
        with CaptureQueriesContext(connection) as captured:
            assert lifecycle.sweep().released == size
        assert len(captured) == 15


def test_a_reservation_locks_then_looks_for_twins_then_reads_the_clock_then_writes() -> None:
    product = factories.product({SP: 5})
    sent = statements(lifecycle.reserve_many, [reserve_request(product.pk)], answers={"new"})
    patterns = [
        "BEGIN",
        r"SELECT set_config\('lock_timeout', '300', true\), ",
        "SELECT .* FROM stock_level .* FOR NO KEY UPDATE OF stock_level$",
        "SELECT .* FROM warehouse",
        "SELECT .* FROM reservation JOIN reservation_item .* AND reservation.is_live",
        r"SELECT clock_timestamp\(\)",
        "INSERT INTO reservation ",
        "INSERT INTO reservation_item ",
        "INSERT INTO stock_movement ",
        "UPDATE stock_level ",
        "INSERT INTO outbox_event ",
        "COMMIT",
    ]
    unlike = [sql for sql, pattern in zip(sent, patterns, strict=True) if not re.match(pattern, sql)]
    assert unlike == []
