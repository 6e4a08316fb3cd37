"""What the requests of a batch need that another transaction has locked; see `foundation.bulkhead`.

No function here waits. Each runs inside its caller's transaction, which keeps what was free locked until it ends.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any
from uuid import UUID

from inventory_project.foundation.bulkhead import FREE, Needs
from inventory_project.foundation.messaging import inbox
from inventory_project.foundation.messaging.inbox import Received
from reservations import holds
from reservations.models import ReservationItem
from reservations.requests import CallOff, Cancel, Confirm, Expire, Extend, Pay, Reserve, Return
from stock import ledger

OfReservation = Confirm | Cancel | Expire | Extend | Return


def of_reserve(requests: Sequence[Reserve]) -> list[Needs]:
    """The levels of each request's products."""
    return _of_products([{item.product_id for item in request.items} for request in requests])


def of_reservations(requests: Sequence[OfReservation]) -> list[Needs]:
    """The reservation that each request names, and the levels of its lines."""
    return _of_ids([request.reservation_id for request in requests])


def of_payments(requests: Sequence[Pay]) -> list[Needs]:
    """Each order's current reservation, and all levels of its products: an expired one may be served elsewhere."""
    current = holds.current_ids_of_orders({request.order_id for request in requests})
    ids = [current.get(request.order_id) for request in requests]
    places = _places({id_ for id_ in ids if id_ is not None})
    products = _of_products([{product_id for product_id, _ in places[id_]} for id_ in ids])
    return [{**own, **levels} for own, levels in zip(_of_ids(ids), products, strict=True)]


def of_messages(received: Sequence[Received[Any]]) -> list[Needs]:
    """The order's lock, and what the message's request needs. All messages are of one type."""
    orders = inbox.look(received)
    requests = [each.request for each in received]
    match requests[0]:
        case Reserve():
            needs = of_reserve(requests)
        case Pay():
            needs = of_payments(requests)
        case _:
            needs = _of_call_offs(requests)
    return [{("order", each.order_id): orders[each.order_id], **own} for each, own in zip(received, needs, strict=True)]


def _of_call_offs(requests: Sequence[CallOff]) -> list[Needs]:
    current = holds.current_ids_of_orders({request.order_id for request in requests})
    return _of_ids([current.get(request.order_id) for request in requests])


def _of_products(wanted: Sequence[Collection[UUID]]) -> list[Needs]:
    locked = ledger.look_at_products({product_id for product_ids in wanted for product_id in product_ids})
    by_product: dict[UUID, dict[Hashable, int]] = defaultdict(dict)
    for (product_id, warehouse_id), holder in locked.items():
        by_product[product_id][product_id, warehouse_id] = holder
    return [
        {place: holder for product_id in product_ids for place, holder in by_product[product_id].items()}
        for product_ids in wanted
    ]


def _of_ids(ids: Sequence[UUID | None]) -> list[Needs]:
    known = {id_ for id_ in ids if id_ is not None}
    held_up = holds.look(known)
    places = _places(known)
    locked = ledger.look_at_places({place for id_ in known for place in places[id_]})
    return [
        {}
        if id_ is None
        else {id_: held_up.get(id_, FREE), **{place: locked.get(place, FREE) for place in places[id_]}}
        for id_ in ids
    ]


def _places(reservation_ids: Collection[UUID]) -> Mapping[UUID | None, set[ledger.Key]]:
    """The places of the lines of each reservation."""
    places: dict[UUID | None, set[ledger.Key]] = defaultdict(set)
    lines = ReservationItem.objects.filter(reservation_id__in=reservation_ids)
    for reservation_id, product_id, warehouse_id in lines.values_list("reservation_id", "product_id", "warehouse_id"):
        places[reservation_id].add((product_id, warehouse_id))
    return places
