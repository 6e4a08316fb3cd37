"""The terms of an allocation: what it is asked, over which stock, and what it answers. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from uuid import UUID

from warehouses.allocation.geography import Precision
from warehouses.allocation.policies import BUILT_IN, Policy
from warehouses.allocation.preferences import Choice, Place

Lack = Literal["stock", "parcels", "region"]  # too little; too much for the parcels allowed; not serving the region
NOT_SERVED = "not_served"
GIVEN_UP = "given_up"  # in place of a preference: there were more sets of warehouses than are looked at
Stocks = dict[UUID, dict[str, int]]  # product, warehouse, units


class Candidate(NamedTuple):
    """One stock level of one product; `replenished` is what was on hand after the last replenishment."""

    place: Place
    available: int
    is_blocked: bool
    is_closed: bool
    reserved: int = 0
    replenished: int = 0


class Line(NamedTuple):
    """`quantity` units, at least one, of a product; from `warehouse_id`, or from anywhere when that is None."""

    product_id: UUID
    quantity: int
    warehouse_id: str | None


class Part(NamedTuple):
    """What one warehouse gives of one product."""

    product_id: UUID
    warehouse_id: str
    quantity: int


class Shortage(NamedTuple):
    """A line that cannot be served, and how many units of it could be."""

    product_id: UUID
    warehouse_id: str | None
    requested: int
    available: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Where an order goes, as far as that is known, and the policy that holds there.

    `area` is the country and the known prefix, such as `BR 01310`; `notes` say what had to be done without. `facts` is
    all of it as a record has it, made once for the many orders that go there.
    """

    policy: Policy = BUILT_IN
    precision: Precision = "unknown"
    area: str = ""
    name: str = ""
    region: str = ""
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rules = self.policy
        facts = {
            "policy": [
                *(rules.region, list(rules.preferences), rules.tolerance_km, rules.split, rules.most_parcels),
                rules.is_built_in,
            ],
            "delivery": [self.area, self.name, self.precision, self.region],
        }
        object.__setattr__(self, "facts", facts)


NOWHERE = Delivery(notes=("no_postal_code",))


@dataclass(frozen=True, slots=True)
class Allocation:
    """The answer: either `parts` cover every line exactly, or there are none and the next two say why.

    `parts` has each product and warehouse once, in the order in which rows are locked; `shortages` has every short
    line, named ones first; `lacking` is what stood in the way of all of them together. `not_serving` are warehouses
    that have of what is short and do not serve the region; `is_given_up`: a longer search might have found a way.
    `record`, empty where there are no parts, is JSON-ready, is kept with the reservation, and is read by
    `warehouses.allocation.record`.
    """

    parts: tuple[Part, ...]
    shortages: tuple[Shortage, ...]
    blocked_product_ids: tuple[UUID, ...]
    lacking: Lack | None
    not_serving: tuple[str, ...]
    is_given_up: bool
    record: dict[str, Any]


@dataclass(slots=True)
class Decision:
    """What serves one line that names its warehouse, or all lines that name none."""

    strategy: str
    parts: list[Part]
    choice: Choice | None = None  # a named warehouse leaves nothing to choose


@dataclass(slots=True)
class Supply:
    """The stock of one order's products, sorted out once."""

    places: dict[str, Place] = field(default_factory=dict)  # every warehouse that may sell one of the products
    sellable: Stocks = field(default_factory=dict)
    whole: Stocks = field(default_factory=dict)  # what the share taken is a share of
    blocked_product_ids: tuple[UUID, ...] = ()
    ruled_out: list[tuple[str, UUID, str]] = field(default_factory=list)  # warehouse, product, why
