"""A checkout day at a held rate: most look, some reserve, a few of them pay, one in a hundred thinks better of it."""

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import quantiles
from uuid import UUID, uuid4

from benchmarks import in_process, open_loop
from benchmarks.closed_loop import REFUSED
from benchmarks.open_loop import Answer, Request
from benchmarks.scene import Scene
from benchmarks.stage import AS_IT_IS, Stage

SHARES = {"read": 80, "reserve": 15, "confirm": 4, "cancel": 1}  # %
EXPECTED = {"read": 200, "reserve": 201, "confirm": 200, "cancel": 200}
WARM_UP_SECONDS = 2.0
SEED = 20_260_101


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFigures:
    """The requests of one kind; milliseconds from when they were due."""

    kind: str
    as_expected: int
    refused: int
    wrong: int
    unanswered: int
    p50_ms: float
    p99_ms: float
    longest_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What the day was like. The client's CPU is not the service's: on fewer cores it is in the way of it."""

    rate: float
    seconds: float
    kinds: list[KindFigures]
    client_cpu_share: float  # of one core


class Shoppers:
    """What they want next: products of the scene after Zipf, and holds that were made for them to settle."""

    def __init__(self, scene: Scene, *, holds: Sequence[UUID], token: str) -> None:
        self._chance = random.Random(SEED)  # noqa: S311  # no secret
        self._products = scene.product_ids
        self._weights = list(accumulate(1 / rank for rank in range(1, 1 + len(scene.product_ids))))
        self._holds = iter(holds)
        self._headers = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"

    def next(self) -> Request:
        """The next request, of a random kind."""
        [kind] = self._chance.choices(list(SHARES), list(SHARES.values()))
        path = "/api/inventory/reservations"
        if kind == "read":
            return self._request(kind, "GET", f"/api/inventory/products/{self._product()}/availability", "")
        if kind == "reserve":
            items = f'[{{"product_id": "{self._product()}", "quantity": 1}}]'
            return self._request(kind, "POST", path, f'{{"order_id": "{uuid4()}", "items": {items}}}')
        return self._request(kind, "POST", f"{path}/{next(self._holds)}/{kind}", "{}")

    def _product(self) -> UUID:
        [product_id] = self._chance.choices(self._products, cum_weights=self._weights)
        return product_id

    def _request(self, kind: str, method: str, path: str, body: str) -> Request:
        text = f"{method} {path} HTTP/1.1\r\n{self._headers}Content-Length: {len(body)}\r\n\r\n{body}"
        return Request(kind, text.encode("ascii"))


def run(stage: Stage, scene: Scene, *, rate: float, seconds: float) -> Day:
    """Hold the rate for so long, after a moment at the same rate that does not count."""
    needed = rate * (seconds + WARM_UP_SECONDS)  # more than enough: one in twenty settles
    holds = [id_ for _ in range(math.ceil(needed / 10 / in_process.BATCH_SIZE)) for id_ in in_process.held(scene)]
    shoppers = Shoppers(scene, holds=holds, token=stage.token)
    stage.settle()
    port = stage.services[AS_IT_IS].port
    open_loop.run(port, shoppers.next, rate=rate, seconds=min(WARM_UP_SECONDS, seconds), seed=SEED)
    began, cpu_began = time.perf_counter(), time.process_time()
    answers = open_loop.run(port, shoppers.next, rate=rate, seconds=seconds, seed=SEED + 1)
    cpu, passed = time.process_time() - cpu_began, time.perf_counter() - began
    return Day(
        rate=rate,
        seconds=seconds,
        kinds=[
            _figures(kind, found) for kind in SHARES if (found := [answer for answer in answers if answer.kind == kind])
        ],
        client_cpu_share=cpu / passed,
    )


def _figures(kind: str, answers: Sequence[Answer]) -> KindFigures:
    statuses = [answer.status for answer in answers]
    as_expected, unanswered = statuses.count(EXPECTED[kind]), statuses.count(0)
    refused = sum(map(statuses.count, REFUSED))
    milliseconds = [1_000 * answer.seconds for answer in answers]
    cuts = quantiles(milliseconds, n=100, method="inclusive") if len(milliseconds) > 1 else milliseconds * 99
    return KindFigures(
        kind=kind,
        as_expected=as_expected,
        refused=refused,
        wrong=len(answers) - as_expected - refused - unanswered,
        unanswered=unanswered,
        p50_ms=cuts[49],
        p99_ms=cuts[98],
        longest_ms=max(milliseconds),
    )
