"""SIGTERM under load (F17): who has sent a request gets its answer, and what was answered is in the books."""

import http.client
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from reservations.models import Reservation
from tests import factories
from tests.integration.group_commit import callers
from tests.integration.group_commit.conftest import Serve
from tests.service import Service

CLIENTS, LOAD_SECONDS = 64, 1.0
PAUSES = (0.0, 0.05, 0.1, 0.15, 0.2)  # seconds between the two requests of a connection: some are always silent
DELAY = "reserve.after_lock=sleep:0.03"  # so that at any moment callers are QUEUED behind a batch


class Client:
    """Reserves again and again until nobody listens, twice on each connection."""

    def __init__(self, port: int, product_id: UUID, *, pause_seconds: float) -> None:
        self.port, self.product_id, self.pause_seconds = port, product_id, pause_seconds
        self.acknowledged: set[UUID] = set()
        self.told: Counter[str] = Counter()

    def run(self) -> None:
        while True:
            try:
                line = callers.Line(self.port)
            except ConnectionRefusedError:
                return
            self._reserve(line)
            if line.is_open:  # otherwise the service said that it was the last answer on this one
                time.sleep(self.pause_seconds)
                self._reserve(line)
            line.close()

    def _reserve(self, line: callers.Line) -> None:
        try:
            answer = line.ask(callers.reservation(self.product_id))
        except (OSError, http.client.HTTPException) as error:
            self.told[f"no answer: {type(error).__name__}"] += 1
            line.close()
            return
        self.told[answer.word] += 1
        if answer.status == 201:
            self.acknowledged.add(UUID(answer.body["id"]))


def stop_under_load(service: Service) -> tuple[Counter[str], set[UUID]]:
    """What 64 clients were told until the service had ended, and what was acknowledged to them."""
    product = factories.product({factories.SP: 100_000})
    clients = [Client(service.port, product.pk, pause_seconds=PAUSES[i % len(PAUSES)]) for i in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        for client in clients:
            threads.submit(client.run)
        time.sleep(LOAD_SECONDS)
        assert service.stop() == 0
    told = sum((client.told for client in clients), Counter[str]())
    return told, {id_ for client in clients for id_ in client.acknowledged}


@pytest.mark.usefixtures("books")
def test_on_sigterm_every_request_that_was_sent_is_answered_and_every_201_is_in_the_books(serve: Serve) -> None:
    with serve(INVENTORY_CRASH_POINT=DELAY) as service:
        told, acknowledged = stop_under_load(service)
    assert told.keys() == {"ACTIVE"}, told
    assert len(acknowledged) == told["ACTIVE"] > CLIENTS
    assert set(Reservation.objects.values_list("id", flat=True)) == acknowledged


@pytest.mark.usefixtures("books")
def test_control_with_the_worker_of_uvicorn_some_are_not_answered(serve: Serve) -> None:
    worker = "--worker-class uvicorn_worker.UvicornWorker"
    with serve(INVENTORY_CRASH_POINT=DELAY, GUNICORN_CMD_ARGS=worker) as service:
        told, acknowledged = stop_under_load(service)
    assert told.keys() - {"ACTIVE"} != set()
    assert set(Reservation.objects.values_list("id", flat=True)) >= acknowledged
