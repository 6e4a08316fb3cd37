"""Chooses the warehouses of a batch before anything is locked, then locks and checks only the chosen levels.

A product in many warehouses is so not locked as a whole by each of its buyers, and the search for the best set of
warehouses makes nobody wait. The reading may be old by the time of the locks. So under its lock each chosen level must
still sell the units; where one does not, the request is postponed, and another transaction chooses again. A refusal is
never decided here, but over all levels of a product, locked (`reserving`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID

from inventory_project.foundation import bulkhead
from inventory_project.foundation.errors import Refusal
from inventory_project.foundation.faults import crash_point
from reservations import reserving, working_set
from reservations.requests import NotDecidedYet, Outcome, Reserve
from reservations.working_set import WorkingSet
from stock import ledger
from warehouses import network
from warehouses.allocation.terms import Allocation
from warehouses.allocation.words import READ_BEFORE
from warehouses.network import Version


@dataclass(slots=True)
class Choice:
    """What was chosen for each order, and over which version of the network; the levels that it takes units from."""

    version: Version
    by_order: dict[UUID, Allocation] = field(default_factory=dict)
    level_ids: set[int] = field(default_factory=set)


def reserve(requests: Sequence[Reserve]) -> list[Outcome | Refusal]:
    """Grant each request; NotDecidedYet for those that have to be chosen again. Inside the caller's transaction.

    Where no product lies in many warehouses, or a request could not be served, it is `reserving.reserve`.
    """
    if not working_set.is_wide({item.product_id for request in requests for item in request.items}):
        return reserving.reserve(requests)
    choice = choose(requests)
    if choice is None:
        return reserving.reserve(requests)
    crash_point("reserve.before_lock")
    locked = WorkingSet.lock_levels(
        choice.level_ids,
        order_ids={request.order_id for request in requests},
        actors=reserving.bounded_actors(requests),
    )
    crash_point("reserve.after_lock")
    outcomes = locked.decide_in_time(partial(_decide, choice), requests)
    locked.write()
    crash_point("reserve.before_commit")
    return outcomes


def choose(requests: Sequence[Reserve]) -> Choice | None:
    """Choose warehouses for one request after the other over an unlocked reading; None if one cannot be served.

    It stops after `working_set.MAX_DECIDING_SECONDS`. An order is chosen for once, because its second request is
    answered by the reservation of the first.
    """
    product_ids = {item.product_id for request in requests for item in request.items}
    with bulkhead.first_statements():
        reading = ledger.reading(product_ids)
        places = network.current()
    levels, known = reading(), places()
    choice = Choice(known.version)
    until = time.monotonic() + working_set.MAX_DECIDING_SECONDS
    for request in requests:
        if choice.by_order and time.monotonic() > until:
            break
        if request.order_id in choice.by_order:
            continue
        chosen = reserving.allocate(request, levels, known, unstocked={})
        if isinstance(chosen, Refusal):
            return None
        for part in chosen.parts:
            level = levels.at(part.product_id, part.warehouse_id)
            level.available -= part.quantity  # in this reading only, for the requests behind this one
            level.reserved += part.quantity
            choice.level_ids.add(level.id)
        choice.by_order[request.order_id] = chosen
    return choice


def _decide(choice: Choice, locked: WorkingSet, request: Reserve) -> Outcome | Refusal:
    answer = reserving.answer_of_twin(locked, request) or reserving.over_limit(locked, request)
    if answer is not None:
        return answer
    chosen = choice.by_order.pop(request.order_id, None)
    if chosen is None or locked.network.version != choice.version or not is_still_there(locked, chosen):
        return NotDecidedYet("The stock has changed since the warehouses were chosen.")
    notes = [*chosen.record["notes"], READ_BEFORE]
    return reserving.grant_new(locked, request, replace(chosen, record={**chosen.record, "notes": notes}))


def is_still_there(locked: WorkingSet, chosen: Allocation) -> bool:
    """Whether the locked levels may still sell what was chosen over the reading."""
    levels = [locked.levels.by_key.get((part.product_id, part.warehouse_id)) for part in chosen.parts]
    return all(
        level is not None and not level.is_blocked and not level.is_closed and level.available >= part.quantity
        for level, part in zip(levels, chosen.parts, strict=True)
    )
