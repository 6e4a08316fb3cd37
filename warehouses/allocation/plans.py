"""Finds the sets of warehouses that can serve an order together. The search is exact within its limits.

Plans of two or more are looked for among the POOL nearest warehouses, and among all warehouses if those cannot serve.
MAX_STEPS limits the work, because the stock is locked meanwhile. Pure.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import ge, sub

from warehouses.allocation.policies import MAX_PARCELS
from warehouses.allocation.preferences import Option, Plan, by_distance

POOL = 20  # warehouses
MAX_STEPS = 10_000  # sets of warehouses looked at: some 20 ms for a few lines, more for many

Units = tuple[int, ...]  # of each line
Giver = tuple[Option, Units]  # a warehouse, and what it can supply of each line


@dataclass(slots=True, kw_only=True)
class Search:
    """The search for one order: its rules, and how far it came.

    `is_by_line`: each line must come whole from one warehouse. `most`: the maximum of warehouses in a plan.
    `is_fewest_first`: plans with more warehouses than necessary are not wanted. `is_given_up`: MAX_STEPS was reached
    before all sets were looked at. `is_narrowed`: sets with warehouses beyond the POOL nearest were not looked at.
    """

    is_by_line: bool
    most: int | None
    is_fewest_first: bool
    steps: int = 0
    is_given_up: bool = False
    is_narrowed: bool = False

    def plans(self, wanted: Units, options: Sequence[Option], used: Sequence[Option]) -> list[Plan]:
        """The minimal plans: sets that can serve everything with the `used` warehouses, and have no superfluous member.

        Used warehouses cost nothing and are not part of a plan. Empty if there is no plan, or if the search was given
        up before it found one. An empty plan means that the used warehouses are enough.
        """
        missing = wanted
        for option in used:
            missing = less(missing, self._given(option, wanted))
        if not any(missing):
            return [()]
        others = [option for option in options if not option.is_used] if used else list(options)
        most = len(others) if self.most is None else self.most
        # With whole lines, a line is missing whole or not at all, so comparing `units` is enough here.
        single = holders(others, missing) if most else []
        if most < 2 or not others or (single and self.is_fewest_first):
            return single
        others.sort(key=_nearest_first)
        givers = [(option, self._given(option, wanted)) for option in others]
        several = self._of_several(givers[:POOL], missing, most, is_served=bool(single))
        if len(givers) > POOL:
            self.is_narrowed = bool(single or several)
            if not self.is_narrowed:
                several = self._of_several(givers, missing, most, is_served=False)
        if not self.is_fewest_first:
            several = [plan for plan in several if not self._is_any_superfluous(plan, wanted, missing)]
        return single + several

    def _is_any_superfluous(self, plan: Plan, wanted: Units, missing: Units) -> bool:
        """Whether a warehouse of the plan could be left out. In a plan of the smallest size none can."""
        for superfluous in plan:
            rest = missing
            for option in plan:
                if option is not superfluous:
                    rest = less(rest, self._given(option, wanted))
            if not any(rest):
                return True
        return False

    def _given(self, option: Option, wanted: Units) -> Units:
        """What the warehouse can supply of each line. If lines must stay whole, that is the whole line or nothing."""
        if not self.is_by_line:
            return option.units
        return tuple([want if have >= want else 0 for have, want in zip(option.units, wanted, strict=True)])

    def _of_several(self, pool: Sequence[Giver], missing: Units, most: int, *, is_served: bool) -> list[Plan]:
        """The plans of two or more warehouses: up to the first size with a plan, or up to MAX_PARCELS."""
        columns = zip(*[given for _, given in pool], strict=True)
        at_best = [list(accumulate(sorted(column, reverse=True), initial=0)) for column in columns]
        if not all(best[-1] >= want for best, want in zip(at_best, missing, strict=True)):
            return []
        fewest = max(bisect_left(best, want) for best, want in zip(at_best, missing, strict=True))
        found: list[Plan] = []
        for size in range(max(2, fewest), min(most, len(pool)) + 1):
            if (found or is_served) and (self.is_fewest_first or size > MAX_PARCELS):
                break
            self._extend((), pool, missing, size, at_best, found)
        return found

    def _extend(
        self,
        chosen: Plan,
        pool: Sequence[Giver],
        missing: Units,
        size: int,
        at_best: Sequence[Sequence[int]],
        found: list[Plan],
    ) -> None:
        """Add to `found` each plan of the chosen and `size` more of the pool. `at_best` is the most that n can supply.

        Some warehouse must supply the first missing line. Once one has been tried, the later ones are tried without it,
        so no set is looked at twice.
        """
        line = next(i for i, want in enumerate(missing) if want)
        for position, (option, given) in enumerate(pool):
            if not given[line]:
                continue
            if self.steps >= MAX_STEPS:
                self.is_given_up = True
                return
            self.steps += 1
            rest = less(missing, given)
            if size == 1:
                if not any(rest):
                    found.append(tuple(sorted((*chosen, option), key=_nearest_first)))
                    self.steps = min(MAX_STEPS, self.steps + len(chosen))  # comparing it with the others costs time too
            elif any(rest) and all([want <= best[size - 1] for want, best in zip(rest, at_best, strict=True)]):  # noqa: C419  # faster
                others = [giver for giver in pool[:position] if not giver[1][line]]
                others += pool[position + 1 :]
                self._extend((*chosen, option), others, rest, size - 1, at_best, found)


def holders(options: Sequence[Option], wanted: Units) -> list[Plan]:
    """A plan of one warehouse for each warehouse that has enough of every line."""
    if len(wanted) == 1:  # as most orders have
        [want] = wanted
        return [(option,) for option in options if option.units[0] >= want]
    return [(option,) for option in options if covers(option.units, wanted)]


def covers(have: Sequence[int], wanted: Units) -> bool:
    """Whether `have` is enough for every line."""
    return all(map(ge, have, wanted))


def less(missing: Units, given: Units) -> Units:
    """What is missing of each line after `given`; never below zero."""
    return tuple([want if want > 0 else 0 for want in map(sub, missing, given)])


def _nearest_first(option: Option) -> tuple[float, int, str]:
    return by_distance(option.place)
