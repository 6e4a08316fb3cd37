"""The invariants of the books, each one query: every row that it returns is damage.

A query names its tables in braces, so that it can be asked about all rows (EVERYTHING) or only about some (`Scope`).
docs/operating/invariants.md explains each invariant.
"""

from collections.abc import Mapping
from dataclasses import dataclass

PLACE = ("product_id", "warehouse_id")

# Where the queries look: in whole tables.
EVERYTHING = {
    "levels": "stock_level",
    "movements": "stock_movement",
    "document_movements": "stock_movement",
    "line_movements": "stock_movement",
    "documents": "stock_document",
    "reservations": "reservation",
    "of_the_same_orders": "reservation",
    "lines": "reservation_item",
    "events": "outbox_event",
}
# Some rows, found by their keys: parameters that each are the text of a PostgreSQL array.
SOME = {
    "levels": "(SELECT * FROM stock_level WHERE id = ANY(%(levels)s::bigint[]))",
    "movements": "(SELECT * FROM stock_movement WHERE id = ANY(%(movements)s::uuid[]))",
    "document_movements": "(SELECT * FROM stock_movement WHERE reference = ANY(%(references)s::text[])"
    " AND reference <> '')",
    "line_movements": "(SELECT * FROM stock_movement WHERE line_id = ANY(%(lines)s::uuid[]))",
    "documents": "(SELECT * FROM stock_document WHERE kind IN ('RECEIPT', 'ADJUSTMENT')"
    " AND reference = ANY(%(references)s::text[]))",
    "reservations": "(SELECT * FROM reservation WHERE id = ANY(%(reservations)s::uuid[]))",
    "of_the_same_orders": "(SELECT * FROM reservation WHERE order_id IN"
    " (SELECT order_id FROM reservation WHERE id = ANY(%(reservations)s::uuid[])))",
    "lines": "(SELECT * FROM reservation_item WHERE reservation_id = ANY(%(reservations)s::uuid[]))",
    "events": "(SELECT * FROM outbox_event WHERE subject = ANY(%(reservations)s::text[]))",
}
# SQLite keeps a UUID as 32 characters; an event's subject has the canonical 36.
RESERVATION_ID_AS_TEXT = {
    "postgresql": "t.reservation_id::text",
    "sqlite": "substr(t.reservation_id, 1, 8) || '-' || substr(t.reservation_id, 9, 4) || '-' || "
    "substr(t.reservation_id, 13, 4) || '-' || substr(t.reservation_id, 17, 4) || '-' || substr(t.reservation_id, 21)",
}
# The units that an event reports; what is no number counts as none.
UNITS_OF_EVENT = {
    "postgresql": "(SELECT COALESCE(SUM(quantity::numeric), 0) FROM "
    """jsonb_path_query(o.data, '$.items[*].quantity ? (@.type() == "number")') AS quantity)""",
    "sqlite": "(SELECT COALESCE(SUM(json_extract(value, '$.quantity')), 0) FROM json_each(o.data, '$.items'))",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """An invariant of the books. `sql` selects the rows that break it; `key` are the columns that identify such a row.

    `%(long_ago)s` is AUDIT_GRACE_SECONDS before now, and no event from `%(events_since)s` on has been deleted yet.
    `is_oversell`: more may have been promised than there is. `needs_everything`: it cannot be asked about some rows.
    `looks_up`: it joins some rows with a whole table, so they must be looked up there one by one.
    """

    name: str
    promise: str
    sql: str = ""
    key: tuple[str, ...] = ()
    is_oversell: bool = False
    needs_everything: bool = False
    looks_up: bool = False

    def statement(self, sources: Mapping[str, str], *, vendor: str) -> str:
        """The query over these sources."""
        return self.sql.format(
            **sources, reservation_id=RESERVATION_ID_AS_TEXT[vendor], units_of_event=UNITS_OF_EVENT[vendor]
        )


NO_NUMBER_BELOW_ZERO = Invariant(
    name="I1",
    promise="available, reserved and incoming are never below 0",
    key=PLACE,
    is_oversell=True,
    sql="""SELECT product_id, warehouse_id, available, reserved, incoming FROM {levels} AS l
           WHERE available < 0 OR reserved < 0 OR incoming < 0""",
)
RESERVED_IS_HELD = Invariant(
    name="I2",
    promise="a level's reserved is the sum of what the ACTIVE reservations' lines still hold there",
    key=PLACE,
    is_oversell=True,
    needs_everything=True,
    sql="""SELECT product_id, warehouse_id, SUM(reserved) AS reserved, SUM(held) AS held FROM (
             SELECT product_id, warehouse_id, reserved, 0 AS held FROM stock_level
             UNION ALL
             SELECT i.product_id, i.warehouse_id, 0, i.quantity - i.released FROM reservation_item i
             JOIN reservation r ON r.id = i.reservation_id WHERE r.status = 'ACTIVE') AS both_sides
           GROUP BY product_id, warehouse_id HAVING SUM(reserved) <> SUM(held)""",
)
LEVELS_ARE_SUMS = Invariant(
    name="I3",
    promise="a level's numbers are the sums of its movements' deltas",
    key=PLACE,
    is_oversell=True,
    needs_everything=True,
    sql="""SELECT product_id, warehouse_id, SUM(available) AS available, SUM(reserved) AS reserved,
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
)
LINES_ARE_MOVEMENTS = Invariant(
    name="I4",
    promise="a line has one RESERVE movement; once settled, CONFIRM and RELEASE add up to its quantity",
    key=("line_id", *PLACE),
    # By place as well: a movement of a line at another place than the line's is damage, and so is one without a line.
    sql="""SELECT line_id, product_id, warehouse_id, MAX(status) AS status, MAX(quantity) AS quantity,
                  MAX(confirmed) AS confirmed, MAX(released) AS released, MAX(returned) AS returned,
                  SUM(reserves) AS reserves, SUM(held) AS held, SUM(confirmed_moved) AS confirmed_moved,
                  SUM(released_moved) AS released_moved, SUM(released_at_end) AS released_at_end,
                  SUM(returned_moved) AS returned_moved
           FROM (
             SELECT i.id AS line_id, i.product_id, i.warehouse_id, r.status, i.quantity, i.confirmed, i.released,
                    i.returned, 0 AS reserves, 0 AS held, 0 AS confirmed_moved, 0 AS released_moved,
                    0 AS released_at_end, 0 AS returned_moved
             FROM {lines} AS i LEFT JOIN reservation r ON r.id = i.reservation_id
             UNION ALL
             SELECT line_id, product_id, warehouse_id, NULL, NULL, NULL, NULL, NULL,
                    CASE WHEN kind = 'RESERVE' THEN 1 ELSE 0 END,
                    CASE WHEN kind = 'RESERVE' THEN reserved_delta ELSE 0 END,
                    CASE WHEN kind = 'CONFIRM' THEN -reserved_delta ELSE 0 END,
                    CASE WHEN kind = 'RELEASE' THEN available_delta ELSE 0 END,
                    CASE WHEN kind = 'RELEASE' AND reference = '' THEN available_delta ELSE 0 END,
                    CASE WHEN kind = 'RETURN' THEN available_delta ELSE 0 END
             FROM {line_movements} AS m WHERE line_id IS NOT NULL) AS both_sides
           GROUP BY line_id, product_id, warehouse_id
           HAVING MAX(status) IS NULL OR SUM(reserves) <> 1 OR SUM(held) <> MAX(quantity)
               OR SUM(confirmed_moved) <> MAX(confirmed) OR SUM(released_moved) <> MAX(released)
               OR SUM(returned_moved) <> MAX(returned)
               OR (MAX(status) = 'ACTIVE' AND SUM(released_at_end) <> 0)
               OR (MAX(status) <> 'ACTIVE' AND MAX(confirmed) + MAX(released) <> MAX(quantity))
               OR (MAX(status) <> 'CONFIRMED' AND MAX(confirmed) <> 0)""",
)
GOODS_ARE_THERE = Invariant(
    name="I5",
    promise="at each place: received + adjusted + returned = available + reserved + sold",
    key=PLACE,
    needs_everything=True,
    sql="""SELECT product_id, warehouse_id, SUM(came) AS came, SUM(is_there) AS is_there FROM (
             SELECT l.product_id, d.warehouse_id, l.quantity AS came, 0 AS is_there
             FROM stock_document_line l JOIN stock_document d ON d.id = l.document_id
             UNION ALL
             SELECT product_id, warehouse_id, returned, confirmed FROM reservation_item
             UNION ALL
             SELECT product_id, warehouse_id, 0, available + reserved FROM stock_level) AS both_sides
           GROUP BY product_id, warehouse_id HAVING SUM(came) <> SUM(is_there)""",
)
TRANSITIONS_HAVE_EVENTS = Invariant(
    name="I6",
    promise="each transition of a reservation has its one event, with the units that it moved",
    key=("reservation_id", "event", "occasion"),
    sql="""SELECT t.reservation_id, t.status, t.event, t.occasion, t.units,
                  CASE WHEN o.id IS NOT NULL THEN {units_of_event} END AS units_in_event
           FROM (
             SELECT r.id AS reservation_id, r.status, 'inventory.reserved' AS event, '' AS occasion,
                    r.created_at AS happened_at, COALESCE(SUM(i.quantity), 0) AS units
             FROM {reservations} AS r LEFT JOIN {lines} AS i ON i.reservation_id = r.id
             GROUP BY r.id, r.status, r.created_at
             UNION ALL
             SELECT r.id, r.status, 'inventory.confirmed', '', COALESCE(r.settled_at, r.created_at),
                    COALESCE(SUM(i.confirmed), 0)
             FROM {reservations} AS r LEFT JOIN {lines} AS i ON i.reservation_id = r.id
             WHERE r.status = 'CONFIRMED' GROUP BY r.id, r.status, r.created_at, r.settled_at
             UNION ALL
             SELECT r.id, r.status, 'inventory.released', m.reference, MIN(m.created_at), SUM(m.available_delta)
             FROM {line_movements} AS m JOIN {lines} AS i ON i.id = m.line_id
             JOIN {reservations} AS r ON r.id = i.reservation_id
             WHERE m.kind IN ('RELEASE', 'RETURN') GROUP BY r.id, r.status, m.reference) AS t
           LEFT JOIN {events} AS o ON o.subject = {reservation_id} AND o.type = t.event AND o.occasion = t.occasion
           WHERE t.happened_at >= %(events_since)s AND (o.id IS NULL OR {units_of_event} <> t.units)""",
)
ONE_IS_LIVE = Invariant(
    name="I7",
    promise="an order has at most one live reservation, and it is marked as live",
    key=("order_id",),
    sql="""SELECT order_id, COUNT(CASE WHEN is_live_indeed THEN 1 END) AS live,
                  COUNT(CASE WHEN is_live <> is_live_indeed THEN 1 END) AS wrongly_marked
           FROM (
             SELECT r.order_id, r.is_live, (r.status = 'ACTIVE' OR (r.status = 'CONFIRMED' AND EXISTS (
                      SELECT 1 FROM reservation_item i WHERE i.reservation_id = r.id AND i.returned < i.confirmed)))
                    AS is_live_indeed
             FROM {of_the_same_orders} AS r) AS judged
           GROUP BY order_id
           HAVING COUNT(CASE WHEN is_live_indeed THEN 1 END) > 1
               OR COUNT(CASE WHEN is_live <> is_live_indeed THEN 1 END) > 0""",
)
HOLDS_END = Invariant(
    name="I9",
    promise="no reservation is ACTIVE long past its time",
    key=("reservation_id",),
    sql="""SELECT id AS reservation_id, expires_at FROM reservation
           WHERE status = 'ACTIVE' AND expires_at < %(long_ago)s""",
)
OUTBOX_IS_DRAINED = Invariant(
    name="I9",
    promise="no event has waited long to be published",
    key=("id",),
    sql="""SELECT id, type, subject, occurred_at FROM outbox_event
           WHERE published_at IS NULL AND unrouted_at IS NULL AND occurred_at < %(long_ago)s""",
)
COUNTERS_AGREE = Invariant(name="I10", promise="the counters agree with the levels")
LEVELS_REPEAT = Invariant(
    name="I11",
    promise="a level repeats the block and the threshold of its product and the closing of its warehouse",
    key=PLACE,
    sql="""SELECT l.product_id, l.warehouse_id, l.is_blocked, p.is_blocked AS product_is_blocked, l.is_closed,
                  w.is_active AS warehouse_is_active, l.low_stock_threshold, p.low_stock_threshold AS product_threshold
           FROM {levels} AS l JOIN stock_product p ON p.id = l.product_id JOIN warehouse w ON w.id = l.warehouse_id
           WHERE l.is_blocked <> p.is_blocked OR l.is_closed = w.is_active
              OR COALESCE(l.low_stock_threshold, -1) <> COALESCE(p.low_stock_threshold, -1)""",
)
PLACES_EXIST = Invariant(
    name="I12",
    promise="each line, movement and document is at a place that has a level",
    key=("found_in", "id", *PLACE),
    sql="""SELECT found_in, id, product_id, warehouse_id FROM (
             SELECT 'reservation_item' AS found_in, CAST(id AS varchar) AS id, product_id, warehouse_id
             FROM {lines} AS i
             UNION ALL
             SELECT 'stock_movement', CAST(id AS varchar), product_id, warehouse_id FROM {movements} AS m
             UNION ALL
             SELECT 'stock_document', CAST(d.id AS varchar), s.product_id, d.warehouse_id
             FROM {documents} AS d JOIN stock_document_line s ON s.document_id = d.id) AS named
           WHERE NOT EXISTS (SELECT 1 FROM stock_level l
                             WHERE l.product_id = named.product_id AND l.warehouse_id = named.warehouse_id)""",
)
# Without numbers are movements from before the ledger was numbered, and those of a process of the version before during
# an update. Such movements between two numbered ones, by the clock, must explain the difference.
UNNUMBERED = """(SELECT COALESCE(SUM(u.available_delta), 0), COALESCE(SUM(u.reserved_delta), 0),
                        COALESCE(SUM(u.incoming_delta), 0)
                 FROM stock_movement u WHERE u.product_id = {this}.product_id AND u.number IS NULL
                  AND u.warehouse_id = {this}.warehouse_id AND u.created_at > {before}.created_at {and_until})"""
MOVEMENTS_ARE_A_CHAIN = Invariant(
    name="I13",
    promise="each movement continues the one before it, without a gap, and the level has the numbers after the last",
    key=PLACE,
    looks_up=True,
    is_oversell=True,
    sql=f"""SELECT m.product_id, m.warehouse_id, m.number, m.available_after, m.reserved_after, m.incoming_after,
                   p.available_after + m.available_delta AS available, p.reserved_after + m.reserved_delta AS reserved,
                   p.incoming_after + m.incoming_delta AS incoming
            FROM {{movements}} AS m LEFT JOIN stock_movement p
              ON p.product_id = m.product_id AND p.warehouse_id = m.warehouse_id AND p.number = m.number - 1
            WHERE m.number > 1 AND (p.id IS NULL OR (
              (m.available_after, m.reserved_after, m.incoming_after) <>
              (p.available_after + m.available_delta, p.reserved_after + m.reserved_delta,
               p.incoming_after + m.incoming_delta)
              AND (m.available_after - m.available_delta - p.available_after,
                   m.reserved_after - m.reserved_delta - p.reserved_after,
                   m.incoming_after - m.incoming_delta - p.incoming_after) <>
              {UNNUMBERED.format(this="m", before="p", and_until="AND u.created_at <= m.created_at")}))
            UNION ALL
            SELECT l.product_id, l.warehouse_id, l.last_movement, m.available_after, m.reserved_after,
                   m.incoming_after, l.available, l.reserved, l.incoming
            FROM {{levels}} AS l LEFT JOIN stock_movement m
              ON m.product_id = l.product_id AND m.warehouse_id = l.warehouse_id AND m.number = l.last_movement
            WHERE l.last_movement > 0 AND (m.id IS NULL OR (
              (l.available, l.reserved, l.incoming) <> (m.available_after, m.reserved_after, m.incoming_after)
              AND (l.available - m.available_after, l.reserved - m.reserved_after, l.incoming - m.incoming_after) <>
              {UNNUMBERED.format(this="l", before="m", and_until="")}))
            UNION ALL
            SELECT m.product_id, m.warehouse_id, m.number, m.available_after, m.reserved_after, m.incoming_after,
                   l.available, l.reserved, l.incoming
            FROM {{movements}} AS m JOIN stock_level l
              ON l.product_id = m.product_id AND l.warehouse_id = m.warehouse_id
            WHERE m.number > l.last_movement""",  # noqa: S608  # our own text
)
DOCUMENTS_ARE_MOVEMENTS = Invariant(
    name="I14",
    promise="a document's lines are its movements, at its warehouse",
    key=("kind", "reference", *PLACE),
    sql="""SELECT kind, reference, product_id, warehouse_id, SUM(quantity) AS quantity, SUM(moved) AS moved FROM (
             SELECT d.kind, d.reference, s.product_id, d.warehouse_id, s.quantity, 0 AS moved
             FROM {documents} AS d JOIN stock_document_line s ON s.document_id = d.id
             UNION ALL
             SELECT kind, reference, product_id, warehouse_id, 0, available_delta FROM {document_movements} AS m
             WHERE kind IN ('RECEIPT', 'ADJUSTMENT')) AS both_sides
           GROUP BY kind, reference, product_id, warehouse_id HAVING SUM(quantity) <> SUM(moved)""",
)

INVARIANTS = (
    NO_NUMBER_BELOW_ZERO,
    RESERVED_IS_HELD,
    LEVELS_ARE_SUMS,
    LINES_ARE_MOVEMENTS,
    GOODS_ARE_THERE,
    TRANSITIONS_HAVE_EVENTS,
    ONE_IS_LIVE,
    HOLDS_END,
    OUTBOX_IS_DRAINED,
    LEVELS_REPEAT,
    PLACES_EXIST,
    MOVEMENTS_ARE_A_CHAIN,
    DOCUMENTS_ARE_MOVEMENTS,
)
