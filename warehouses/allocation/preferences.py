"""What a policy prefers: scores of warehouses, and the choice between plans that are all possible. Pure.

A plan is a set of warehouses, and its score is the sum of theirs. Each preference is asked in its turn about the plans
that those before it left, and keeps the best ones, equally good ones within its tolerance. What all of them leave is
told apart by distance without the tolerance, where distance counts at all, and by the ids at last, so there is always
an answer and always the same one.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from warehouses.allocation.policies import Policy, Preference

ONLY_CANDIDATE = "only_candidate"
BY_ID = "id"


class Place(NamedTuple):
    """A warehouse as it is seen from where an order goes.

    `distance_km` is None where one of the two places is not known; `is_serving`: it may send goods to that region;
    `is_by_postal_code`: it has no coordinates, and lies where its postal code does.
    """

    warehouse_id: str
    region: str
    priority: int
    distance_km: float | None = None
    is_serving: bool = True
    is_by_postal_code: bool = False


def by_distance(place: Place) -> tuple[float, int, str]:
    """A key that sorts the nearest first, then by region priority and id; whose distance is not known comes last."""
    return math.inf if place.distance_km is None else place.distance_km, place.priority, place.warehouse_id


class Option(NamedTuple):
    """A warehouse that could have a part in serving an order.

    `units` are what it has for each of the lines; `share_taken` is the share, 0 to 1, of what it had of their products
    after the last replenishment that has been sold since or is held.
    """

    place: Place
    is_used: bool  # a line of the order names it, so a parcel leaves from there anyway
    units: tuple[int, ...]
    share_taken: float


Plan = tuple[Option, ...]


def fewest_parcels(option: Option) -> int:
    """A parcel each, but for those that leave anyway."""
    return 0 if option.is_used else 1


def nearest(option: Option) -> float:
    """The way to the customer in kilometres; what is not known is farther than anything."""
    return math.inf if option.place.distance_km is None else option.place.distance_km


def priority(option: Option) -> int:
    """The lower region priority first, compared across regions."""
    return option.place.priority


def balance(option: Option) -> float:
    """The least share taken first: so near-equals take turns, and larger stocks serve more."""
    return option.share_taken


SCORES: Mapping[Preference, Callable[[Option], float]] = {
    "fewest_parcels": fewest_parcels,
    "nearest": nearest,
    "priority": priority,
    "balance": balance,
}


@dataclass(slots=True)
class Choice:
    """The preferred plan, and how it came to be that.

    `tie_break` is what left it alone. `said` has for each preference that was asked its best score (None where none is
    known) and how many plans it left; `lost`, where plans are single warehouses, what each of the others lost by.
    """

    plan: Plan
    tie_break: str = ONLY_CANDIDATE
    said: list[list[str | float | None]] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)


def choose(plans: Sequence[Plan], policy: Policy) -> Choice:
    """The plan that the policy prefers; there is at least one."""
    choice = Choice(plans[0])
    remaining = plans
    for name in policy.preferences:
        if len(remaining) > 1:
            remaining = _asked(choice, remaining, name, policy.tolerance_km if name == "nearest" else 0.0)
    if len(remaining) > 1 and "nearest" in policy.preferences:
        nearer = _asked(choice, remaining, "nearest", 0.0)  # of equals in all else nobody would take the farther
        if len(nearer) == len(remaining):
            choice.said.pop()  # it had nothing more to say
        remaining = nearer
    if len(remaining) > 1:
        first, *others = sorted(remaining, key=_ids)
        _note_losers(choice, BY_ID, others)
        remaining = [first]
    choice.plan = remaining[0]
    return choice


def _asked(choice: Choice, plans: Sequence[Plan], name: Preference, tolerance: float) -> Sequence[Plan]:
    """The best of the plans by this preference."""
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
    """The most preferred first: the preferred one of all, then of the others, and so on."""
    left = list(options)
    found: list[Option] = []
    while left:
        [first] = choose([(option,) for option in left], policy).plan
        found.append(first)
        left.remove(first)
    return found
