"""Every row of the table of cities in docs/concepts/allocation.md, with the data of fixtures/."""

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from uuid import UUID

import pytest
from django.conf import settings

from warehouses import catalogue, postal_areas
from warehouses.allocation import explanation, words
from warehouses.allocation.decision import allocate
from warehouses.allocation.geography import Area, Point, PostalAreas
from warehouses.allocation.plans import MAX_STEPS, POOL
from warehouses.allocation.policies import BUILT_IN, MAX_PARCELS, Policy
from warehouses.allocation.record import MAX_NUMBERS
from warehouses.allocation.terms import Allocation, Candidate, Line
from warehouses.network import Network, Site

ROOT = Path(settings.BASE_DIR)
DOCUMENT = ROOT / "docs" / "concepts" / "allocation.md"
COLUMNS = ("to", "postal code", "units", "but", "served by", "km", "decided by")
SHIRT = UUID(int=1)
STOCK = 100  # in each warehouse, all of it there since the last replenishment
NOTHING = "-"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table, each cell as it stands there."""

    city: str
    postal_code: str
    units: str
    but: str
    served_by: str
    km: str
    decided_by: str


def rows() -> list[Row]:
    """The table as it stands in the document."""
    header = r"\| " + r" \| ".join(COLUMNS) + r" \|\n\|[-|]+\|\n"
    [table] = re.findall(header + r"((?:\|.*\|\n)+)", DOCUMENT.read_text("utf-8"))
    names = ("city", "postal_code", "units", "but", "served_by", "km", "decided_by")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return [Row(**dict(zip(names, row, strict=True))) for row in cells]


@cache
def sites() -> dict[str, Site]:
    found = {}
    for row in catalogue.load(ROOT / "fixtures" / "warehouses.yaml"):
        assert row.latitude is not None
        assert row.longitude is not None
        point = Point(row.latitude, row.longitude)
        found[row.id] = Site(row.id, row.region, row.priority, point, frozenset(row.served_regions))
    return found


@cache
def areas() -> PostalAreas:
    return PostalAreas(
        (
            Area(row.country, row.prefix, Point(row.latitude, row.longitude), row.name, row.region, row.is_region)
            for row in postal_areas.load(ROOT / "fixtures" / "postal_areas_br.csv")
        ),
        home="BR",
    )


def decided(row: Row) -> Allocation:
    """The decision on the row's order; what its column `but` says is not as usual is so."""
    policy = BUILT_IN
    available = dict.fromkeys(sites(), STOCK)
    closed = set()
    for said in row.but.split(", ") if row.but != NOTHING else []:
        match said.split():
            case [warehouse_id, "has", units]:
                available[warehouse_id] = int(units)
            case [warehouse_id, "is", "closed"]:
                closed.add(warehouse_id)
            case ["tolerance", tolerance_km, "km"]:
                policy = replace(policy, tolerance_km=float(tolerance_km))
            case ["split", "never"]:
                policy = replace(policy, split="never")
            case _:
                raise ValueError(f"nobody knows what is meant by: {said}")
    assert available.keys() == sites().keys()
    assert closed <= sites().keys()
    policies: dict[str, Policy | None] = {"": policy}
    view = Network({}, sites(), areas(), policies).seen_from(row.postal_code)
    stock = [
        Candidate(view[key], units, is_blocked=False, is_closed=key in closed, replenished=STOCK)
        for key, units in available.items()
    ]
    return allocate([Line(SHIRT, int(row.units), None)], {SHIRT: stock}, delivery=view.delivery)


def shown(row: Row, answer: Allocation) -> Row:
    """The row as the decision says that it should stand there."""
    if not answer.parts:
        [shortage] = answer.shortages
        return replace(row, served_by=f"nobody: {shortage.available} available", km=NOTHING, decided_by=NOTHING)
    full = explanation.explain(answer.record)
    assert full["notes"] == []
    [decision] = full["chosen"]
    distances = {one["warehouse_id"]: round(one["distance_km"]) for one in full["candidates"]}
    parts = {part["warehouse_id"]: part["quantity"] for part in decision["parts"]}
    return Row(
        city=full["delivery"]["name"].partition(",")[0],
        postal_code=row.postal_code,
        units=str(sum(parts.values())),
        but=row.but,
        served_by=", ".join(key if len(parts) == 1 else f"{key}: {units}" for key, units in parts.items()),
        km=" + ".join(f"{distances[key]:,}" for key in parts),
        decided_by=full["tie_break"],
    )


def test_the_table_has_the_five_cities_in_the_usual_case_and_what_may_be_different() -> None:
    usual = [row.city for row in rows() if row.but == NOTHING and row.units == "1"]
    assert usual == ["São Paulo", "Rio de Janeiro", "Curitiba", "Porto Alegre", "Manaus"]
    assert len(set(rows())) == len(rows()) == 15


def test_a_row_that_says_what_nobody_knows_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="nobody knows what is meant by: wh-sp-001 burns"):
        decided(replace(rows()[0], but="wh-sp-001 burns"))


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.city} {row.units} {row.but}")
def test_the_row_is_what_is_decided(row: Row) -> None:
    assert shown(row, decided(row)) == row


def test_a_row_that_says_something_else_would_be_seen() -> None:
    """The control: with Rio's warehouse in the row of Sao Paulo the two differ."""
    row = replace(rows()[0], served_by="wh-rj-001")
    assert shown(row, decided(row)) == rows()[0] != row


def test_the_example_of_an_explanation_is_what_is_told() -> None:
    [example] = re.findall(r"(?ms)^```json\n(.*?)^```", DOCUMENT.read_text("utf-8"))
    product_id = UUID("5f0c6b1e-3a51-4d6e-9c1b-0d5a7f2e1001")
    view = Network({}, sites(), areas(), {}).seen_from("90010-000")
    stock = {"wh-sp-001": (8, 8), "wh-rj-001": (20, 20), "wh-pr-001": (18, 20)}
    candidates = [
        Candidate(
            view[key], available, is_blocked=False, is_closed=False, reserved=whole - available, replenished=whole
        )
        for key, (available, whole) in stock.items()
    ]
    answer = allocate([Line(product_id, 10, None)], {product_id: candidates}, delivery=view.delivery)
    assert json.loads(example) == explanation.explain(answer.record)


def test_the_notes_and_the_bounds_of_the_document_are_those_of_the_code() -> None:
    text = DOCUMENT.read_text("utf-8")
    notes = re.findall(r"(?m)^\| `(\w+)` \|", text.partition("\n## What is missing")[2].partition("\n## ")[0])
    assert notes == list(words.NOTES)
    bounds = text.partition("\n## Bounds\n")[2]
    limits = [cells.split("|")[2].strip() for cells in re.findall(r"(?m)^\|(?!-| what ).*", bounds)]
    assert [re.sub(r"[^0-9]", "", limit) for limit in limits] == [
        str(number) for number in (MAX_PARCELS, POOL, MAX_PARCELS, MAX_STEPS, MAX_NUMBERS, postal_areas.MAX_AREAS)
    ]
