"""64 orders of a hundred lines come at once over HTTP: all are decided, and none keeps the stock locked for long."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.integration.group_commit.conftest import Serve
from tests.integration.races.test_large_orders import LINES, MAX_LOCKED_SECONDS, ORDERS, orders, stocked, watching
from tests.service import Answer, Service


def patiently(service: Service, body: dict[str, Any]) -> Answer:
    """The answer to a client who comes again when it is told to: a busy process refuses what has waited 3 seconds."""
    while True:
        answer = service.ask("POST", "/api/inventory/reservations", body)
        if answer.status != 503:
            return answer
        assert answer.json()["code"] == "overloaded"
        time.sleep(float(answer.headers["Retry-After"]))


def test_64_orders_of_100_lines_at_once_are_all_decided(books: None, serve: Serve) -> None:
    bodies = [
        {
            "order_id": str(order.order_id),
            "items": [{"product_id": str(item.product_id), "quantity": item.quantity} for item in order.items],
        }
        for order in orders(stocked(), ORDERS)
    ]
    assert len(bodies[0]["items"]) == LINES
    with serve() as service, watching() as watch, ThreadPoolExecutor(ORDERS) as threads:
        answers = list(threads.map(lambda body: patiently(service, body), bodies))
    assert {answer.status for answer in answers} == {201}
    assert watch.longest < MAX_LOCKED_SECONDS
