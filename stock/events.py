"""The contract of the stock events. They are published when what can be sold crosses a limit, not on each sale."""

from uuid import UUID

from inventory_project.foundation import tracing
from inventory_project.foundation.messaging.outbox import Event

LOW_STOCK = "inventory.low_stock"
OUT_OF_STOCK = "inventory.out_of_stock"
BACK_IN_STOCK = "inventory.back_in_stock"


def crossing(before: int, now: int, *, threshold: int) -> str | None:
    """The name of the event if the units that can be sold at a level have changed like this; None if there is none."""
    if before > 0 and now == 0:
        return OUT_OF_STOCK
    if before >= threshold > now:
        return LOW_STOCK
    if before == 0 and now > 0:
        return BACK_IN_STOCK
    return None


def stock_event(
    name: str, *, product_id: UUID, warehouse_id: str, available: int, threshold: int, version: int
) -> Event:
    """An event of one level. `version` is the level's after the change, so that readers can drop outdated events."""
    return Event(
        type=name,
        subject=f"{product_id}/{warehouse_id}",
        occasion=None,
        extensions=tracing.NOTHING,  # the whole transaction crosses the threshold, not one request
        data={
            "product_id": str(product_id),
            "warehouse_id": warehouse_id,
            "available": available,
            "threshold": threshold,
            "version": version,
        },
    )
