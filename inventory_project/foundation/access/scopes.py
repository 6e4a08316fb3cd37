"""The scopes of API tokens. A view names the scope that it needs; a token lists the scopes that it has."""

from collections.abc import Iterable

STOCK_READ = "stock:read"
RESERVATIONS_READ = "reservations:read"
RESERVATIONS_WRITE = "reservations:write"
STOCK_WRITE = "stock:write"
SALES_BLOCK = "sales:block"
OPERATIONS = "operations"

SENTENCES = {
    STOCK_READ: "Read availability, stock levels, movements, products and warehouses.",
    RESERVATIONS_READ: "Read reservations and why their warehouses were chosen.",
    RESERVATIONS_WRITE: "Reserve, confirm, cancel, extend and return.",
    STOCK_WRITE: "Post receipts and adjustments, create and change products.",
    SALES_BLOCK: "Block and unblock the sales of a product.",
    OPERATIONS: "Expire a reservation now; sync, reset and inspect the counters.",
}
ALL = frozenset(SENTENCES)


def in_order(scopes: Iterable[str]) -> list[str]:
    """The scopes without duplicates, in the order of SENTENCES. Raises ValueError that names unknown ones."""
    wanted = set(scopes)
    if unknown := sorted(wanted - ALL):
        raise ValueError(f"Unknown scope {', '.join(unknown)}. Available scopes: {', '.join(SENTENCES)}.")
    return [scope for scope in SENTENCES if scope in wanted]
