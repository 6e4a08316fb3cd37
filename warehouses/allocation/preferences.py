"""Chooses among possible plans by the preferences of a policy. Pure.

A plan is a set of warehouses, and its score is the sum of theirs. The preferences are applied in order; each keeps the
best of the remaining plans, including those within its tolerance. If several plans remain, the exact distance decides
(if the policy considers distance at all), and then the warehouse ids. So there is always an answer, and always the same
one.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from warehouses.allocation.policies import Policy, Preference

ONLY_CANDIDATE = "only_candidate"
BY_ID = "id"


class Place(NamedTuple):
    """A warehouse as seen from one delivery.

    `distance_km` is None if one of the two positions is not known. `is_serving`: it ships to the delivery region.
    `is_by_postal_code`: it has no coordinates, so the position of its postal code is used.
    """

    warehouse_id: str
    region: str
    priority: int
    distance_km: float | None = None
    is_serving: bool = True
    is_by_postal_code: bool = False


def by_distance(place: Place) -> tuple[float, int, str]:
    """A sort key: the nearest first, then by region priority and id. Unknown distances come last."""
    return math.inf if place.distance_km is None else place.distance_km, place.priority, place.warehouse_id


class Option(NamedTuple):
    """A warehouse that could help to serve an order.

    `units` is its stock for each line. `share_taken` (0 to 1) says how much of its stock of these products after the
    last replenishment has been sold since or is held.
    """

    place: Place
    is_used: bool  # a line of the order names it, so a parcel leaves from there anyway
    units: tuple[int, ...]
    share_taken: float


Plan = tuple[Option, ...]


def fewest_parcels(option: Option) -> int:
    """One parcel for each warehouse, and none for a warehouse that sends one anyway."""
    return 0 if option.is_used else 1


def nearest(option: Option) -> float:
    """The distance to the customer in kilometres; infinite if it is not known."""
    return math.inf if option.place.distance_km is None else option.place.distance_km


def priority(option: Option) -> int:
    """The region priority; the lowest number is best, compared across regions."""
    return option.place.priority


def balance(option: Option) -> float:
    """The share taken; the lowest is best. So similar warehouses take turns, and larger stocks serve more orders."""
    return option.share_taken


SCORES: Mapping[Preference, Callable[[Option], float]] = {
    "fewest_parcels": fewest_parcels,
    "nearest": nearest,
    "priority": priority,
    "balance": balance,
}


@dataclass(slots=True)
class Choice:
    """The preferred plan, and why it was preferred.

    `tie_break` is the preference that left only this plan. `said` has an entry for each preference that was applied:
    its best score (None if none is known) and the number of plans it left. `lost` says, for plans of one warehouse, by
    which preference each of the others lost.
    """

    plan: Plan
    tie_break: str = ONLY_CANDIDATE
    said: list[list[str | float | None]] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)


def choose(plans: Sequence[Plan], policy: Policy) -> Choice:
    """The plan that the policy prefers. `plans` must not be empty."""
    choice = Choice(plans[0])
    remaining = plans
    for name in policy.preferences:
        if len(remaining) > 1:
            remaining = _asked(choice, remaining, name, policy.tolerance_km if name == "nearest" else 0.0)
    if len(remaining) > 1 and "nearest" in policy.preferences:
        nearer = _asked(choice, remaining, "nearest", 0.0)  # among plans equal in all else, the nearer one is better
        if len(nearer) == len(remaining):
            choice.said.pop()  # it ruled nothing out
        remaining = nearer
    if len(remaining) > 1:
        first, *others = sorted(remaining, key=_ids)
        _note_losers(choice, BY_ID, others)
        remaining = [first]
    choice.plan = remaining[0]
    return choice


def _asked(choice: Choice, plans: Sequence[Plan], name: Preference, tolerance: float) -> Sequence[Plan]:
    """The best plans by this preference, those within the tolerance included; records them in `choice`."""
    score = SCORES[name]
    scores = [score(plan[0]) if len(plan) == 1 else sum(map(score, plan)) for plan in plans]
    best = min(scores)
    worst_kept = best + tolerance
    if max(scores) > worst_kept:
        _note_losers(choice, name, [plan for plan, found in zip(plans, scores, strict=True) if found > worst_kept])
        plans = [plan for plan, found in zip(plans, scores, strict=True) if found <= worst_kept]
    choice.said.append([name, None if best == math.inf else round(best, 4), len(plans)])
    return plans


def _note_losers(choice: Choice, name: str, losers: Iterable[Plan]) -> None:
    choice.tie_break = name
    for plan in losers:
        if len(plan) == 1:
            choice.lost[plan[0].place.warehouse_id] = name


def _ids(plan: Plan) -> list[str]:
    return sorted([option.place.warehouse_id for option in plan])


def ranked(options: Iterable[Option], policy: Policy) -> list[Option]:
    """The options in the order of preference: the preferred one of all, then that of the rest, and so on."""
    left = list(options)
    found: list[Option] = []
    while left:
        [first] = choose([(option,) for option in left], policy).plan
        found.append(first)
        left.remove(first)
    return found
