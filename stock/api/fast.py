"""The operations of stock on the fast path: availability of one product and of many, as the counters have it.

The questions that come together share one look at the counters. What these lack is left to the view in Django, which
reads the database.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Annotated, Any
from uuid import UUID

import msgspec
import orjson
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import QueryDict
from msgspec import UNSET, Meta, Struct, UnsetType
from rest_framework.exceptions import ValidationError

from inventory_project.foundation import database
from inventory_project.foundation.access.limits import limiter
from inventory_project.foundation.gathering import Gatherer
from inventory_project.foundation.http import plain_json
from inventory_project.foundation.http.answers import Answer
from inventory_project.foundation.http.fast_path import ID, Call, Operation
from inventory_project.foundation.http.plain_json import UUIDText
from stock import availability
from stock.api.availability import AvailabilityQuery, to_json
from stock.availability import ProductAvailability, Question
from warehouses import network
from warehouses.fields import PostalCodeText

MAX_LOOKS_TOGETHER = 256  # questions that share one look
MAX_PRODUCTS_TOGETHER = 2_000  # of these questions together
MAX_PRODUCTS_SHOWN = 50  # in one answer; making a longer one would keep the event loop busy
MAX_WAITING = 4_096  # questions in one process; beyond it they are refused


class _Bulk(Struct, forbid_unknown_fields=True):
    product_ids: Annotated[list[UUIDText], Meta(min_length=1, max_length=settings.AVAILABILITY_MAX_PRODUCTS)]
    postal_code: PostalCodeText | UnsetType | None = UNSET


_BULK = msgspec.json.Decoder(_Bulk)
Products = list[orjson.Fragment]  # the products of an answer, as JSON


def operations(executor: Executor | None = None) -> dict[tuple[str, str], Operation]:
    """The operations by method and path. `executor`, if it is given, looks at the counters."""
    looks: Gatherer[Question, Products | None] = Gatherer(
        "availability",
        _look,
        max_batch=MAX_LOOKS_TOGETHER,
        max_weight=MAX_PRODUCTS_TOGETHER,
        weight=lambda question: len(question.product_ids),
        max_waiting=MAX_WAITING,
        patience_seconds=settings.GROUP_COMMIT_PATIENCE_SECONDS,
        work_seconds=settings.GROUP_COMMIT_WORK_SECONDS,
        executor=executor,
    )

    async def look(question: Question, actor: str) -> Products | None:
        """None without Redis, and if the places of the warehouses must first be read from the database."""
        if not settings.REDIS_URL or (question.postal_code and not network.is_recent()):
            return None
        await limiter.take(actor, len(question.product_ids))
        found = await looks.call(question)
        if found is None:
            limiter.give_back(actor, len(question.product_ids))  # Django charges for it when it answers
        return found

    async def of_one(call: Call) -> Answer | None:
        query = _query(call.query)
        if call.id is None or call.body or query is None:
            return None
        found = await look(Question(product_ids=(call.id,), **query), call.actor)
        return None if found is None else Answer(200, found[0])

    async def of_many(call: Call) -> Answer | None:
        bulk = plain_json.read(_BULK, call.body)
        if bulk is None or len(bulk.product_ids) > MAX_PRODUCTS_SHOWN:
            return None
        found = await look(_question(bulk), call.actor)
        return None if found is None else Answer(200, {"products": found})

    return {
        ("GET", f"/api/inventory/products/{ID}/availability"): of_one,
        ("POST", "/api/inventory/availability"): of_many,
    }


def _look(questions: Sequence[Question]) -> list[Products | None]:
    """The products that each question asks for. Those of equal questions are put together once."""
    asked = list(dict.fromkeys(questions))
    try:
        found = availability.from_counters(asked)
        formatted = [None if products is None else _as_json(products) for products in found]
        answers = dict(zip(asked, formatted, strict=True))
        return [answers[question] for question in questions]
    finally:
        database.return_session()  # a look uses the database only to read the warehouses again


def _as_json(products: Sequence[ProductAvailability]) -> Products:
    return [orjson.Fragment(orjson.dumps(to_json(product))) for product in products]


def _question(bulk: _Bulk) -> Question:
    postal_code = bulk.postal_code.strip() if isinstance(bulk.postal_code, str) else ""
    return Question(product_ids=tuple(map(UUID, bulk.product_ids)), postal_code=postal_code)


def _query(query: bytes) -> dict[str, Any] | None:
    """The checked parameters; None if Django must refuse them."""
    if not query:
        return {}
    try:
        return AvailabilityQuery.read(QueryDict(query))
    except (ValidationError, SuspiciousOperation):
        return None
