"""The orders that other policies would serve otherwise than those in force: CSV, a row for each product of each."""

import csv
from collections.abc import Callable, Iterator
from typing import TextIO
from uuid import UUID

from reservations.replay import Difference, Outcome

COLUMNS = ("policies", "order", "postal_code", "product_id", "in_force", "instead")


def writer(file: TextIO) -> Callable[[Difference], None]:
    """A function that adds a difference to the file; the header is written now."""
    rows = csv.writer(file)
    rows.writerow(COLUMNS)

    def add(difference: Difference) -> None:
        rows.writerows(_rows(difference))

    return add


def _rows(difference: Difference) -> Iterator[tuple[str, ...]]:
    contender, order, outcome, reference = difference
    for product_id in dict.fromkeys(line.product_id for line in order.lines):
        facts = (contender, str(order.id), order.postal_code, str(product_id))
        yield *facts, _cell(reference, product_id), _cell(outcome, product_id)


def _cell(outcome: Outcome, product_id: UUID) -> str:
    """What gives of the product, such as `2 from wh-rj-001, 1 from wh-sp-001`."""
    if isinstance(outcome, str):
        return f"not served: {outcome}"
    return ", ".join(f"{part.quantity} from {part.warehouse_id}" for part in outcome if part.product_id == product_id)
