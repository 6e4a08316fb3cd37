"""The data types of an allocation: the request, the stock and the answer. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from uuid import UUID

from warehouses.allocation.geography import Precision
from warehouses.allocation.policies import BUILT_IN, Policy
from warehouses.allocation.preferences import Choice, Place

Lack = Literal["stock", "parcels", "region"]  # not enough stock; too few parcels allowed; region not served
NOT_SERVED = "not_served"
GIVEN_UP = "given_up"  # instead of a preference: there were too many sets of warehouses to look at all of them
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
    """The units of one product that one warehouse supplies."""

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
    """Where an order goes, as far as that is known, and the policy of its region.

    `area` is the country and the known prefix, such as `BR 01310`; `notes` say which facts were missing. `facts` is
    the same as a record stores it, built once for the many orders that go there.
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
    """The answer: either `parts` cover every line exactly, or `parts` is empty and the other fields say why.

    `parts` has each product and warehouse once, in the order in which rows are locked. `shortages` has every short
    line, named ones first; `lacking` says what all of them together lack. `not_serving` are warehouses that have stock
    of a short product but do not serve the region. `is_given_up`: a longer search might have found a way. `record` is
    JSON-ready and is stored with the reservation (see `warehouses.allocation.record`); it is empty without parts.
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
