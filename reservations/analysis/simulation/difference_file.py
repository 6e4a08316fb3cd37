"""The orders that other policies would serve otherwise than those in force: CSV, a row for each product of each."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from uuid import UUID

from reservations.analysis.simulation.events import Outcome
from reservations.analysis.simulation.figures import Difference

COLUMNS = ("policies", "order", "postal_code", "product_id", "in_force", "instead")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what a cell begins with that a spreadsheet would work out


class DifferenceFile:
    """A list that takes the place of the file at `path` once it is kept; until then it lies beside that file.

    Entering, `add` and `keep` raise OSError where it cannot be written.
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
        """List it."""
        self._rows.writerows(_rows(difference))

    def keep(self) -> None:
        """The list is complete."""
        self._file.close()
        self._aside.replace(self.path)


def _rows(difference: Difference) -> Iterator[tuple[str, ...]]:
    contender, order, outcome, reference = difference
    for product_id in dict.fromkeys(line.product_id for line in order.lines):
        facts = (_harmless(contender), _harmless(str(order.id)), order.postal_code, str(product_id))
        yield *facts, _cell(reference, product_id), _cell(outcome, product_id)


def _harmless(text: str) -> str:
    """A text that somebody else chose, as a spreadsheet shows it and does not work it out."""
    return f"'{text}" if text.startswith(FORMULAS) else text


def _cell(outcome: Outcome, product_id: UUID) -> str:
    """What gives of the product, such as `2 from wh-rj-001, 1 from wh-sp-001`."""
    if isinstance(outcome, str):
        return f"not served: {outcome}"
    return ", ".join(f"{part.quantity} from {part.warehouse_id}" for part in outcome if part.product_id == product_id)
