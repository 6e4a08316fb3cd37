"""Creates and reads the allocation record that is stored with a reservation. Reads every version of it.

A record is short, because it is created while the stock levels are locked. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from warehouses.allocation.plans import Search
from warehouses.allocation.preferences import Place, by_distance
from warehouses.allocation.terms import Decision, Delivery, Line, Part, Supply
from warehouses.allocation.words import NOTES, STRATEGIES

RECORD_VERSION = 2
MAX_NUMBERS = 300  # stocks, and also reasons, in a record
READABLE = (1, 2)  # versions; a newer service that was rolled back may have left others
ABSENT: dict[str, Any] = {"policy": None, "allow_split": None, "delivery": None, "notes": [], "steps": None}


# --- writing -------------------------------------------------------------------------------------------------------


def create(
    supply: Supply,
    lines: Sequence[Line],
    decisions: Sequence[Decision],
    delivery: Delivery,
    search: Search,
    *,
    allow_split: bool,
) -> dict[str, Any]:
    """Create the record of a decision. It is JSON-ready; lists replace objects, and positions replace product ids.

    It keeps at most MAX_NUMBERS stocks: those of the nearest warehouses, and always those of warehouses that serve.
    """
    positions = {product_id: i for i, product_id in enumerate(supply.sellable)}
    kept = _kept(supply.places, decisions, most=max(1, MAX_NUMBERS // len(positions)))
    lost: dict[str, str] = {}
    for decision in decisions:
        if decision.choice:
            lost.update(decision.choice.lost)
    notes = list(delivery.notes)
    if delivery.area:
        if None in [place.distance_km for place in supply.places.values()]:
            notes.append("warehouse_without_place")
        if any([place.is_by_postal_code for place in supply.places.values()]):  # noqa: C419  # faster
            notes.append("warehouse_by_postal_code")
    if search.is_given_up:
        notes.append("search_given_up")
    if search.is_narrowed and any(decision.choice and len(decision.choice.plan) > 1 for decision in decisions):
        notes.append("far_not_compared")
    return {
        "version": RECORD_VERSION,
        **delivery.facts,
        "allow_split": allow_split,
        "notes": notes,
        "steps": search.steps,
        "products": [str(product_id) for product_id in positions],
        "lines": [[positions[line.product_id], line.quantity, line.warehouse_id] for line in lines],
        "candidates": [
            [key, region, priority, distance_km, lost.get(key)]
            for key, region, priority, distance_km, *_ in map(supply.places.__getitem__, kept)
        ],
        "available": [[units.get(key) for key in kept] for units in supply.sellable.values()],
        "whole": [[units.get(key) for key in kept] for units in supply.whole.values()],
        "left_out": len(supply.places) - len(kept),
        "ruled_out": [
            [warehouse_id, positions[product_id], why]
            for warehouse_id, product_id, why in sorted(supply.ruled_out)[:MAX_NUMBERS]
        ],
        "chosen": [
            [
                decision.strategy,
                decision.choice.tie_break if decision.choice else None,
                decision.choice.said if decision.choice else [],
                [[positions[part.product_id], part.warehouse_id, part.quantity] for part in decision.parts],
            ]
            for decision in decisions
        ],
    }


def _kept(places: Mapping[str, Place], decisions: Sequence[Decision], *, most: int) -> list[str]:
    """The ids of the warehouses that the record keeps, sorted: at most `most`, and all that serve."""
    if len(places) > most:
        serving = {part.warehouse_id for decision in decisions for part in decision.parts}
        nearest_first = sorted(places.values(), key=by_distance)
        return sorted({*serving, *[place.warehouse_id for place in nearest_first[:most]]})
    return sorted(places)


# --- reading -------------------------------------------------------------------------------------------------------


def is_readable(record: Mapping[str, Any]) -> bool:
    """Whether the record is of a version that `in_full` knows."""
    return record.get("version") in READABLE


def in_full(record: Mapping[str, Any]) -> dict[str, Any]:
    """Expand a readable record: objects instead of lists, ids instead of positions, and the facts derived from them.

    `strategy` and `tie_break` are those of the decision with the last resort; `chosen` has every decision.
    `rejected` says why a warehouse could not serve a whole line.
    """
    if record["version"] == 1:
        full = {**ABSENT, **record}
        full["candidates"] = [
            {**one, "distance_km": None, "lost_by": None, "share_taken": {}} for one in full["candidates"]
        ]
        full["chosen"] = [{**one, "said": []} for one in full["chosen"]]
        return full
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
    """The recorded warehouses, the nearest first, then by region priority and id."""
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
    """The warehouses without enough stock for a line that named none, after the named lines have taken theirs."""
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


def asked(members: Sequence[Any], parts: Sequence[Part]) -> tuple[tuple[Line, ...], bool]:
    """What the order asked for: its lines, and whether they may be split over several warehouses.

    `members` are four values of its record: version, products, lines, allow_split. A record of version 1 does not say
    what was asked for; then the lines are the products and quantities of `parts`, from any warehouse.
    """
    version, products, lines, allow_split = members
    if version == 2:
        ids = [UUID(product_id) for product_id in products]
        return tuple([Line(ids[i], units, warehouse_id) for i, units, warehouse_id in lines]), allow_split
    units: dict[UUID, int] = {}
    for part in parts:
        units[part.product_id] = units.get(part.product_id, 0) + part.quantity
    return tuple([Line(product_id, total, None) for product_id, total in units.items()]), True
