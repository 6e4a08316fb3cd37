"""Whose doing an event is: that of the request which caused it, also where requests share a transaction."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from inventory_project.foundation import tracing
from inventory_project.foundation.messaging.models import OutboxEvent
from reservations import lifecycle
from reservations.holds import Hold
from reservations.requests import CallOff, Cancel, Confirm, Expire, Item, Outcome, Pay, Reserve, Return
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, SP, reserve_request

pytestmark = pytest.mark.usefixtures("books")

TRACES = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2)]
FIRST, SECOND = ({"traceparent": trace, "requestid": f"call-{i}"} for i, trace in enumerate(TRACES))
Verb = Callable[[Sequence[Any]], list[lifecycle.Answer]]


def of_two_callers(make: Callable[[int], Any]) -> list[Any]:
    """A request of each, made while the caller's own attributes are carried, as in the caller's own thread."""
    requests = []
    for i, extensions in enumerate((FIRST, SECOND)):
        with tracing.carrying(extensions):
            requests.append(make(i))
    return requests


def decided_by_the_first(verb: Verb, requests: Sequence[Any]) -> dict[str, list[tuple[str, Any]]]:
    """Name and attributes of the events, by order; the first caller's thread decides for both, as in a group commit."""
    start = records.last_event()
    with tracing.carrying(FIRST):
        answers = verb(requests)
    assert [isinstance(answer, Outcome) and not answer.is_replay for answer in answers] == [True, True]
    told: dict[str, list[tuple[str, Any]]] = {}
    for event in OutboxEvent.objects.filter(pk__gt=start, data__has_key="order_id").order_by("id"):
        told.setdefault(event.data["order_id"], []).append((event.type.removeprefix("inventory."), event.extensions))
    return told


def two_holds() -> list[Hold]:
    product = factories.product({SP: 50})
    return [factories.hold(product.pk, 3) for _ in range(2)]


def confirm(held: Hold) -> Confirm:
    return Confirm(reservation_id=held.id, items=(Item(held.lines[0].product_id, 1),), actor=ACTOR)


def test_two_reservations_of_one_batch_tell_each_its_own_callers_trace() -> None:
    product = factories.product({SP: 50})
    requests = of_two_callers(lambda _: reserve_request(product.pk))
    assert decided_by_the_first(lifecycle.reserve_many, requests) == {
        str(requests[0].order_id): [("reserved", FIRST)],
        str(requests[1].order_id): [("reserved", SECOND)],
    }


@pytest.mark.parametrize(
    ("before", "verb", "make", "names"),
    [
        ((), lifecycle.confirm_many, confirm, ["confirmed", "released"]),
        ((), lifecycle.cancel_many, lambda held: Cancel(reservation_id=held.id, actor=ACTOR), ["released"]),
        (
            (),
            lifecycle.expire_many,
            lambda held: Expire(reservation_id=held.id, only_if_due=False, actor=ACTOR),
            ["released"],
        ),
        (
            (verbs.confirm,),
            lifecycle.return_many,
            lambda held: Return(reservation_id=held.id, reference="parcel", actor=ACTOR),
            ["released"],
        ),
        ((), lifecycle.pay_many, lambda held: Pay(order_id=held.order_id, actor=ACTOR), ["confirmed"]),
        (
            (verbs.expire,),
            lifecycle.pay_many,
            lambda held: Pay(order_id=held.order_id, actor=ACTOR),
            ["reserved", "confirmed"],
        ),
        (
            (),
            verbs.call_off_many,
            lambda held: CallOff(order_id=held.order_id, reason="cancelled", reference="off", actor=ACTOR),
            ["released"],
        ),
        (
            (verbs.confirm,),
            verbs.call_off_many,
            lambda held: CallOff(order_id=held.order_id, reason="cancelled", reference="off", actor=ACTOR),
            ["released"],
        ),
    ],
)
def test_each_verb_tells_of_each_request_its_own_callers_trace(
    before: Iterable[Callable[[Hold], object]], verb: Verb, make: Callable[[Hold], Any], names: list[str]
) -> None:
    holds = two_holds()
    for act in before:
        for held in holds:
            act(held)
    requests = of_two_callers(lambda i: make(holds[i]))
    assert decided_by_the_first(verb, requests) == {
        str(holds[0].order_id): [(name, FIRST) for name in names],
        str(holds[1].order_id): [(name, SECOND) for name in names],
    }


def test_control_where_requests_are_decided_as_they_are_the_second_gets_the_firsts_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "decide_each", lambda decide, requests: [decide(request) for request in requests])
    product = factories.product({SP: 50})
    requests = of_two_callers(lambda _: reserve_request(product.pk))
    told = decided_by_the_first(lifecycle.reserve_many, requests)
    assert told[str(requests[1].order_id)] == [("reserved", FIRST)]


def test_a_request_that_names_its_own_keeps_them() -> None:
    product = factories.product({SP: 5})
    with tracing.carrying(FIRST):
        request = reserve_request(product.pk, extensions=SECOND)
        verbs.reserve(request)
    assert OutboxEvent.objects.get(type="inventory.reserved").extensions == SECOND
    assert request == Reserve(order_id=request.order_id, items=request.items, actor=request.actor)


def test_what_a_whole_transaction_causes_is_nobodys_doing() -> None:
    product = factories.product({SP: 5}, low_stock_threshold=3)
    with tracing.carrying(FIRST):
        factories.hold(product.pk, 5)
    assert list(OutboxEvent.objects.order_by("id").values_list("type", "extensions")) == [
        ("inventory.back_in_stock", {}),
        ("inventory.reserved", FIRST),
        ("inventory.out_of_stock", {}),
    ]


def test_what_the_sweeper_releases_is_nobodys_doing() -> None:
    held = two_holds()[0]
    factories.make_overdue(held)
    assert lifecycle.sweep().released == 1
    assert OutboxEvent.objects.get(subject=str(held.id), type="inventory.released").extensions == {}
