"""Why these warehouses: the record of an allocation as callers and staff read it, a sentence and what is behind it.

Reads what `warehouses.allocation` keeps, and what its first version kept. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from warehouses.plans import POOL

STRATEGIES = {  # from the plainest to the last resort
    "named": "Each line comes from the warehouse that it named.",
    "one_warehouse": "One warehouse serves all lines that named none.",
    "split_by_line": "The lines come whole, from different warehouses.",
    "split_line": "A line comes from several warehouses.",
}
TIE_BREAKS = {
    "only_candidate": "no other could do it alone",
    "given_up": "there were too many sets of warehouses to look at, so a good one was taken",
    "fewest_parcels": "it makes the fewest parcels",
    "nearest": "it is the nearest",
    "priority": "of equally good ones, its region priority is the lowest number",
    "balance": "of equally good ones, the least share of its stock was taken since it was last replenished",
    "id": "others were equally good in everything, so the id decided",
    # of the first version:
    "fewest_warehouses": "it makes the fewest parcels",
    "stock": "of equally good ones, it had the most stock",
}
OF_SEVERAL = {  # the same where a plan has several warehouses
    "only_candidate": "no other set so small could do it",
    "fewest_parcels": "together they make the fewest parcels",
    "nearest": "together they are the nearest",
    "priority": "of equally good ones, their region priorities are the lowest numbers",
    "balance": "of equally good ones, the least share of their stock was taken since it was last replenished",
}
REVIVED = "revived"
NOTES = {
    "no_postal_code": "No postal code was given, so distances said nothing.",
    "unknown_postal_code": "Nothing is known of the postal code, so distances said nothing.",
    "rough_delivery": "Of the postal code no more than the state or the like is known, so distances are rough.",
    "warehouse_without_place": "The place of a warehouse is not known; it counts as farther than the others.",
    "warehouse_by_postal_code": "A warehouse has no coordinates; it is taken to lie where its postal code does.",
    "served_regions_unchecked": "The region of the delivery is not known, so none was left out for not serving it.",
    "unusable_policy": "The policy that holds there cannot be followed; the built-in one was used.",
    REVIVED: "A late payment brought the order back.",
    "search_given_up": "There were more sets of warehouses than are looked at; a better one may exist.",
    "far_not_compared": f"Sets were looked for among the {POOL} nearest warehouses; others may have a better one.",
}
READABLE = (1, 2)  # versions; a newer service that was rolled back leaves records of others
ABSENT: dict[str, Any] = {"policy": None, "allow_split": None, "delivery": None, "notes": [], "steps": None}


def is_readable(record: Mapping[str, Any]) -> bool:
    """Whether the record is of a version that `shown` knows."""
    return record.get("version") in READABLE


def shown(record: Mapping[str, Any]) -> dict[str, Any]:
    """The readable record in full: objects in place of lists, ids in place of positions, and what follows from both.

    `strategy` and `tie_break` are those of the decision that had to go furthest; `chosen` has every decision.
    `rejected` says what kept a warehouse from serving a line whole.
    """
    if record["version"] == 1:
        full = {**ABSENT, **record}
        full["candidates"] = [
            {**one, "distance_km": None, "lost_by": None, "share_taken": {}} for one in full["candidates"]
        ]
        full["chosen"] = [{**one, "said": []} for one in full["chosen"]]
    else:
        full = _in_full(record)
    return {"sentence": _sentence(full), **full}


def _in_full(record: Mapping[str, Any]) -> dict[str, Any]:
    products: Sequence[str] = record["products"]
    chosen = [
        {
            "strategy": strategy,
            "tie_break": tie_break,
            "said": [{"preference": name, "best": best, "left": left} for name, best, left in said],
            "parts": [
                {"product_id": products[i], "warehouse_id": warehouse_id, "quantity": quantity}
                for i, warehouse_id, quantity in parts
            ],
        }
        for strategy, tie_break, said, parts in record["chosen"]
    ]
    strategies = list(STRATEGIES)
    furthest = max(chosen, key=lambda decision: strategies.index(decision["strategy"]))
    return {
        "version": record["version"],
        "strategy": furthest["strategy"],
        "tie_break": furthest["tie_break"],
        "policy": dict(
            zip(
                ("region", "preferences", "tolerance_km", "split", "most_parcels", "is_built_in"),
                record["policy"],
                strict=True,
            )
        ),
        "allow_split": record["allow_split"],
        "delivery": dict(zip(("area", "name", "precision", "region"), record["delivery"], strict=True)),
        "notes": [{"code": code, "detail": NOTES[code]} for code in record["notes"]],
        "steps": record["steps"],
        "candidates": _candidates(record, products),
        "candidates_left_out": record["left_out"],
        "rejected": [
            {"warehouse_id": warehouse_id, "product_id": products[i], "reason": why}
            for warehouse_id, i, why in record["ruled_out"]
        ]
        + _insufficient(record, products),
        "chosen": chosen,
    }


def _candidates(record: Mapping[str, Any], products: Sequence[str]) -> list[dict[str, Any]]:
    """The nearest first, then by region priority and id."""
    candidates = []
    for position, (warehouse_id, region, priority, distance_km, lost_by) in enumerate(record["candidates"]):
        stocks = [
            (product_id, available[position], whole[position])
            for product_id, available, whole in zip(products, record["available"], record["whole"], strict=True)
            if available[position] is not None
        ]
        candidates.append(
            {
                "warehouse_id": warehouse_id,
                "region": region,
                "priority": priority,
                "distance_km": distance_km,
                "lost_by": lost_by,
                "available": {product_id: available for product_id, available, _ in stocks},
                "share_taken": {
                    product_id: round(1 - available / whole, 4) if whole else 0.0
                    for product_id, available, whole in stocks
                },
            }
        )
    return sorted(candidates, key=lambda one: (one["distance_km"] is None, one["distance_km"] or 0, one["priority"]))


def _insufficient(record: Mapping[str, Any], products: Sequence[str]) -> list[dict[str, Any]]:
    """The warehouses that could not serve a line whole that named none, after what named lines took there."""
    named = {(i, warehouse_id): quantity for i, quantity, warehouse_id in record["lines"] if warehouse_id is not None}
    found = []
    for i, quantity, named_warehouse_id in record["lines"]:
        if named_warehouse_id is not None:
            continue
        for (warehouse_id, *_), available in zip(record["candidates"], record["available"][i], strict=True):
            left = (available or 0) - named.get((i, warehouse_id), 0)
            if left < quantity:
                reason = {"reason": "insufficient", "requested": quantity, "available": left}
                found.append({"warehouse_id": warehouse_id, "product_id": products[i], **reason})
    return found


# --- as a sentence -------------------------------------------------------------------------------------------------


def _sentence(full: Mapping[str, Any]) -> str:
    said = [_of_decision(decision, full) for decision in full["chosen"] if decision["strategy"] != "named"]
    named = [part for decision in full["chosen"] if decision["strategy"] == "named" for part in decision["parts"]]
    if named:
        places = _listed(sorted({part["warehouse_id"] for part in named}))
        is_revived = REVIVED in [note["code"] for note in full["notes"]]
        said.insert(
            0, f"Taken again from where it was held: {places}." if is_revived else f"Asked for by name: {places}."
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
    """Whether an earlier preference had sent others away, which may be nearer, or make fewer parcels."""
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
    """A, B and C."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _beaten(full: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
    """Those that lost by the preference that decided."""
    losers = [one["warehouse_id"] for one in full["candidates"] if one["lost_by"] == decision["tie_break"]]
    return f" (before {_at_most(losers)})" if losers else ""


def _at_most(warehouse_ids: Sequence[str], most: int = 3) -> str:
    """The first of them, and how many more there are."""
    named = list(dict.fromkeys(warehouse_ids))
    more = f" and {len(named) - most} more" if len(named) > most else ""
    return f"{', '.join(named[:most])}{more}"
