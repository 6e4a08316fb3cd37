"""How the orders were served, counted: for each contender, and in comparison with another one. Pure."""

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
        """Count all that the other one has."""
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
        """The mean over orders that were served; None where none was."""
        return self.parcels.total() / self.served if self.served else None

    @property
    def mean_km(self) -> float | None:
        """Per parcel, of those whose distance is known; None where none is."""
        known = self.distances.total()
        return sum(km * count for km, count in self.distances.items()) / known if known else None

    @property
    def p95_km(self) -> float | None:
        """What 95 of 100 parcels do not exceed, by the nearest rank; None where no distance is known."""
        rank = ceil(0.95 * self.distances.total())
        for km, count in sorted(self.distances.items()):
            rank -= count
            if rank <= 0:
                return km
        return None


@dataclass(slots=True)
class Differences:
    """Orders that came out otherwise than with the contender that all are compared with.

    `moved`: both served them, from other warehouses or in other shares; `gained` and `lost`: only one of them did.
    """

    moved: int = 0
    gained: int = 0
    lost: int = 0

    def add(self, outcome: Outcome, reference: Outcome) -> bool:
        """Count what differs; whether anything does."""
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
    """An order to which a contender did `outcome`, and the one that all are compared with did `reference`."""

    contender: str
    order: Order
    outcome: Outcome
    reference: Outcome
