"""What a level counts as having been filled up to, after each posting. Pure: the ledger and the simulation share it."""

from typing import Protocol

from stock.models import StockMovement

Kind = StockMovement.Kind


class Replenished(Protocol):
    """A level as far as a replenishment goes by it."""

    available: int
    reserved: int
    replenished: int


def replenished_after(level: Replenished, *, kind: str | None, available: int) -> int:
    """The level's `replenished` after a posting, which its other numbers have in them already.

    A receipt begins anew with all units on hand. An adjustment corrects the number by as much as the stock, for it is
    no sale: 5 broken of 10 must not look like half of them sold. Sales, their ends and returns leave it.
    """
    if kind == Kind.RECEIPT and available > 0:
        return level.available + level.reserved
    if kind == Kind.ADJUSTMENT:
        return max(0, level.replenished + available)
    return level.replenished
