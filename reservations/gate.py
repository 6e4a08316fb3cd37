"""Rejects requests for what the counters say is sold out, before the database is asked.

The counters may be wrong, so a positive counter is never trusted: the database decides. Of the requests that the
counters would reject, one per product and interval is let through as a probe. So a counter that is too low delays a
sale by one interval at most. If the counters lack a product, or Redis does not answer, every request passes.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from uuid import UUID

from django.conf import settings
from django.db import Error, connection

from inventory_project.foundation.errors import Refusal, Unavailable
from reservations import metrics, reserving
from reservations.models import Reservation
from reservations.requests import Item, Outcome, Reserve, merged
from stock import availability
from stock.counters import copies as counters
from stock.counters.copies import ProductCounters
from warehouses import network

Known = Mapping[UUID, ProductCounters]


@dataclass(frozen=True, slots=True)
class Screening:
    """By position in the batch: the refusals, the products of each probe, and the answer that each probe should get."""

    refused: dict[int, Refusal] = field(default_factory=dict)
    probes: dict[int, set[UUID]] = field(default_factory=dict)
    expected: dict[int, Refusal] = field(default_factory=dict)


def screen(requests: Sequence[Reserve]) -> Screening:
    """Screen a batch in one round trip to Redis; if a request would be refused, one more round trip and one SELECT."""
    if not settings.REDIS_URL:
        return Screening()
    known = counters.read({item.product_id for request in requests for item in request.items})
    lacking = {i: lacks for i, request in enumerate(requests) if (lacks := _lacks(request, known))}
    if lacking:
        # A repeat by the buyer of the last unit must get its reservation again, and is useless as a probe.
        held = _with_reservation({requests[i].order_id for i in lacking})
        lacking = {i: lacks for i, lacks in lacking.items() if requests[i].order_id not in held}
    probed = counters.probe(set().union(*lacking.values())) if lacking else None
    screening = Screening() if probed is None else _judged(requests, known, lacking, probed)
    metrics.gate_answers.labels("refused").inc(len(screening.refused))
    metrics.gate_answers.labels("probed").inc(len(screening.probes))
    metrics.gate_answers.labels("passed").inc(len(requests) - len(screening.refused) - len(screening.probes))
    return screening


def _judged(
    requests: Sequence[Reserve], known: Known, lacking: Mapping[int, set[UUID]], probed: set[UUID]
) -> Screening:
    screening, predict = Screening(), _prediction(known)
    for i, product_ids in lacking.items():
        if mine := product_ids & probed:
            screening.probes[i] = mine
            screening.expected[i] = predict(requests[i])
            probed -= mine
    of_probes = {requests[i].order_id for i in screening.probes}
    for i in lacking.keys() - screening.probes.keys():
        if requests[i].order_id not in of_probes:  # a probe's twin gets the probe's answer
            screening.refused[i] = predict(requests[i])
    return screening


def correct_counters(screening: Screening, answers: Sequence[Outcome | Refusal]) -> None:
    """Delete the counters of a product whose probe got a better answer than they predicted, because they were wrong.

    The next read creates them again.
    """
    for i, product_ids in screening.probes.items():
        answer = answers[i]
        if isinstance(answer, Unavailable):
            continue  # this says nothing about the stock
        if not isinstance(answer, Refusal) or _is_better(answer, screening.expected[i]):
            counters.forget(product_ids)


def _is_better(answer: Refusal, expected: Refusal) -> bool:
    """Whether the database has more stock than the counters. Less is normal, because the batch takes units too."""
    if answer.code != expected.code:
        return True
    found, predicted = _shortages(answer), _shortages(expected)
    return any(key not in found or found[key] > available for key, available in predicted.items())


def _shortages(refusal: Refusal) -> dict[tuple[str, str | None], int]:
    return {(one["product_id"], one["warehouse_id"]): one["available"] for one in refusal.extra.get("shortages", ())}


def _lacks(request: Reserve, known: Known) -> set[UUID]:
    """The products that no choice of warehouses can supply; empty if a counter is missing."""
    asked: dict[UUID, int] = defaultdict(int)
    lacks = set()
    for item in request.items:
        product = known.get(item.product_id)
        if product is None or (item.warehouse_id is not None and item.warehouse_id not in product.levels):
            return set()  # the database tells what is unknown from what is sold out
        asked[item.product_id] += item.quantity
        if item.warehouse_id is not None and product.levels[item.warehouse_id].sellable < item.quantity:
            lacks.add(item.product_id)
    for product_id, quantity in asked.items():
        if sum(level.sellable for level in known[product_id].levels.values()) < quantity:
            lacks.add(product_id)
    return lacks


def _with_reservation(order_ids: set[UUID]) -> set[UUID]:
    """The orders that have a live reservation; all of them if the database does not answer."""
    try:
        live = Reservation.objects.filter(order_id__in=order_ids, is_live=True)
        return set(live.values_list("order_id", flat=True))
    except Error:
        connection.close()  # it is broken; the batch gets a new one, or reports that there is none
        return order_ids


def _prediction(known: Known) -> Callable[[Reserve], Refusal]:
    """A function that says how the database would refuse a request if the counters are right.

    In a rush most requests are alike, so those with the same items and destination share a refusal.
    """
    places = network.recent()

    @cache
    def refusal(items: tuple[Item, ...], postal_code: str, *, allow_split: bool) -> Refusal:
        view = places.seen_from(postal_code)
        stock = {item.product_id: availability.candidates(known[item.product_id], view) for item in items}
        decision = reserving.decide(merged(items), stock, frozenset(), view.delivery, allow_split=allow_split)
        assert isinstance(decision, Refusal)  # noqa: S101  # the request lacks a product
        return decision

    def predict(request: Reserve) -> Refusal:
        return refusal(request.items, request.delivery_postal_code, allow_split=request.allow_split)

    return predict
