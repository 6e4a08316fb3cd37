"""Computes a level's `replenished`: its units on hand after the last replenishment. Pure; also for the simulation."""

from typing import Protocol

from stock.models import StockMovement

Kind = StockMovement.Kind


class Replenished(Protocol):
    """The numbers of a level that a replenishment needs."""

    available: int
    reserved: int
    replenished: int


def replenished_after(level: Replenished, *, kind: str | None, available: int) -> int:
    """The level's `replenished` after a posting; its other numbers include the posting already.

    A receipt sets it to all units on hand. An adjustment changes it by the same number of units, because it is not a
    sale: 5 broken units of 10 must not look like half of the stock sold. Other postings do not change it.
    """
    if kind == Kind.RECEIPT and available > 0:
        return level.available + level.reserved
    if kind == Kind.ADJUSTMENT:
        return max(0, level.replenished + available)
    return level.replenished
