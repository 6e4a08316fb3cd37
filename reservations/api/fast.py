"""The operations of reservations on the fast path: reserve, reserve in bulk, confirm, cancel.

A body that is not in its usual form is left to the view in Django, whose serializer says what is wrong with it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.conf import settings
from msgspec import UNSET, Meta, Struct, UnsetType

from inventory_project.foundation import database
from inventory_project.foundation.access.limits import limiter
from inventory_project.foundation.gathering import Gatherer
from inventory_project.foundation.http import plain_json
from inventory_project.foundation.http.answers import Answer, refused
from inventory_project.foundation.http.fast_path import ID, Call, Operation
from inventory_project.foundation.http.plain_json import UUIDText
from reservations import lifecycle
from reservations.api.reservations import order_result, reserve_answer, to_json
from reservations.bodies import MAX_PART_ITEMS, MAX_PART_QUANTITY
from reservations.requests import Cancel, Confirm, Item, Outcome, Reserve, weight
from warehouses.fields import PostalCodeText, WarehouseIdText

RESERVATIONS = "/api/inventory/reservations"
MAX_ORDERS_WAITING = 2_048  # of one verb in one process; beyond it requests are refused
KEPT_SECONDS = 60.0  # a verb's thread exchanges its session after the first batch that ends so long after taking it


class _Item(Struct, forbid_unknown_fields=True):
    product_id: UUIDText
    quantity: Annotated[int, Meta(ge=1, le=settings.RESERVATION_MAX_QUANTITY)]
    warehouse_id: WarehouseIdText | UnsetType | None = UNSET


class _PartItem(Struct, forbid_unknown_fields=True):
    product_id: UUIDText
    quantity: Annotated[int, Meta(ge=1, le=MAX_PART_QUANTITY)]
    warehouse_id: WarehouseIdText | UnsetType | None = UNSET


class _Order(Struct, forbid_unknown_fields=True):
    order_id: UUIDText
    items: Annotated[list[_Item], Meta(min_length=1, max_length=settings.RESERVATION_MAX_LINES)]
    delivery_postal_code: PostalCodeText | UnsetType | None = UNSET
    ttl_minutes: Annotated[int, Meta(ge=1, le=settings.RESERVATION_TTL_MAX_MINUTES)] | UnsetType = UNSET
    allow_split: bool | UnsetType = UNSET


class _Bulk(Struct, forbid_unknown_fields=True):
    orders: Annotated[list[_Order], Meta(min_length=1, max_length=settings.RESERVATION_MAX_ORDERS)]


class _Part(Struct, forbid_unknown_fields=True):
    items: Annotated[list[_PartItem], Meta(min_length=1, max_length=MAX_PART_ITEMS)] | UnsetType = UNSET


_ORDER = msgspec.json.Decoder(_Order)
_BULK = msgspec.json.Decoder(_Bulk)
_PART = msgspec.json.Decoder(_Part)


def operations(executor: Executor | None = None) -> dict[tuple[str, str], Operation]:
    """The operations by method and path. `executor`, if it is given, decides their batches."""
    reserve = _gatherer("reserve", lifecycle.reserve_many, executor)
    confirm = _gatherer("confirm", lifecycle.confirm_many, executor)
    cancel = _gatherer("cancel", lifecycle.cancel_many, executor)

    async def reserve_one(call: Call) -> Answer | None:
        order = plain_json.read(_ORDER, call.body)
        if order is None:
            return None
        wanted = _reserve(order, call.actor)
        await limiter.take(call.actor, weight(wanted))
        outcome = await reserve.ask(wanted)
        return refused(outcome) if isinstance(outcome, Exception) else reserve_answer(outcome)

    async def reserve_bulk(call: Call) -> Answer | None:
        bulk = plain_json.read(_BULK, call.body)
        if bulk is None:
            return None
        wanted = [_reserve(order, call.actor) for order in bulk.orders]
        await limiter.take(call.actor, sum(map(weight, wanted)))
        outcomes = await reserve.ask_many(wanted)
        return Answer(200, {"results": [order_result(outcome) for outcome in outcomes]})

    async def confirm_one(call: Call) -> Answer | None:
        part = plain_json.read(_PART, call.body or b"{}")
        if call.id is None or part is None:
            return None
        items = None if part.items is UNSET else _domain_items(part.items)
        wanted = Confirm(reservation_id=call.id, items=items, actor=call.actor)
        await limiter.take(call.actor, weight(wanted))
        return _settled(await confirm.ask(wanted))

    async def cancel_one(call: Call) -> Answer | None:
        if call.id is None or call.body not in (b"", b"{}"):
            return None
        await limiter.take(call.actor, 1)
        return _settled(await cancel.ask(Cancel(reservation_id=call.id, actor=call.actor)))

    return {
        ("POST", RESERVATIONS): reserve_one,
        ("POST", f"{RESERVATIONS}/bulk"): reserve_bulk,
        ("POST", f"{RESERVATIONS}/{ID}/confirm"): confirm_one,
        ("POST", f"{RESERVATIONS}/{ID}/cancel"): cancel_one,
    }


def _settled(outcome: Outcome | Exception) -> Answer:
    return refused(outcome) if isinstance(outcome, Exception) else Answer(200, to_json(outcome.hold))


def _gatherer(name: str, verb: Callable[..., Any], executor: Executor | None) -> Gatherer[Any, Outcome]:
    return Gatherer(
        name,
        _with_session(verb),
        max_batch=settings.GROUP_COMMIT_MAX_BATCH,
        max_weight=settings.GROUP_COMMIT_MAX_LINES,
        weight=weight,
        max_waiting=MAX_ORDERS_WAITING,
        patience_seconds=settings.GROUP_COMMIT_PATIENCE_SECONDS,
        work_seconds=settings.GROUP_COMMIT_WORK_SECONDS,
        executor=executor,
    )


def _with_session(verb: Callable[..., Any]) -> Callable[[Sequence[Any]], Any]:
    """The verb, whose thread keeps its database session, because the next batch may come at once."""

    def work(requests: Sequence[Any]) -> Any:
        try:
            return verb(requests)
        finally:
            database.return_session(after_seconds=KEPT_SECONDS)

    return work


# --- bodies --------------------------------------------------------------------------------------------------------


def _reserve(order: _Order, actor: str) -> Reserve:
    postal_code, ttl_minutes = order.delivery_postal_code, order.ttl_minutes
    return Reserve(
        order_id=UUID(order.order_id),
        items=_domain_items(order.items),
        delivery_postal_code=postal_code.strip() if isinstance(postal_code, str) else "",
        ttl_minutes=None if ttl_minutes is UNSET else ttl_minutes,
        allow_split=order.allow_split is not False,
        actor=actor,
    )


def _domain_items(items: Sequence[_Item | _PartItem]) -> tuple[Item, ...]:
    return tuple(
        Item(
            UUID(item.product_id),
            item.quantity,
            item.warehouse_id if isinstance(item.warehouse_id, str) else None,
        )
        for item in items
    )
