"""Explains an allocation to callers and staff: one text that gives the reasons, and the full record. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from warehouses.allocation.record import in_full
from warehouses.allocation.words import OF_SEVERAL, REVIVED, STRATEGIES, TIE_BREAKS


def explain(record: Mapping[str, Any]) -> dict[str, Any]:
    """The full record (see `record.in_full`) with `sentence`, the explanation as text. The record must be readable."""
    full = in_full(record)
    return {"sentence": _sentence(full), **full}


def _sentence(full: Mapping[str, Any]) -> str:
    said = [_of_decision(decision, full) for decision in full["chosen"] if decision["strategy"] != "named"]
    named = [part for decision in full["chosen"] if decision["strategy"] == "named" for part in decision["parts"]]
    if named:
        places = _listed(sorted({part["warehouse_id"] for part in named}))
        is_revived = REVIVED in [note["code"] for note in full["notes"]]
        said.insert(
            0,
            f"Re-reserved at the original warehouse: {places}."
            if is_revived
            else f"Requested by the caller: {places}.",
        )
    absent = [one["warehouse_id"] for one in full["rejected"] if one["reason"] == "not_served"]
    if absent:
        said.append(f"Not serving {full['delivery']['region']}: {_at_most(absent)}.")
    return " ".join([*said, *(note["detail"] for note in full["notes"])])


def _of_decision(decision: Mapping[str, Any], full: Mapping[str, Any]) -> str:
    warehouse_ids = list(dict.fromkeys(part["warehouse_id"] for part in decision["parts"]))
    candidates = {candidate["warehouse_id"]: candidate for candidate in full["candidates"]}
    serving = _listed([_with_distance(candidates.get(key), key) for key in warehouse_ids])
    verb = "serves" if len(warehouse_ids) == 1 else "serve"
    share = "the order" if len(full["chosen"]) == 1 else "the rest"
    whole = "" if decision["strategy"] == "one_warehouse" else f" {STRATEGIES[decision['strategy']]}"
    reasons = TIE_BREAKS if len(warehouse_ids) == 1 else TIE_BREAKS | OF_SEVERAL
    before = "of those that were left, " if _is_narrowed(full, decision) else ""
    beaten = _beaten(full, decision)
    return f"{serving} {verb} {share}: {before}{reasons[decision['tie_break']]}{beaten}.{whole}"


def _is_narrowed(full: Mapping[str, Any], decision: Mapping[str, Any]) -> bool:
    """Whether an earlier preference had ruled out choices that may be nearer or need fewer parcels."""
    tie_break = decision["tie_break"]
    if tie_break not in ("nearest", "fewest_parcels"):
        return False
    left = [said["left"] for said in decision["said"] if said["preference"] != tie_break]
    return len(set(left)) > 1 or any(one["lost_by"] not in (None, tie_break) for one in full["candidates"])


def _with_distance(candidate: Mapping[str, Any] | None, warehouse_id: str) -> str:
    distance_km = candidate["distance_km"] if candidate else None
    if distance_km is None:
        return warehouse_id
    return f"{warehouse_id} ({'less than 1' if distance_km < 1 else f'{distance_km:,.0f}'} km away)"


def _listed(names: Sequence[str]) -> str:
    """The names as a list in a sentence: A, B and C."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _beaten(full: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
    """The warehouses that lost by the deciding preference, in parentheses."""
    losers = [one["warehouse_id"] for one in full["candidates"] if one["lost_by"] == decision["tie_break"]]
    return f" (before {_at_most(losers)})" if losers else ""


def _at_most(warehouse_ids: Sequence[str], most: int = 3) -> str:
    """The first `most` warehouse ids, and how many more there are."""
    named = list(dict.fromkeys(warehouse_ids))
    more = f" and {len(named) - most} more" if len(named) > most else ""
    return f"{', '.join(named[:most])}{more}"
