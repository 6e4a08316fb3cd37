"""Checks the invariants of the books with one query each. Every row that a query returns is damage.

The queries read one snapshot, without the time-outs of the service. I8 (no acknowledged reservation is lost) can only
be checked against a client's own log, in tests. Only I10 is about Redis, and it is checked only on request.
docs/operating/invariants.md explains each of them.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from inventory_project.foundation import batches, database
from stock.counters import sync as reconciliation

logger = logging.getLogger(__name__)

MAX_ROWS = 20  # of each broken invariant; the count is always of all
COUNTED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Invariant:
    """An invariant of the books. `sql` selects the rows that break it; I10 has none.

    `%(long_ago)s` is AUDIT_GRACE_SECONDS before now, and no event from `%(events_since)s` on has been deleted yet.
    """

    name: str
    promise: str
    sql: str = ""
    is_oversell: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant, how many rows break it, and the first of them."""

    invariant: Invariant
    count: int
    rows: list[dict[str, Any]]


INVARIANTS = (
    Invariant(
        "I1",
        "available, reserved and incoming are never below 0",
        """SELECT product_id, warehouse_id, available, reserved, incoming FROM stock_level
           WHERE available < 0 OR reserved < 0 OR incoming < 0""",
        is_oversell=True,
    ),
    Invariant(
        "I2",
        "a level's reserved is the sum of what the ACTIVE reservations' lines still hold there",
        """SELECT product_id, warehouse_id, SUM(reserved) AS reserved, SUM(held) AS held FROM (
             SELECT product_id, warehouse_id, reserved, 0 AS held FROM stock_level
             UNION ALL
             SELECT i.product_id, i.warehouse_id, 0, i.quantity - i.released FROM reservation_item i
             JOIN reservation r ON r.id = i.reservation_id WHERE r.status = 'ACTIVE') AS both_sides
           GROUP BY product_id, warehouse_id HAVING SUM(reserved) <> SUM(held)""",
        is_oversell=True,
    ),
    Invariant(
        "I3",
        "a level's numbers are the sums of its movements' deltas",
        """SELECT product_id, warehouse_id, SUM(available) AS available, SUM(reserved) AS reserved,
                  SUM(incoming) AS incoming, SUM(available_moved) AS available_moved,
                  SUM(reserved_moved) AS reserved_moved, SUM(incoming_moved) AS incoming_moved FROM (
             SELECT product_id, warehouse_id, available, reserved, incoming,
                    0 AS available_moved, 0 AS reserved_moved, 0 AS incoming_moved FROM stock_level
             UNION ALL
             SELECT product_id, warehouse_id, 0, 0, 0, available_delta, reserved_delta, incoming_delta
             FROM stock_movement) AS both_sides
           GROUP BY product_id, warehouse_id
           HAVING SUM(available) <> SUM(available_moved) OR SUM(reserved) <> SUM(reserved_moved)
               OR SUM(incoming) <> SUM(incoming_moved)""",
        is_oversell=True,
    ),
    Invariant(
        "I4",
        "a line has one RESERVE movement; once settled, CONFIRM and RELEASE add up to its quantity",
        """SELECT i.id AS line_id, r.status, i.quantity, i.confirmed, i.released, i.returned, m.reserves, m.held,
                  m.confirmed_moved, m.released_moved, m.released_at_end, m.returned_moved
           FROM reservation_item i JOIN reservation r ON r.id = i.reservation_id
           LEFT JOIN (
             SELECT line_id,
                    COUNT(CASE WHEN kind = 'RESERVE' THEN 1 END) AS reserves,
                    SUM(CASE WHEN kind = 'RESERVE' THEN reserved_delta ELSE 0 END) AS held,
                    SUM(CASE WHEN kind = 'CONFIRM' THEN -reserved_delta ELSE 0 END) AS confirmed_moved,
                    SUM(CASE WHEN kind = 'RELEASE' THEN available_delta ELSE 0 END) AS released_moved,
                    SUM(CASE WHEN kind = 'RELEASE' AND reference = '' THEN available_delta ELSE 0 END)
                      AS released_at_end,
                    SUM(CASE WHEN kind = 'RETURN' THEN available_delta ELSE 0 END) AS returned_moved
             FROM stock_movement WHERE line_id IS NOT NULL GROUP BY line_id) m ON m.line_id = i.id
           WHERE m.line_id IS NULL OR m.reserves <> 1 OR m.held <> i.quantity OR m.confirmed_moved <> i.confirmed
              OR m.released_moved <> i.released OR m.returned_moved <> i.returned
              OR (r.status = 'ACTIVE' AND m.released_at_end <> 0)
              OR (r.status <> 'ACTIVE' AND i.confirmed + i.released <> i.quantity)
              OR (r.status <> 'CONFIRMED' AND i.confirmed <> 0)""",
    ),
    Invariant(
        "I5",
        "for each product: received + adjusted + returned = available + reserved + sold",
        """SELECT product_id, SUM(came) AS came, SUM(is_there) AS is_there FROM (
             SELECT l.product_id, l.quantity AS came, 0 AS is_there FROM stock_document_line l
             UNION ALL
             SELECT product_id, returned, confirmed FROM reservation_item
             UNION ALL
             SELECT product_id, 0, available + reserved FROM stock_level) AS both_sides
           GROUP BY product_id HAVING SUM(came) <> SUM(is_there)""",
    ),
    Invariant(
        "I6",
        "each transition of a reservation has its one event",
        """SELECT r.id AS reservation_id, r.status, t.type AS missing_event, t.occasion FROM reservation r
           JOIN (SELECT id AS reservation_id, 'inventory.reserved' AS type, '' AS occasion, created_at AS happened_at
                 FROM reservation
                 UNION ALL
                 SELECT id, 'inventory.confirmed', '', COALESCE(settled_at, created_at) FROM reservation
                 WHERE status = 'CONFIRMED'
                 UNION ALL
                 SELECT DISTINCT i.reservation_id, 'inventory.released', m.reference, m.created_at
                 FROM stock_movement m JOIN reservation_item i ON i.id = m.line_id
                 WHERE m.kind IN ('RELEASE', 'RETURN')) AS t ON t.reservation_id = r.id
           WHERE t.happened_at >= %(events_since)s
             AND NOT EXISTS (SELECT 1 FROM outbox_event o
                             WHERE o.subject = {reservation_id} AND o.type = t.type AND o.occasion = t.occasion)""",
    ),
    Invariant(
        "I7",
        "an order has at most one live reservation",
        """SELECT order_id, COUNT(*) AS live FROM reservation
           WHERE status = 'ACTIVE' OR (status = 'CONFIRMED' AND is_live)
           GROUP BY order_id HAVING COUNT(*) > 1""",
    ),
    Invariant(
        "I9",
        "no reservation is ACTIVE long past its time",
        """SELECT id AS reservation_id, expires_at FROM reservation
           WHERE status = 'ACTIVE' AND expires_at < %(long_ago)s""",
    ),
)
LEVELS_REPEAT = Invariant(
    "I11",
    "a level repeats the block and the threshold of its product and the closing of its warehouse",
    """SELECT l.product_id, l.warehouse_id, l.is_blocked, p.is_blocked AS product_is_blocked, l.is_closed,
              w.is_active AS warehouse_is_active, l.low_stock_threshold, p.low_stock_threshold AS product_threshold
       FROM stock_level l JOIN stock_product p ON p.id = l.product_id JOIN warehouse w ON w.id = l.warehouse_id
       WHERE l.is_blocked <> p.is_blocked OR l.is_closed = w.is_active
          OR COALESCE(l.low_stock_threshold, -1) <> COALESCE(p.low_stock_threshold, -1)""",
)
OUTBOX_IS_DRAINED = Invariant(
    "I9",
    "no event has waited long to be published",
    """SELECT id, type, subject, occurred_at FROM outbox_event
       WHERE published_at IS NULL AND unrouted_at IS NULL AND occurred_at < %(long_ago)s""",
)
COUNTERS_AGREE = Invariant("I10", "the counters agree with the levels")
# SQLite keeps a UUID as 32 characters; an event's subject has the canonical 36.
RESERVATION_ID_AS_TEXT = {
    "postgresql": "r.id::text",
    "sqlite": "substr(r.id, 1, 8) || '-' || substr(r.id, 9, 4) || '-' || substr(r.id, 13, 4) || '-' || "
    "substr(r.id, 17, 4) || '-' || substr(r.id, 21)",
}


def invariants(*, with_counters: bool = False) -> tuple[Invariant, ...]:
    """The invariants that an audit checks, with I10 only if `with_counters`."""
    return (
        *INVARIANTS,
        OUTBOX_IS_DRAINED,
        LEVELS_REPEAT,
        *([COUNTERS_AGREE] if with_counters else []),
    )


def run(*, with_counters: bool = False) -> Iterator[Finding]:
    """Check one invariant after the other. Yields a Finding for each, with count 0 if it holds.

    All but I10 read the same snapshot. Each row that breaks I1, I2 or I3 raises `inventory_oversell_events` by one.
    `with_counters` raises NoCounters if there is no Redis, and Unavailable if it does not answer.
    """
    yield from _of_the_books()
    if with_counters:
        report = reconciliation.sync(is_dry_run=True, actor="audit")
        rows = [asdict(drift) for drift in report.drifts[:MAX_ROWS]]
        yield Finding(invariant=COUNTERS_AGREE, count=report.differences, rows=rows)


def _of_the_books() -> Iterator[Finding]:
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = 0")
        now = database.database_now()
        moments = {
            "long_ago": now - timedelta(seconds=settings.AUDIT_GRACE_SECONDS),
            "events_since": now - timedelta(days=settings.EVENT_RETENTION_DAYS),
        }
        for invariant in invariants():
            sql = invariant.sql.format(reservation_id=RESERVATION_ID_AS_TEXT[connection.vendor])
            with connection.chunked_cursor() as found:  # an audit during an outage may find millions of rows
                found.execute(sql, moments)
                rows = list(found.fetchmany(MAX_ROWS))
                names = [column[0] for column in found.description]
                count = len(rows)
                while more := found.fetchmany(COUNTED_AT_ONCE):
                    count += len(more)
            if invariant.is_oversell:
                batches.oversell_events.inc(count)
            shown = [dict(zip(names, row, strict=True)) for row in rows]
            yield Finding(invariant=invariant, count=count, rows=shown)


def run_periodic() -> int:
    """Run the periodic audit, in one process at a time, and log the damage. Returns how many rows break the books."""
    broken = 0
    with database.job_lock("audit_stock") as is_ours:
        for finding in run() if is_ours else ():
            broken += finding.count
            for row in finding.rows:
                logger.error("%s is broken: %s row=%s", finding.invariant.name, finding.invariant.promise, as_json(row))
    return broken


def as_json(row: dict[str, Any]) -> str:
    """A broken row on one line."""
    return json.dumps(row, default=str)
