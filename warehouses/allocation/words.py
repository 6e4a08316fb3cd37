"""The texts for an allocation: what each code means, and a record's parts in words.

The API, the admin and the documents take them from here. `allocation` is a record as `record.in_full` returns it. Pure.
"""

from collections import Counter
from collections.abc import Mapping
from operator import itemgetter
from typing import Any, cast

from warehouses.allocation.geography import Precision
from warehouses.allocation.plans import POOL
from warehouses.allocation.policies import PREFERENCES, Preference

STRATEGIES = {  # from the plainest to the last resort
    "named": "Each line comes from the warehouse that it named.",
    "one_warehouse": "One warehouse serves all lines that named none.",
    "split_by_line": "The lines come whole, from different warehouses.",
    "split_line": "A line comes from several warehouses.",
}
TIE_BREAKS = {
    "only_candidate": "no other single warehouse could serve it",
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
READ_BEFORE = "read_before"
NOTES = {
    "no_postal_code": "No postal code was given, so distance did not count.",
    "unknown_postal_code": "The postal code is unknown, so distance did not count.",
    "rough_delivery": "Only the state or a similarly large area of the postal code is known, so distances are rough.",
    "warehouse_without_place": "The place of a warehouse is not known; it counts as farther than the others.",
    "warehouse_by_postal_code": "A warehouse has no coordinates; it is taken to lie where its postal code does.",
    "served_regions_unchecked": "The delivery region is not known, so no warehouse was ruled out for not serving it.",
    "unusable_policy": "The policy of the region is invalid; the built-in one was used.",
    REVIVED: "A late payment brought the order back.",
    "search_given_up": "There were more sets of warehouses than are looked at; a better one may exist.",
    "far_not_compared": f"Sets were looked for among the {POOL} nearest warehouses; others may have a better one.",
    READ_BEFORE: "The numbers were read just before the chosen stock was locked.",
}
SPLITS = {
    "never": "never into several parcels",
    "by_line": "each line whole from one warehouse",
    "fewest_parcels": "into as few parcels as possible",
    "at_most": "into {most_parcels} parcels at most",
}
UNITS: dict[Preference, str] = {
    "fewest_parcels": "{:.0f}",
    "nearest": "{:,.1f}\N{NO-BREAK SPACE}km",
    "priority": "{:.0f}",
    "balance": "{:.1%}",
}
REJECTED = {
    "blocked": "sales are blocked",
    "closed": "closed",
    "not_served": "does not serve the region",
    "insufficient": "not enough for the whole line: {available} of {requested}",
}
LOST = {
    "fewest_parcels": "another choice makes fewer parcels",
    "nearest": "another is nearer",
    "priority": "another has a lower priority number",
    "balance": "another warehouse has sold a smaller share of its stock",
    "id": "equal in everything, and the id decided",
}
PRECISIONS: dict[Precision, str] = {
    "exact": "The whole code is known.",
    "prefix": "The code's beginning is known, which is a town or a part of one.",
    "region": "No more than a wide region is known, and this is its middle.",
}
WORDS: dict[Preference, str] = {
    "fewest_parcels": "fewest parcels",
    "nearest": "nearest",
    "priority": "priority",
    "balance": "balance",
}
MEANINGS: dict[Preference, str] = {
    "fewest_parcels": "As few parcels as possible; a warehouse that sends a parcel anyway adds none.",
    "nearest": "The shortest way to the customer; those within the tolerance are equally near.",
    "priority": "The warehouse with the lowest priority number.",
    "balance": "The warehouse that has sold the smallest share of its stock since it was last replenished.",
}
EVERY_OTHER = "every region without its own policy"


def describe_preferences(preferences: Any) -> str:
    """The names of a list of preferences, with commas; anything else that a row may hold is returned as text."""
    if not isinstance(preferences, list):
        return str(preferences)
    return ", ".join(WORDS[name] if name in PREFERENCES else str(name) for name in preferences)


def describe_delivery(delivery: Mapping[str, str] | None) -> str:
    """The delivery area, and how precisely it is known; empty if the record does not say."""
    if delivery is None:
        return ""
    if not delivery["area"]:
        return "Not known."
    region = f", region {delivery['region']}" if delivery["region"] else ""
    precision = PRECISIONS[cast("Precision", delivery["precision"])]
    return f"{delivery['name']} ({delivery['area']}{region}). {precision}"


def describe_policy(allocation: Mapping[str, Any]) -> str:
    """The policy that was followed, in one sentence; empty if the record does not say."""
    policy = allocation["policy"]
    if policy is None:
        return ""
    near = f" (up to {policy['tolerance_km']:,g} km farther is equally near)"
    order = ", then ".join(WORDS[name] + (near if name == "nearest" else "") for name in policy["preferences"])
    split = SPLITS[policy["split"]].format(**policy)
    forbidden = "" if allocation["allow_split"] else " This order forbade splitting."
    return f"For {policy['region'] or EVERY_OTHER}: {order}; {split}.{forbidden}"


def describe_step(preference: Preference, best: float | None, left: int) -> dict[str, str]:
    """What a preference found: its name, the best score with its unit, and how many choices were left."""
    return {"preference": WORDS[preference], "best": _with_unit(preference, best) or "not known", "left": f"{left:,}"}


def _with_unit(preference: Preference, score: float | None) -> str:
    """A score of the preference, with its unit; empty if there is none."""
    return "" if score is None else UNITS[preference].format(score)


def considered(allocation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each product and warehouse that was considered.

    By product id, the nearest first, those that were ruled out last.
    """
    places = {candidate["warehouse_id"]: candidate for candidate in allocation["candidates"]}
    taken: Counter[tuple[str, str]] = Counter()
    for decision in allocation["chosen"]:
        for part in decision["parts"]:
            taken[part["product_id"], part["warehouse_id"]] += part["quantity"]
    against = _against(allocation)
    # For a warehouse that was chosen, the only reason worth showing is that its stock was not enough by itself.
    rejected = {(one["product_id"], one["warehouse_id"]) for one in allocation["rejected"]}
    nearness = {warehouse_id: position for position, warehouse_id in enumerate(places)}
    rows = []
    for product_id, warehouse_id in {*taken, *against}:
        key = (product_id, warehouse_id)
        place = places.get(warehouse_id, {})
        row = {
            "product_id": product_id,
            "warehouse_id": warehouse_id,
            "region": place.get("region"),
            "priority": place.get("priority"),
            "distance": _with_unit("nearest", place.get("distance_km")),
            "available": place.get("available", {}).get(product_id),
            "share": _with_unit("balance", place.get("share_taken", {}).get(product_id)),
            "taken": taken[key],
            "reason": against.get(key, "") if key in rejected or not taken[key] else "",
        }
        rows.append(((product_id, nearness.get(warehouse_id, len(places)), warehouse_id), row))
    return [row for _, row in sorted(rows, key=itemgetter(0))]


def _against(allocation: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """The reason why a warehouse gave nothing, or no more than it did, by product id and warehouse id."""
    free = [decision for decision in allocation["chosen"] if decision["strategy"] != "named"]
    free_product_ids = {part["product_id"] for decision in free for part in decision["parts"]}
    short = {one["warehouse_id"] for one in allocation["rejected"]}
    found = {}
    for candidate in allocation["candidates"]:
        warehouse_id, lost_by = candidate["warehouse_id"], candidate["lost_by"]
        for product_id in candidate["available"]:
            if product_id not in free_product_ids:
                reason = "the line named another"
            elif lost_by is not None:
                reason = LOST[lost_by]
            else:
                reason = "not enough for the other lines" if warehouse_id in short else "another choice was preferred"
            found[product_id, warehouse_id] = reason
    for one in allocation["rejected"]:
        found[one["product_id"], one["warehouse_id"]] = REJECTED[one["reason"]].format(**one)
    return found
