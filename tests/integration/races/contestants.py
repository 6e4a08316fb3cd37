"""Who races: buyers, payers, clerks and sweepers, as functions that can be sent to another process."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from django.test import Client, override_settings
from prometheus_client import Metric

from inventory_project.foundation import batches
from inventory_project.foundation.errors import Refusal, Unavailable
from reservations import lifecycle
from reservations.lifecycle import Answer
from reservations.requests import Cancel, Confirm, Expire, Outcome, Pay, Reserve, Return
from stock import blocking, documents
from tests.factories import ACTOR, make_overdue

Request = TypeVar("Request")

TRIES = 20  # of a client who is told to come back; twenty times 503 is a fault and no bad luck


def ask(verb: Callable[[Sequence[Request]], list[Answer]], request: Request) -> Answer:
    """The answer to a client who repeats the request while the service is unavailable."""
    for _ in range(TRIES):
        try:
            answer = verb([request])[0]
        except Unavailable as refusal:
            answer = refusal
        if not isinstance(answer, Unavailable):
            break
    return answer


reserve = partial(ask, lifecycle.reserve_many)


def confirm(reservation_id: UUID) -> Answer:
    return ask(lifecycle.confirm_many, Confirm(reservation_id=reservation_id, actor=ACTOR))


def cancel(reservation_id: UUID) -> Answer:
    return ask(lifecycle.cancel_many, Cancel(reservation_id=reservation_id, actor=ACTOR))


def expire(reservation_id: UUID) -> Answer:
    return ask(lifecycle.expire_many, Expire(reservation_id=reservation_id, only_if_due=False, actor=ACTOR))


def take_back(reservation_id: UUID, reference: str) -> Answer:
    return ask(lifecycle.return_many, Return(reservation_id=reservation_id, reference=reference, actor=ACTOR))


def pay(order_id: UUID) -> Answer:
    return ask(lifecycle.pay_many, Pay(order_id=order_id, actor=ACTOR))


def sweep_once() -> int:
    """One batch of the sweeper."""
    return lifecycle.expire_due(limit=lifecycle.SWEEP_LIMIT)


def book(request: documents.DocumentRequest) -> documents.BookedDocument | Refusal:
    try:
        return documents.book(request)
    except Refusal as refusal:
        return refusal


def block_soon(product_id: UUID, *, seconds: float) -> None:
    """Block the product while the others are in the middle of what they do."""
    time.sleep(seconds)
    blocking.block_product(product_id, reason="a race", actor=ACTOR)


def reserve_until_refused(make: Callable[[], Reserve]) -> tuple[int, str]:
    """Reserve order after order; how many were granted, and the code of the refusal that ended it."""
    granted = 0
    while isinstance(answer := reserve(make()), Outcome):
        granted += 1
    return granted, answer.code


# --- the deadlock storm --------------------------------------------------------------------------------------------


def storm(requests: Sequence[Reserve]) -> tuple[list[Answer], float]:
    """Reserve each order and then confirm, cancel, expire or keep it, in turn.

    All answers, and how many transactions of this process failed as a whole meanwhile: `batches.run` absorbs a deadlock
    and nobody would know.
    """
    failures = counted("batch_failures")
    answers: list[Answer] = []
    for i, request in enumerate(requests):
        answer = ask(lifecycle.reserve_many, request)
        answers.append(answer)
        if not isinstance(answer, Outcome):
            continue
        hold = answer.hold
        if i % 4 == 0:
            answers += lifecycle.confirm_many([Confirm(reservation_id=hold.id, actor=ACTOR)])
        elif i % 4 == 1:
            answers += lifecycle.cancel_many([Cancel(reservation_id=hold.id, actor=ACTOR)])
        elif i % 4 == 2:
            make_overdue(hold)
            sweep_once()
    return answers, counted("batch_failures") - failures


def api_open_to_all() -> AbstractContextManager[Any]:
    """The HTTP API asks for no token: who may call is another test's business."""
    Client().handler.load_middleware()  # before the threads: two that load it at once register its metrics twice
    return override_settings(API_AUTH_ENABLED=False, SECURE_SSL_REDIRECT=False)


def storm_over_http(requests: Sequence[Reserve]) -> list[int]:
    """Reserve each order through the whole stack of the web server; the statuses."""
    client = Client(SERVER_NAME="localhost", raise_request_exception=False)
    bodies = [
        {
            "order_id": str(request.order_id),
            "items": [{"product_id": str(item.product_id), "quantity": item.quantity} for item in request.items],
        }
        for request in requests
    ]
    return [
        client.post("/api/inventory/reservations", body, content_type="application/json").status_code for body in bodies
    ]


def counted(metric: str) -> float:
    """How far a metric of `batches` has risen in this process."""
    families: list[Metric] = getattr(batches, metric).collect()
    return sum(sample.value for family in families for sample in family.samples if not sample.name.endswith("_created"))
