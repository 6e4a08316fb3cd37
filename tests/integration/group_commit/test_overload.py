"""Too many callers for a slow database: some are refused in time, and the service still answers everybody else."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings

from reservations.api.fast import MAX_ORDERS_WAITING
from reservations.models import Reservation
from tests import factories
from tests.integration.group_commit import callers
from tests.integration.group_commit.callers import API
from tests.integration.group_commit.conftest import Serve
from tests.service import Answer, Service

ORDERS = settings.RESERVATION_MAX_ORDERS  # in one call, and in one batch
CALLS = MAX_ORDERS_WAITING // ORDERS + 8  # while the queue is full, the first of them are decided
CALLERS = 160  # in three batches; while two are decided, the patience of the third ends


def refused(service: Service, reason: str) -> int:
    """How many callers were refused for this reason so far."""
    sample = f'inventory_group_commit_turned_away_total{{reason="{reason}",verb="reserve"}}'
    return int(service.metric(sample) or 0)


def reserved(product_id: UUID) -> dict[UUID, UUID]:
    """The reservations of the product, by their orders."""
    return dict(Reservation.objects.filter(items__product_id=product_id).values_list("order_id", "id"))


def everybody_else_is_answered(service: Service, held: UUID, product_id: UUID) -> None:
    """By the event loop, by the threads of Django, and by those for the health of the process."""
    asked: list[tuple[str, str, object, int]] = [
        ("GET", f"{API}/products/{product_id}/availability", None, 200),
        ("GET", "/health/live", None, 200),
        ("GET", "/health/ready", None, 200),
        ("GET", "/admin/login/", None, 200),
        ("GET", f"{API}/reservations/{held}", None, 200),
        ("POST", f"{API}/reservations/{held}/confirm", {}, 200),
        ("POST", f"{API}/reservations/bulk", {"orders": []}, 400),
    ]
    for method, path, body, status in asked:
        assert service.ask(method, path, body).status == status, path


@pytest.mark.usefixtures("books")
def test_of_too_many_orders_some_are_refused_in_their_places_and_everybody_else_is_answered(serve: Serve) -> None:
    product_id, other = factories.product({factories.SP: 10_000}).pk, factories.product({factories.SP: 10}).pk
    holds = [factories.hold(other).id for _ in range(2)]
    order_ids = [[uuid4() for _ in range(ORDERS)] for _ in range(CALLS)]
    bodies = [{"orders": [callers.reservation(product_id, order_id=id_).body for id_ in ids]} for ids in order_ids]
    slow = "reserve.after_lock=sleep:1"
    with (
        serve(WEB_WORKERS=1, REDIS_URL=settings.REDIS_URL, INVENTORY_CRASH_POINT=slow) as service,
        ThreadPoolExecutor(CALLS) as threads,
    ):
        everybody_else_is_answered(service, holds[0], other)  # the first time takes longer
        flood: list[Future[Answer]] = [
            threads.submit(service.ask, "POST", f"{API}/reservations/bulk", body) for body in bodies
        ]
        service.wait_until(lambda: refused(service, "queue_full"), "somebody is refused")
        everybody_else_is_answered(service, holds[1], other)
        assert not all(call.done() for call in flood)
        answers = [call.result() for call in flood]
        refusals = refused(service, "queue_full") + refused(service, "not_taken")

    assert {answer.status for answer in answers} == {200}
    results = [each for answer in answers for each in answer.json()["results"]]
    granted, sent_away = of_each_order(results, [id_ for ids in order_ids for id_ in ids])
    assert len(granted) + len(sent_away) == CALLS * ORDERS
    assert {each["problem"]["code"] for each in results if each["status"] == 503} == {"overloaded"}
    assert len(sent_away) == refusals
    assert reserved(product_id) == granted  # nothing of those who were sent away
    assert granted != {}


def of_each_order(results: Sequence[dict[str, Any]], order_ids: Sequence[UUID]) -> tuple[dict[UUID, UUID], set[UUID]]:
    """The reservations by order, and the orders that were sent away."""
    by_order = dict(zip(order_ids, results, strict=True))
    granted = {id_: each["reservation"] for id_, each in by_order.items() if each["status"] == 201}
    assert {id_: UUID(each["order_id"]) for id_, each in granted.items()} == {id_: id_ for id_ in granted}
    sent_away = {id_ for id_, each in by_order.items() if each["status"] == 503}
    return {id_: UUID(each["id"]) for id_, each in granted.items()}, sent_away


@pytest.mark.usefixtures("books")
def test_callers_behind_slow_batches_are_refused_when_their_patience_ends_and_nothing_is_done(serve: Serve) -> None:
    product_id = factories.product({factories.SP: 10_000}).pk
    slow = "reserve.after_lock=sleep:2"
    with serve(WEB_WORKERS=1, REDIS_URL=settings.REDIS_URL, INVENTORY_CRASH_POINT=slow) as service:
        told = callers.ask_at_once(service, [callers.reservation(product_id) for _ in range(CALLERS)])
        refusals = refused(service, "not_taken")

    sent_away = [answer for answer in told if answer.status == 503]
    assert len(sent_away) == refusals >= CALLERS - 2 * ORDERS
    assert {(answer.word, answer.headers["Retry-After"]) for answer in sent_away} == {("overloaded", "1")}
    held_by_them = {UUID(answer.body["id"]) for answer in told if answer.status == 201}
    assert len(held_by_them) == CALLERS - len(sent_away)
    assert set(reserved(product_id).values()) == held_by_them
