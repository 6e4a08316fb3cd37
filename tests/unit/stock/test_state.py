"""One word for a product: what rules before what."""

import pytest

from stock.availability import State, state_of


@pytest.mark.parametrize(
    ("is_blocked", "available", "returning", "threshold", "state"),
    [
        (True, 0, 0, 10, "blocked"),
        (True, 0, 7, 10, "blocked"),
        (True, 99, 0, 10, "blocked"),
        (False, 0, 0, 10, "out_of_stock"),
        (False, 0, 0, 0, "out_of_stock"),
        (False, 0, 1, 10, "reserved"),
        (False, 1, 0, 10, "low_stock"),
        (False, 9, 50, 10, "low_stock"),
        (False, 10, 0, 10, "in_stock"),
        (False, 1, 0, 1, "in_stock"),
        (False, 1, 0, 0, "in_stock"),
    ],
)
def test_blocked_rules_before_out_of_stock_before_low(
    is_blocked: bool, available: int, returning: int, threshold: int, state: State
) -> None:
    assert state_of(is_blocked=is_blocked, available=available, returning=returning, threshold=threshold) == state
