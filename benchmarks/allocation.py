"""How many allocations one core decides: twenty warehouses to choose from, nothing but the decision on the clock.

On it: where the postal code lies, the candidates of the stock, the choice, the record that is kept with the order.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from uuid import UUID

from benchmarks import measure
from benchmarks.measure import Range
from warehouses.allocation.decision import allocate
from warehouses.allocation.geography import Area, Point, PostalAreas
from warehouses.allocation.policies import BUILT_IN, Policy
from warehouses.allocation.terms import Candidate, Line
from warehouses.network import UNVERSIONED, Network, Site

WAREHOUSES = 20
TOWNS = 200  # that orders go to
UNITS = 1_000  # of each product at each warehouse
TYPICAL = "one line, built-in policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Orders of one kind."""

    name: str
    policy: Policy
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one kind of order took."""

    name: str
    warehouses: int
    per_second: Range


def cases() -> list[Case]:
    """From the plainest order to the widest search."""
    one, *others = [Line(UUID(int=i), 2, None) for i in range(1, 4)]
    too_much = Line(one.product_id, 5 * UNITS // 2, None)  # for two warehouses
    nearest_first = Policy(preferences=("nearest", "fewest_parcels", "priority"), split="at_most", most_parcels=3)
    return [
        Case(name=TYPICAL, policy=BUILT_IN, lines=(one,)),
        Case(name="three lines, built-in policy", policy=BUILT_IN, lines=(one, *others)),
        Case(name="one line, nearest first, at most 3 parcels", policy=nearest_first, lines=(one,)),
        Case(name="one line over three warehouses", policy=BUILT_IN, lines=(too_much,)),
    ]


def run(*, rounds: int, seconds: float) -> list[Figures]:
    """Measure every case, in turns of so many seconds; a first round warms up and does not count."""
    found = cases()
    turn = partial(per_second, seconds=seconds)
    measure.in_turns(found, turn, rounds=1, title="Allocation, warming up")
    seen = measure.in_turns(found, turn, rounds=rounds, title="Allocation")
    return [
        Figures(name=case.name, warehouses=WAREHOUSES, per_second=Range.of(rates))
        for case, rates in zip(found, seen, strict=True)
    ]


def per_second(case: Case, *, seconds: float) -> float:
    """Orders decided in a second of this process's CPU time, a different town each."""
    decide = orders(case)
    for number in range(TOWNS):
        decide(number)  # the distances of a town are kept from its first order on
    count = 0
    began = time.process_time()
    while time.process_time() - began < seconds:
        for i in range(50):
            decide(count + i)
        count += 50
    return count / (time.process_time() - began)


def orders(case: Case) -> Callable[[int], None]:
    """Decides the n-th order of the case. Raises AssertionError where it is refused, which would pass for speed."""
    random = Random(case.name)  # noqa: S311  # the same orders in every run
    towns = [_town(random, i) for i in range(TOWNS)]
    sites = {
        f"wh-{i:02}": Site(f"wh-{i:02}", "southeast", 1 + i % 3, random.choice(towns).point, frozenset())
        for i in range(WAREHOUSES)
    }
    network = Network(UNVERSIONED, sites, PostalAreas(towns, home="BR"), {"": case.policy})
    stock = _stock(random, case.lines, sites)

    def decide(number: int) -> None:
        view = network.seen_from(f"{towns[number % TOWNS].prefix}-000")
        candidates = {
            product_id: [
                Candidate(view[warehouse_id], available, False, False, reserved, UNITS)
                for warehouse_id, available, reserved in levels
            ]
            for product_id, levels in stock.items()
        }
        assert allocate(case.lines, candidates, delivery=view.delivery).parts

    return decide


def _town(random: Random, number: int) -> Area:
    point = Point(random.uniform(-30, 0), random.uniform(-60, -40))
    return Area("BR", f"{10_000 + number}", point, f"Town {number}", "southeast", False)


def _stock(random: Random, lines: Sequence[Line], sites: dict[str, Site]) -> dict[UUID, list[tuple[str, int, int]]]:
    """By product the warehouses with what is available and reserved there."""
    return {
        line.product_id: [(key, UNITS - random.randrange(100), random.randrange(50)) for key in sites] for line in lines
    }
