"""Reads orders for a simulation from a CSV file, with a row for each line of an order.

A file is accepted as a whole or rejected, and the problems of all rows are reported at once. Whether the products and
warehouses exist is not checked here.
"""

import csv
import io
import re
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from django.conf import settings

from inventory_project.foundation.errors import Invalid
from warehouses import files
from warehouses.allocation.terms import Line
from warehouses.models import ID_PATTERN, POSTAL_CODE_PATTERN

COLUMNS = ("order", "product_id", "quantity", "postal_code")
OPTIONAL = ("warehouse_id",)
MAX_ROWS = 1_000_000  # all of them are kept in memory, about 1 kB each
MAX_BYTES = 256 * 1024 * 1024
MAX_PROBLEMS = 100

PRODUCT_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
QUANTITY = re.compile(r"[0-9]{1,9}", re.ASCII)
POSTAL_CODE = re.compile(POSTAL_CODE_PATTERN)
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

    A byte order mark, empty lines and spaces around a value are ignored; line ends may be of any kind. Raises Invalid
    with one sentence for each problem, also as the list `extra["problems"]`.
    """
    rows = csv.reader(io.StringIO(files.text(path, max_bytes=MAX_BYTES), newline=""), strict=True)
    found = OrderFile(path)
    problems: dict[int, list[str]] = {}
    try:
        header = tuple(cell.strip() for cell in next(rows, []))
        if header not in (COLUMNS, COLUMNS + OPTIONAL):
            wanted = f"the first line must name the columns {','.join(COLUMNS)}, and {OPTIONAL[0]} where it is used"
            problems[1] = [f"{wanted}; it is {files.shown(','.join(header))}." if header else f"{wanted}."]
            raise found.refusal(problems)
        for count, cells in enumerate(filter(None, rows), start=1):  # an empty line has no cells
            if count > MAX_ROWS:
                problems.setdefault(rows.line_num, []).append(f"there are more than {MAX_ROWS:,} rows.")
                break
            if wrong := _add(found, rows.line_num, header, [cell.strip() for cell in cells]):
                problems[rows.line_num] = wrong
    except csv.Error as error:
        problems.setdefault(rows.line_num, []).append(f"this is not CSV: {error}.")
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
    if len(cells) != len(header):
        return [f"a row has {len(header)} values, not {len(cells)}."]
    problems = [
        f"{column} must be {RULES[column][0]}, not {files.shown(cell)}."
        for column, cell in zip(header, cells, strict=True)
        if not RULES[column][1](cell)
    ]
    if problems:
        return problems
    name, product, quantity, postal_code, *rest = cells
    order = found.orders.get(name)
    if order is None:
        order = found.orders[name] = FileOrder(line, postal_code)
    elif order.postal_code != postal_code:
        return [f"order {name} has another postal code in line {order.line}."]
    product_id = UUID(product)
    warehouse_id = rest[0] if rest and rest[0] else None
    key = (product_id, warehouse_id)
    order.units[key] = order.units.get(key, 0) + int(quantity)
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


def _is_order(text: str) -> bool:
    return 1 <= len(text) <= 64 and text.isprintable()


def _is_product_id(text: str) -> bool:
    return PRODUCT_ID.fullmatch(text) is not None


def _is_quantity(text: str) -> bool:
    return QUANTITY.fullmatch(text) is not None and int(text) >= 1


def _is_postal_code(text: str) -> bool:
    return not text or (len(text) <= 16 and POSTAL_CODE.match(text) is not None)


def _is_warehouse_id(text: str) -> bool:
    return not text or (len(text) <= 64 and WAREHOUSE_ID.match(text) is not None)


# By column: what the value must be, in words, and a function that checks it.
RULES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "order": ("1 to 64 printable characters", _is_order),
    "product_id": ("a UUID", _is_product_id),
    "quantity": ("a whole number of units from 1", _is_quantity),
    "postal_code": ("1 to 16 letters, digits, spaces and hyphens, or empty", _is_postal_code),
    "warehouse_id": ("the id of a warehouse, or empty", _is_warehouse_id),
}
