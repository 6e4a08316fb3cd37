"""Writes a CSV file of the orders that other policies would serve differently, with a row for each product."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from uuid import UUID

from reservations.analysis.simulation.events import Outcome
from reservations.analysis.simulation.figures import Difference

COLUMNS = ("policies", "order", "postal_code", "product_id", "in_force", "instead")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet evaluates a cell that begins with one of these


class DifferenceFile:
    """A list that replaces the file at `path` when `keep` is called; until then it is a temporary file next to it.

    Entering the context, `add` and `keep` raise OSError if the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._aside = path.with_name(f".{path.name}.{os.getpid()}.part")

    def __enter__(self) -> Self:
        self._file = self._aside.open("x", encoding="utf-8", newline="")
        self._rows = csv.writer(self._file)
        self._rows.writerow(COLUMNS)
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._aside.unlink(missing_ok=True)

    def add(self, difference: Difference) -> None:
        """Append one difference."""
        self._rows.writerows(_rows(difference))

    def keep(self) -> None:
        """Close the complete list, and move it to `path`."""
        self._file.close()
        self._aside.replace(self.path)


def _rows(difference: Difference) -> Iterator[tuple[str, ...]]:
    contender, order, outcome, reference = difference
    for product_id in dict.fromkeys(line.product_id for line in order.lines):
        facts = (_harmless(contender), _harmless(str(order.id)), order.postal_code, str(product_id))
        yield *facts, _cell(reference, product_id), _cell(outcome, product_id)


def _harmless(text: str) -> str:
    """Quote a foreign text, so that a spreadsheet displays it and does not evaluate it as a formula."""
    return f"'{text}" if text.startswith(FORMULAS) else text


def _cell(outcome: Outcome, product_id: UUID) -> str:
    """The warehouses that serve the product, such as `2 from wh-rj-001, 1 from wh-sp-001`."""
    if isinstance(outcome, str):
        return f"not served: {outcome}"
    return ", ".join(f"{part.quantity} from {part.warehouse_id}" for part in outcome if part.product_id == product_id)
