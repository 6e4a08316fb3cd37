"""Counts how each contender served the orders, and how it differs from another contender. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from reservations.analysis.simulation.events import Order, Outcome, Reason
from warehouses.network import View


@dataclass(slots=True)
class Figures:
    """How orders were served. A parcel is what one warehouse gives to one order; `several`: orders in more than one.

    `parcels` by warehouse, `distances` by kilometres; `unplaced` are the parcels whose distance is not known.
    """

    orders: int = 0
    refused: Counter[Reason] = field(default_factory=Counter)
    several: int = 0
    parcels: Counter[str] = field(default_factory=Counter)
    distances: Counter[float] = field(default_factory=Counter)
    unplaced: int = 0

    def add(self, outcome: Outcome, view: View) -> None:
        """Count one more order."""
        self.orders += 1
        if isinstance(outcome, str):
            self.refused[outcome] += 1
            return
        warehouse_ids = {part.warehouse_id for part in outcome}
        self.several += len(warehouse_ids) > 1
        for warehouse_id in warehouse_ids:
            self.parcels[warehouse_id] += 1
            distance_km = view[warehouse_id].distance_km
            if distance_km is None:
                self.unplaced += 1
            else:
                self.distances[distance_km] += 1

    def merge(self, other: "Figures") -> None:
        """Add all counts of the other figures."""
        self.orders += other.orders
        self.refused.update(other.refused)
        self.several += other.several
        self.parcels.update(other.parcels)
        self.distances.update(other.distances)
        self.unplaced += other.unplaced

    @property
    def served(self) -> int:
        return self.orders - self.refused.total()

    @property
    def parcels_per_order(self) -> float | None:
        """The mean over the orders that were served; None if none was."""
        return self.parcels.total() / self.served if self.served else None

    @property
    def mean_km(self) -> float | None:
        """The mean distance of the parcels whose distance is known; None if none is."""
        known = self.distances.total()
        return sum(km * count for km, count in self.distances.items()) / known if known else None

    @property
    def p95_km(self) -> float | None:
        """The distance that 95 of 100 parcels do not exceed, by the nearest rank; None if no distance is known."""
        rank = ceil(0.95 * self.distances.total())
        for km, count in sorted(self.distances.items()):
            rank -= count
            if rank <= 0:
                return km
        return None


@dataclass(slots=True)
class Differences:
    """Orders that a contender served differently from the reference contender.

    `moved`: both served them, but from other warehouses or in other shares. `gained`: only the contender served them.
    `lost`: only the reference did.
    """

    moved: int = 0
    gained: int = 0
    lost: int = 0

    def add(self, outcome: Outcome, reference: Outcome) -> bool:
        """Count the order if the two outcomes differ. Returns whether they do."""
        before = self.total
        if isinstance(outcome, str):
            self.lost += not isinstance(reference, str)
        elif isinstance(reference, str):
            self.gained += 1
        else:
            self.moved += outcome != reference
        return self.total > before

    @property
    def total(self) -> int:
        return self.moved + self.gained + self.lost


class Difference(NamedTuple):
    """An order with `outcome` for a contender and `reference` for the contender that all are compared with."""

    contender: str
    order: Order
    outcome: Outcome
    reference: Outcome
