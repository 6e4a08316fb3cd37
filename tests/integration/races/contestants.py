"""Who races: buyers, payers, clerks and sweepers, as functions that can be sent to another process."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from random import choice, randrange, sample
from typing import Any, TypeVar
from uuid import UUID, uuid4

from django.test import Client, override_settings

from inventory_project.foundation import batches
from inventory_project.foundation.errors import Refusal, Unavailable
from reservations import lifecycle
from reservations.lifecycle import Answer
from reservations.requests import Cancel, Confirm, Expire, Item, Outcome, Pay, Reserve, Return
from stock import blocking, catalogue, documents
from tests import factories
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
    return lifecycle.sweep(should_stop=lambda: True).released


def book(request: documents.DocumentRequest) -> documents.BookedDocument | Refusal:
    try:
        return documents.book(request)
    except Refusal as refusal:
        return refusal


def until_stopped(stop: Path, call: Callable[[], object]) -> int:
    """Call again and again until the file exists; how often."""
    times = 0
    while not stop.exists():
        call()
        times += 1
    return times


def receive(product_id: UUID, warehouse_id: str) -> documents.BookedDocument | Refusal:
    """One unit more, by a receipt of its own."""
    return book(
        documents.DocumentRequest(
            kind=documents.Kind.RECEIPT,
            reference=f"receipt-{uuid4()}",
            warehouse_id=warehouse_id,
            items=((product_id, 1),),
            actor=ACTOR,
        )
    )


def receive_new_product(warehouse_id: str) -> documents.BookedDocument | Refusal:
    """The first receipt of a product: its stock level is created."""
    return receive(factories.product().pk, warehouse_id)


def rename(product_id: UUID) -> None:
    """Give the product a new SKU and a new threshold, as an import of the shop's catalogue does."""
    request = catalogue.ProductRequest(
        product_id=product_id,
        sku=f"SKU-{uuid4()}",
        name="A product",
        low_stock_threshold=randrange(1_000),  # noqa: S311  # no secret
    )
    with suppress(Unavailable):  # which is counted as a failure of its transaction
        catalogue.put(request)


def block_and_unblock(product_id: UUID) -> None:
    blocking.block_product(product_id, reason="a race", actor=ACTOR)
    blocking.unblock_product(product_id, reason="a race", actor=ACTOR)


def close_and_reopen(warehouse_id: str) -> None:
    blocking.close_warehouse(warehouse_id, actor=ACTOR)
    blocking.reopen_warehouse(warehouse_id, actor=ACTOR)


def shop(product_ids: Sequence[UUID]) -> None:
    """Order one unit each of some products, and then confirm and return, cancel, expire or keep it."""
    chosen = sample(product_ids, k=randrange(1, len(product_ids) + 1))  # noqa: S311  # no secret
    items = tuple(Item(product_id, 1) for product_id in chosen)
    answer = reserve(Reserve(order_id=uuid4(), items=items, actor=ACTOR))
    if not isinstance(answer, Outcome):
        return
    end = choice(("return", "cancel", "expire", "keep"))  # noqa: S311  # no secret
    if end == "return":
        confirm(answer.hold.id)
        take_back(answer.hold.id, "parcel-1")
    elif end == "cancel":
        cancel(answer.hold.id)
    elif end == "expire":
        make_overdue(answer.hold)
        sweep_once()


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

    All answers, and how many batches of this process failed meanwhile: `batches.run` absorbs a deadlock and nobody
    would know.
    """
    failures = failed_batches()
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
    return answers, failed_batches() - failures


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


def failed_batches(handled_by: str = "one_by_one") -> float:
    """How many batches of this process failed and were handled so; one by one after a deadlock, a race or damage.

    A lock that a busy machine does not free in time is none of these: that request just leaves its batch.
    """
    return float(batches.batch_failures.labels(handled_by)._value.get())
