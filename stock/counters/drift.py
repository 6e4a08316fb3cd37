"""Computes from the database what the counters must say, and compares, chunk by chunk.

A chunk costs one statement, in which PostgreSQL formats the text of each counter. So no object per level is needed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from stock.counters.copies import EXPECTED, SUMMARY, Fields

CHUNK_LEVELS = 3_000
CHUNK_PRODUCTS = 1_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """The levels that an SQL condition selects, always whole products; `product_ids` if they are known beforehand."""

    condition: str
    parameters: list[Any]
    product_ids: Sequence[UUID] | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """One field of a product's counters as it is in Redis and as the database has it; None if it is missing."""

    product_id: UUID
    field: str
    counter: str | None
    database: str | None

    @property
    def units(self) -> int:
        """By how many units the available stock differs; 0 if one of the two has no such number."""
        counter, database = (_available(self.field, text) for text in (self.counter, self.database))
        return 0 if counter is None or database is None else abs(counter - database)


# --- chunks --------------------------------------------------------------------------------------------------------


def of(product_ids: Sequence[UUID]) -> Chunk:
    """One chunk with all levels of these products."""
    return Chunk("product_id = ANY(%s)", [list(product_ids)], product_ids)


def named(product_ids: Sequence[UUID]) -> list[Chunk]:
    """All levels of these products, in chunks."""
    return [of(some) for some in in_chunks(product_ids)]


def everything() -> Iterator[Chunk]:
    """All levels, in chunks in the order of product ids.

    The end of a chunk is looked up only when the chunk is needed: a short step along an index in a table of any size.
    """
    begin, after = "TRUE", list[Any]()
    while True:
        found = _ids(f"{begin} ORDER BY product_id OFFSET %s LIMIT 1", [*after, CHUNK_LEVELS - 1])
        if not found:
            yield Chunk(begin, after)
            return
        yield Chunk(f"{begin} AND product_id <= %s", [*after, *found])
        begin, after = "product_id > %s", list(found)


def stocked_at(warehouse_id: str) -> Iterator[Chunk]:
    """All levels of the products that this warehouse stocks, in the order of product ids."""
    begin, after = "TRUE", list[Any]()
    while found := _ids(
        f"{begin} AND warehouse_id = %s ORDER BY product_id LIMIT %s", [*after, warehouse_id, CHUNK_PRODUCTS]
    ):
        yield of(found)
        begin, after = "product_id > %s", [found[-1]]


def _ids(condition: str, parameters: list[Any]) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT product_id FROM stock_level WHERE {condition}", parameters)  # noqa: S608  # our own text
        return [row[0] for row in cursor.fetchall()]


def in_chunks(product_ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    """The ids in chunks of CHUNK_PRODUCTS."""
    for i in range(0, len(product_ids), CHUNK_PRODUCTS):
        yield product_ids[i : i + CHUNK_PRODUCTS]


# --- what ought to be ----------------------------------------------------------------------------------------------


def expected(chunk: Chunk) -> dict[UUID, Fields]:
    """What the counters must say for each product with a level in the chunk. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(EXPECTED.format(condition=chunk.condition), chunk.parameters)
        product_ids, document = cursor.fetchone()
    found: dict[UUID, Fields] = {}
    if product_ids is not None:
        for product_id, (fields, summary) in zip(product_ids, orjson.loads(document), strict=True):
            fields[SUMMARY] = summary
            found[product_id] = fields
    return found


# --- what is ---------------------------------------------------------------------------------------------------------


def is_as_expected(found: Fields, wanted: Fields) -> bool:
    """A quick comparison. It is also False if the counters may be newer than `wanted`."""
    if found == wanted:
        return True
    summary = found.get(SUMMARY)
    return (
        summary is not None
        and {**found, SUMMARY: wanted.get(SUMMARY)} == wanted
        and _is_right(SUMMARY, summary, wanted[SUMMARY], wanted[SUMMARY])
    )


def drifts(product_id: UUID, *, found: Fields, before: Fields, after: Fields) -> list[Drift]:
    """The wrong fields of counters that were read between two readings of the database, `before` and `after`.

    A field is wrong if it equals neither of the two and its version is not between theirs.
    """
    return [
        Drift(product_id, name, found.get(name), after.get(name))
        for name in sorted(found.keys() | before.keys() | after.keys())
        if not _is_right(name, found.get(name), before.get(name), after.get(name))
    ]


def _is_right(name: str, text: str | None, before: str | None, after: str | None) -> bool:
    if text in (before, after):
        return True
    if name == SUMMARY and text is not None:
        # Publishing single levels leaves the version of `_` behind theirs; its other parts must be right.
        is_old = 0 <= _version(text) <= _version(after)
        return is_old and any(text.partition(":")[2] == (other or "").partition(":")[2] for other in (before, after))
    return _version(before) < _version(text) < _version(after)


def _version(text: str | None) -> int:
    """The version at the beginning of a field; -1 if this service cannot have written it."""
    number = _whole((text or "").partition(":")[0])
    return -1 if number is None else number


def _available(name: str, text: str | None) -> int | None:
    parts = (text or "").split(":")
    return _whole(parts[1]) if name != SUMMARY and len(parts) > 1 else None


def _whole(digits: str) -> int | None:
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None
