"""Allocation policies: how staff want warehouses to be chosen for the orders of a region. Pure data with its checks."""

from dataclasses import dataclass, replace
from typing import Any, Literal

Preference = Literal["fewest_parcels", "nearest", "priority", "balance"]
Split = Literal["never", "by_line", "fewest_parcels", "at_most"]

PREFERENCES: tuple[Preference, ...] = ("fewest_parcels", "nearest", "priority", "balance")
SPLITS: tuple[Split, ...] = ("never", "by_line", "fewest_parcels", "at_most")
MAX_PARCELS = 3  # what `at_most` may allow: the search for the best so many warehouses stays exact and short
MAX_TOLERANCE_KM = 20_000.0  # half way round the earth: everything is equally near


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules for orders that go to `region`; an empty one means every region without rules of its own.

    `preferences` are applied in order, each to the choices that the ones before it left equal; the warehouse id decides
    last. Warehouses at most `tolerance_km` farther than the nearest count as equally near. `split` says into how many
    parcels an order may go: `never` more than one, `by_line` only between its lines, `fewest_parcels` as few as
    possible without a limit, `at_most` no more than `most_parcels`.
    """

    region: str = ""
    preferences: tuple[Preference, ...] = PREFERENCES
    tolerance_km: float = 50.0
    split: Split = "fewest_parcels"
    most_parcels: int | None = None
    is_built_in: bool = False


BUILT_IN = Policy(is_built_in=True)  # where staff have created none


def for_paid(policy: Policy) -> Policy:
    """The policy for an order that is already paid: it may go in any number of parcels."""
    return replace(policy, split="fewest_parcels", most_parcels=None)


def regions_of(value: Any) -> list[str]:
    """The regions that a warehouse serves; empty, which means all, if the row holds anything but a list of texts."""
    is_list = isinstance(value, list) and all(isinstance(region, str) for region in value)
    return value if is_list else []


def problems(policy: Policy) -> dict[str, str]:
    """What is wrong with the policy: one sentence by field; empty if it is valid."""
    found = {}
    wrong = _preferences(policy)
    if wrong:
        found["preferences"] = wrong
    if not 0 <= policy.tolerance_km <= MAX_TOLERANCE_KM:  # NaN is neither
        found["tolerance_km"] = f"The tolerance is 0 to {MAX_TOLERANCE_KM:,.0f} km, not {policy.tolerance_km}."
    if policy.split not in SPLITS:
        found["split"] = f"The split is one of {', '.join(SPLITS)}, not {policy.split!r}."
    elif policy.split == "at_most":
        if policy.most_parcels is None or not 1 <= policy.most_parcels <= MAX_PARCELS:
            found["most_parcels"] = f"With at_most say how many parcels: 1 to {MAX_PARCELS}."
    elif policy.most_parcels is not None:
        found["most_parcels"] = f"A number of parcels goes with at_most, not with {policy.split}: leave it empty."
    return found


def _preferences(policy: Policy) -> str | None:
    if not policy.preferences:
        return "Name at least one preference; without any, the lowest warehouse id would serve everything."
    unknown = [name for name in policy.preferences if name not in PREFERENCES]
    if unknown:
        return f"There is no preference {unknown[0]!r}; there are {', '.join(PREFERENCES)}."
    if len(set(policy.preferences)) < len(policy.preferences):
        return "A preference is named twice; the second time it would have nothing to say."
    if policy.split == "fewest_parcels" and policy.preferences[0] != "fewest_parcels":
        return (
            "These contradict each other: the split fewest_parcels asks for the number of parcels before anything "
            f"else, and {policy.preferences[0]} stands before it here. Put fewest_parcels first, or choose at_most."
        )
    return None
