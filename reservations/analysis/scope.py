"""Which rows the audit of every minute looks at: what is new, the newest, and the next part of what is old.

All keys stay in the database's own text of an array, so that tens of thousands of them cost Python nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from inventory_project.foundation import database
from reservations.models import AuditPosition

# A movement has the moment at which its transaction had its locks, and is seen once that has committed.
MAX_TRANSACTION = timedelta(seconds=60)
MAX_WINDOW = timedelta(minutes=5)  # of new movements in one part, so that an audit after a day's pause stays bounded
NEWEST = 5_000  # reservations that are looked at each time
NEWEST_DOCUMENTS = 10  # each has up to DOCUMENT_MAX_LINES lines
SLICE = 2_000  # old reservations, movements and levels that are looked at each time, in turn
BEFORE_ALL = UUID(int=0)
NOTHING = "{}"  # an array

# The last key of each kind if its part is full, for the next audit to go on from; else NULL, to begin again.
OLD = """
WITH movements AS (SELECT id FROM stock_movement WHERE id > %(movement)s ORDER BY id LIMIT %(slice)s),
     reservations AS (SELECT id FROM reservation WHERE id > %(reservation)s ORDER BY id LIMIT %(slice)s),
     levels AS (SELECT id FROM stock_level WHERE id > %(level)s ORDER BY id LIMIT %(slice)s),
     newest AS (SELECT id FROM reservation ORDER BY id DESC LIMIT %(newest)s)
SELECT (SELECT id FROM movements ORDER BY id OFFSET GREATEST(%(slice)s - 1, 0)),
       (SELECT id FROM reservations ORDER BY id OFFSET GREATEST(%(slice)s - 1, 0)),
       (SELECT id FROM levels ORDER BY id OFFSET GREATEST(%(slice)s - 1, 0)),
       ARRAY(SELECT id FROM movements)::text,
       ARRAY(SELECT id FROM reservations UNION SELECT id FROM newest)::text,
       ARRAY(SELECT id FROM levels)::text,
       ARRAY(SELECT reference FROM stock_document ORDER BY id DESC LIMIT %(newest_documents)s)::text
"""
# What is new, these old rows, and all that belongs to either. The lines of movements that name one which does not exist
# belong as well: nothing else would find them.
PART = """
WITH movements AS (SELECT unnest(%(movements)s::uuid[]) AS id
                   UNION
                   SELECT id FROM stock_movement WHERE created_at > %(since)s AND created_at <= %(until)s),
     moved AS (SELECT m.line_id, m.kind, m.reference, m.product_id, m.warehouse_id
               FROM stock_movement m JOIN movements ON movements.id = m.id),
     reservations AS (SELECT unnest(%(reservations)s::uuid[]) AS id
                      UNION
                      SELECT i.reservation_id FROM reservation_item i JOIN moved ON moved.line_id = i.id),
     lines AS (SELECT i.id FROM reservation_item i JOIN reservations r ON r.id = i.reservation_id
               UNION
               SELECT line_id FROM moved WHERE line_id IS NOT NULL),
     levels AS (SELECT unnest(%(levels)s::bigint[]) AS id
                UNION
                SELECT l.id FROM stock_level l
                JOIN moved ON moved.product_id = l.product_id AND moved.warehouse_id = l.warehouse_id),
     documents AS (SELECT unnest(%(references)s::text[]) AS reference
                   UNION
                   SELECT reference FROM moved WHERE kind IN ('RECEIPT', 'ADJUSTMENT'))
SELECT ARRAY(SELECT id FROM movements)::text, ARRAY(SELECT id FROM reservations)::text,
       ARRAY(SELECT id FROM lines)::text, ARRAY(SELECT id FROM levels)::text,
       ARRAY(SELECT reference FROM documents)::text
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """The rows of one part of an audit: `keys` are the parameters that `invariants.SOME` needs."""

    keys: dict[str, str]


def parts(position: AuditPosition) -> Iterator[Scope]:
    """The parts of one audit: what is new, in windows of time; with the first, the newest rows and the next old ones.

    `position` is moved on with each part, and may be saved once that part was looked at.
    """
    now = database.database_now()
    until = position.looked_until or now - MAX_WINDOW
    rows = _old(position)
    while True:
        since, until = until - MAX_TRANSACTION, min(until + MAX_WINDOW, now)
        position.looked_until = until
        yield _part(rows, since=since, until=until)
        if until >= now:
            return
        rows = dict.fromkeys(rows, NOTHING)


def _old(position: AuditPosition) -> dict[str, str]:
    """The newest rows and the next of the old ones. Moves `position` on."""
    keys = {
        "movement": position.movement_id or BEFORE_ALL,
        "reservation": position.reservation_id or BEFORE_ALL,
        "level": position.level_id or 0,
        "slice": SLICE,
        "newest": NEWEST,
        "newest_documents": NEWEST_DOCUMENTS,
    }
    *last, movements, reservations, levels, references = _one_row(OLD, keys)
    position.movement_id, position.reservation_id, position.level_id = last
    return {"movements": movements, "reservations": reservations, "levels": levels, "references": references}


def _part(rows: dict[str, str], *, since: datetime, until: datetime) -> Scope:
    found = _one_row(PART, {**rows, "since": since, "until": until})
    return Scope(dict(zip(("movements", "reservations", "lines", "levels", "references"), found, strict=True)))


def look_up_by_key(cursor: CursorWrapper) -> None:
    """Have the transaction's statements look up each row by its key in an index, and never read a whole table or index.

    Their keys are long lists, of which the planner expects too much or too little.
    """
    for setting in ("enable_seqscan", "enable_mergejoin", "jit"):
        cursor.execute(f"SET LOCAL {setting} = off")


def look_up_one_by_one() -> None:
    """Have the transaction's statements join by looking up each row in an index, never by hashing a whole table."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_hashjoin = off")


def _one_row(sql: str, parameters: dict[str, Any]) -> Any:
    with transaction.atomic(), connection.cursor() as cursor:
        look_up_by_key(cursor)
        cursor.execute(sql, parameters)
        return cursor.fetchone()
