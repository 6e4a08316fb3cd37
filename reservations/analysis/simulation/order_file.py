"""Reads orders for a simulation from a CSV file, with a row for each line of an order.

A file is accepted as a whole or rejected, and the problems of all rows are reported at once. Whether the products and
warehouses exist is not checked here.
"""

import re
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from inventory_project.foundation import values
from inventory_project.foundation.errors import Invalid
from warehouses import files
from warehouses.allocation.terms import Line
from warehouses.files import text_reader
from warehouses.models import ID_PATTERN, MAX_POSTAL_CODE

COLUMNS = ("order", "product_id", "quantity", "postal_code")
OPTIONAL = ("warehouse_id",)
MAX_ROWS = 1_000_000  # all of them are kept in memory, about 1 kB each
MAX_BYTES = 256 * 1024 * 1024
MAX_PROBLEMS = 100

MAX_UNITS = 999_999_999  # far above what an order may have, whose own sentence is clearer
WAREHOUSE_ID = re.compile(ID_PATTERN)
LineKey = tuple[UUID, str | None]


@dataclass(slots=True)
class FileOrder:
    """An order of the file: units by product and warehouse (None if not named). `line` is its first line's number."""

    line: int
    postal_code: str
    units: dict[LineKey, int] = field(default_factory=dict)

    @property
    def lines(self) -> tuple[Line, ...]:
        return tuple(
            [Line(product_id, units, warehouse_id) for (product_id, warehouse_id), units in self.units.items()]
        )


@dataclass(slots=True)
class OrderFile:
    """The orders by their names, in the file's order; and the numbers of the lines that name a product or warehouse."""

    path: Path
    orders: dict[str, FileOrder] = field(default_factory=dict)
    product_lines: dict[UUID, "array[int]"] = field(default_factory=dict)
    warehouse_lines: dict[str, "array[int]"] = field(default_factory=dict)

    def refusal(self, problems: Mapping[int, list[str]]) -> Invalid:
        """The refusal of the file with the problems of each line, at most MAX_PROBLEMS of them."""
        sentences = [f"Line {line}: {sentence}" for line, found in sorted(problems.items()) for sentence in found]
        return files.invalid(self.path, sentences, most=MAX_PROBLEMS)


def load(path: Path) -> OrderFile:
    """The orders that the CSV file at `path` lists.

    `files.csv_rows` says what is skipped; line ends may be of any kind. Raises Invalid with one sentence for each
    problem, also as the list `extra["problems"]`.
    """
    rows = files.csv_rows(files.text(path, max_bytes=MAX_BYTES))
    found = OrderFile(path)
    problems: dict[int, list[str]] = {}
    try:
        header_line, cells = next(rows)
        header = tuple(cells)
        if header not in (COLUMNS, COLUMNS + OPTIONAL):
            wanted = f"the first line must name the columns {','.join(COLUMNS)}, and {OPTIONAL[0]} where it is used"
            problems[header_line] = [f"{wanted}; it is {files.shown(','.join(header))}." if header else f"{wanted}."]
            raise found.refusal(problems)
        for count, (line, cells) in enumerate(rows, start=1):
            if count > MAX_ROWS:
                problems.setdefault(line, []).append(f"there are more than {MAX_ROWS:,} rows.")
                break
            if wrong := _add(found, line, header, cells):
                problems[line] = wrong
    except files.NotCSV as error:
        problems.setdefault(error.line, []).append(str(error))
    for order in found.orders.values():
        if wrong := _too_large(order):
            problems.setdefault(order.line, []).extend(wrong)
    if problems:
        raise found.refusal(problems)
    if not found.orders:
        raise files.invalid(path, ["The file has a header and no rows."])
    return found


def _add(found: OrderFile, line: int, header: tuple[str, ...], cells: list[str]) -> list[str]:
    """Add a row to its order. Returns the row's problems, one sentence each; then it was not added."""
    row, problems = files.read_cells(header, cells, RULES)
    if problems:
        return problems
    name, product_id, postal_code = row["order"], row["product_id"], row["postal_code"]
    warehouse_id = row.get("warehouse_id") or None
    order = found.orders.get(name)
    if order is None:
        order = found.orders[name] = FileOrder(line, postal_code)
    elif order.postal_code != postal_code:
        return [f"order {name} has another postal code in line {order.line}."]
    key = (product_id, warehouse_id)
    order.units[key] = order.units.get(key, 0) + row["quantity"]
    found.product_lines.setdefault(product_id, array("L")).append(line)
    if warehouse_id is not None:
        found.warehouse_lines.setdefault(warehouse_id, array("L")).append(line)
    return []


def _too_large(order: FileOrder) -> list[str]:
    """The limits of the service that the order exceeds, one sentence each."""
    most = settings.RESERVATION_MAX_QUANTITY
    problems = [
        f"the order asks for {units:,} units of product {product_id}; an order may have {most:,} at most."
        for (product_id, _), units in order.units.items()
        if units > most
    ]
    if len(order.units) > settings.RESERVATION_MAX_LINES:
        problems.append(
            f"the order has {len(order.units)} lines; an order may have {settings.RESERVATION_MAX_LINES} at most."
        )
    return problems


def _read_quantity(text: str) -> int:
    units = values.read_whole(text)
    if not 1 <= units <= MAX_UNITS:
        raise ValueError
    return units


def _optional(read: Callable[[Any], str]) -> Callable[[str], str]:
    return lambda text: read(text) if text else ""


# By column: what the value must be, in words, and a function that returns what it means or raises ValueError.
RULES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "order": ("1 to 64 printable characters", partial(values.read_identifier, most=64)),
    "product_id": ("a UUID", values.read_uuid),
    "quantity": ("a whole number of units from 1", _read_quantity),
    "postal_code": (
        f"at most {MAX_POSTAL_CODE} printable characters",
        _optional(partial(values.read_name, most=MAX_POSTAL_CODE)),
    ),
    "warehouse_id": (
        "the id of a warehouse, or empty",
        _optional(text_reader(values.read_identifier, 64, WAREHOUSE_ID)),
    ),
}
