"""Shoppers: clients over HTTP who go on an errand together and keep a log of what they were told."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from tests.processes import wait_until

API = "/api/inventory"
PATIENCE_SECONDS = 120
REFUSALS = ("insufficient_stock", "sales_blocked")


class Told(NamedTuple):
    """One answer. `word` is the status of a reservation, the source of an availability, or the code of a refusal."""

    status: int
    word: str
    seconds: float


class Shopper:
    """One client: what it was told on its last errand, and the state of each of its reservations as it heard it."""

    def __init__(self, number: int, port: int) -> None:
        self.number, self.port = number, port
        self.told: list[Told] = []
        self.holds: dict[UUID, str] = {}

    def look(self, product_id: UUID) -> dict[str, Any]:
        """The product's availability."""
        return self._ask("GET", f"/products/{product_id}/availability")

    def reserve(self, product_id: UUID, quantity: int = 1, *others: UUID, order_id: UUID | None = None) -> UUID | None:
        """The reservation's id, for a new order unless it is named; None when it was refused. One of each other."""
        items = [{"product_id": str(product_id), "quantity": quantity}]
        items += [{"product_id": str(other), "quantity": 1} for other in others]
        return self._noted(self._ask("POST", "/reservations", {"order_id": str(order_id or uuid4()), "items": items}))

    def settle(self, reservation_id: UUID, verb: str) -> None:
        """Confirm or cancel."""
        self._noted(self._ask("POST", f"/reservations/{reservation_id}/{verb}", {}))

    def _noted(self, answer: dict[str, Any]) -> UUID | None:
        if "id" not in answer:
            return None
        reservation_id = UUID(answer["id"])
        self.holds[reservation_id] = answer["status"]
        return reservation_id

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Over a connection of its own: one that is kept would bind the shopper to one of the web processes."""
        sent = None if body is None else json.dumps(body)
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, API + path, sent, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        finally:
            connection.close()
        word = answer.get("source") or answer.get("code") or answer["status"]
        self.told.append(Told(response.status, word, time.monotonic() - began))
        return answer


Errand = Callable[[Shopper], object]


class Trip:
    """An errand that all the shoppers are on, or were."""

    def __init__(self, shoppers: Sequence[Shopper], ends: Sequence[Future[None]]) -> None:
        self._shoppers, self._ends = shoppers, ends

    @property
    def is_over(self) -> bool:
        return all(end.done() for end in self._ends)

    @property
    def told(self) -> list[Told]:
        """What all were told so far, one shopper after the other."""
        return [told for shopper in self._shoppers for told in shopper.told]

    def wait_for(self, answers: int) -> None:
        """Until so many have been given, or no more will come."""
        wait_until(lambda: self.is_over or len(self.told) >= answers, seconds=PATIENCE_SECONDS)


class Shoppers:
    """A number of clients of one service, who go on the same errand at once."""

    def __init__(self, number: int, port: int) -> None:
        self.all = [Shopper(i, port) for i in range(number)]

    @property
    def holds(self) -> dict[UUID, str]:
        """All reservations that were ever acknowledged to anybody, and their states."""
        return {id_: state for shopper in self.all for id_, state in shopper.holds.items()}

    def go(self, errand: Errand) -> list[Told]:
        """Send all on the errand; what they were told."""
        with self.on_the_way(errand) as trip:
            pass
        return trip.told

    @contextmanager
    def on_the_way(self, errand: Errand) -> Iterator[Trip]:
        """The same while the block goes on; its end waits for those who are not back."""
        start = threading.Barrier(len(self.all))

        def run(shopper: Shopper) -> None:
            start.wait(PATIENCE_SECONDS)
            errand(shopper)

        for shopper in self.all:
            shopper.told = []
        with ThreadPoolExecutor(len(self.all)) as threads:
            ends = [threads.submit(run, shopper) for shopper in self.all]
            yield Trip(self.all, ends)
            for end in ends:
                end.result()


# --- errands -------------------------------------------------------------------------------------------------------


def busy_day(*, plenty: UUID, scarce: UUID, rounds: int) -> Errand:
    """Look, buy what is scarce, buy what there is plenty of, and keep, confirm or cancel that."""

    def errand(shopper: Shopper) -> None:
        for i in range(rounds):
            shopper.look(plenty)
            shopper.reserve(scarce)
            reservation_id = shopper.reserve(plenty)
            if reservation_id is not None and i % 4 in (1, 2):
                shopper.settle(reservation_id, "confirm" if i % 4 == 1 else "cancel")

    return errand


def rush(product_id: UUID, *, tries: int) -> Errand:
    """Try to buy one unit, again and again, whatever is said."""

    def errand(shopper: Shopper) -> None:
        for _ in range(tries):
            shopper.reserve(product_id)

    return errand


def buying(product_id: UUID, *, times: int, gives_up_after: int, waits_seconds: float) -> Errand:
    """Buy one unit so many times; who is refused comes back later, but not for ever."""

    def errand(shopper: Shopper) -> None:
        bought = refused = 0
        while bought < times and refused < gives_up_after:
            if shopper.reserve(product_id) is not None:
                bought, refused = bought + 1, 0
            else:
                refused += 1
                time.sleep(waits_seconds)

    return errand


# --- what was told -------------------------------------------------------------------------------------------------


def in_words(told: Sequence[Told]) -> Counter[tuple[int, str]]:
    """How often which answer was given; it does not matter from where an availability came."""
    sources = dict.fromkeys(("counters", "database"), "availability")
    return Counter((one.status, sources.get(one.word, one.word)) for one in told)


def most_refusals_in_a_row(told: Sequence[Told]) -> int:
    """The longest stretch of refusals; of several shoppers, one after the other, one more than any of them met."""
    rows = (list(row) for is_refusal, row in groupby(told, lambda one: one.word in REFUSALS) if is_refusal)
    return max(map(len, rows), default=0)


def slowest(told: Sequence[Told]) -> float:
    """Seconds."""
    return max(one.seconds for one in told)


def typical(told: Sequence[Told]) -> float:
    """Seconds; the median."""
    return median(one.seconds for one in told)
