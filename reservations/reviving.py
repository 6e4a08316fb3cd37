"""Chooses the warehouses for an order that is paid after its hold expired. Pure; the simulation uses it too.

The goods are taken where they were held, or else from any warehouse. Because the order is paid, more parcels than its
policy allows are better than no parcel.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from warehouses.allocation import decision, policies
from warehouses.allocation.terms import Allocation, Candidate, Delivery, Line


def allocate_again(
    held: Sequence[Line], stock: Mapping[UUID, Sequence[Candidate]], delivery: Delivery
) -> tuple[Allocation, Delivery]:
    """Choose the warehouses where the lines were held, or any warehouses if those lack stock.

    `held` names the warehouse of each line. Returns the delivery as well, with the policy that the choice followed.
    A blocked product is not looked for elsewhere, because sales are blocked for all of it.
    """
    same = decision.allocate(held, stock, delivery=delivery, allow_split=True)
    if not same.shortages or same.blocked_product_ids:
        return same, delivery
    units: dict[UUID, int] = defaultdict(int)
    for line in held:
        units[line.product_id] += line.quantity
    anywhere = [Line(product_id, quantity, None) for product_id, quantity in units.items()]
    paid = replace(delivery, policy=policies.for_paid(delivery.policy))
    return decision.allocate(anywhere, stock, delivery=paid, allow_split=True), paid
