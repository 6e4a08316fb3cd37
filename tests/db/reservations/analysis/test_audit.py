"""Damage done past the service: for each invariant exactly its kind, and the audit names the row."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import IntegrityError, connection
from pytest_django import Settings

from inventory_project.foundation.messaging import outbox
from reservations.analysis import audit
from reservations.requests import Item
from tests import factories
from tests.db.reservations import verbs
from tests.db.reservations.analysis.damaging import damage, execute, found, place, sold_and_held
from tests.factories import RJ, SP, reserve_request

pytestmark = pytest.mark.usefixtures("transactional_db")  # not `books`: here the books are wrong at the end


@contextmanager
def without_constraint(table: str, name: str) -> Iterator[None]:
    """The table without this constraint or unique index; emptied and put back afterwards."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [name])
        constraint = cursor.fetchone()
        cursor.execute("SELECT pg_get_indexdef(oid) FROM pg_class WHERE relname = %s", [name])
        index = cursor.fetchone()
    execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}" if constraint else f"DROP INDEX {name}")
    try:
        yield
    finally:
        execute(f"TRUNCATE {table} CASCADE")
        execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {constraint[0]}" if constraint else index[0])


@contextmanager
def writable_ledger() -> Iterator[None]:
    """The ledger without the trigger that keeps its movements as they are."""
    execute("ALTER TABLE stock_movement DISABLE TRIGGER stock_movement_is_append_only")
    try:
        yield
    finally:
        execute("ALTER TABLE stock_movement ENABLE TRIGGER stock_movement_is_append_only")


def test_in_clean_books_nothing_is_found_and_every_invariant_is_asked(settings: Settings) -> None:
    settings.OUTBOX_TO_LOG = True
    product = factories.product({SP: 20, RJ: 5})
    holds = [factories.hold(product.pk, 2) for _ in range(5)]
    verbs.confirm(holds[0])
    verbs.confirm(holds[1], Item(product.pk, 1))
    verbs.cancel(holds[2])
    verbs.expire(holds[3])
    verbs.pay(holds[3].order_id)
    verbs.give_back(holds[0])
    factories.make_overdue(holds[4])  # not for long yet
    findings = list(audit.run())
    assert [(finding.invariant.name, finding.count, finding.rows) for finding in findings] == [
        (name, 0, []) for name in (*("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I9", "I9", "I11", "I12", "I13", "I14"),)
    ]


@pytest.mark.parametrize(
    ("constraint", "change", "numbers"),
    [
        ("stock_level_never_promises_what_it_lacks", "UPDATE stock_level SET available = -1", (-1, 2, 0)),
        ("stock_level_never_releases_what_is_not_held", "UPDATE stock_level SET reserved = -1", (6, -1, 0)),
        ("stock_level_never_receives_what_is_not_coming", "UPDATE stock_level SET incoming = -1", (6, 2, -1)),
    ],
)
def test_i1_finds_a_number_below_zero(constraint: str, change: str, numbers: tuple[int, int, int]) -> None:
    _, held = sold_and_held()
    with without_constraint("stock_level", constraint):
        damage(change)
        names = ("available", "reserved", "incoming")
        assert found()["I1"] == [{**place(held), **dict(zip(names, numbers, strict=True))}]


def test_i2_finds_a_level_that_holds_more_than_its_reservations() -> None:
    _, held = sold_and_held()
    damage("UPDATE stock_level SET reserved = reserved + 1")
    assert found()["I2"] == [{**place(held), "reserved": 3, "held": 2}]


def test_i2_counts_of_a_hold_what_it_has_not_given_up() -> None:
    _, held = sold_and_held()
    verbs.call_off(held.order_id, Item(held.lines[0].product_id, 1))
    assert found() == {}
    damage("UPDATE reservation_item SET released = 0 WHERE reservation_id = %s", held.id)
    assert found()["I2"] == [{**place(held), "reserved": 1, "held": 2}]


def test_i2_finds_a_reservation_that_ended_without_giving_back() -> None:
    _, held = sold_and_held()
    damage("UPDATE reservation SET status = 'CANCELLED', is_live = false WHERE id = %s", held.id)
    assert found()["I2"] == [{**place(held), "reserved": 2, "held": 0}]


def test_i2_finds_a_hold_where_no_level_is() -> None:
    _, held = sold_and_held()
    factories.warehouse(RJ)
    damage("UPDATE reservation_item SET warehouse_id = %s WHERE reservation_id = %s", RJ, held.id)
    product_id = held.lines[0].product_id
    assert sorted(found()["I2"], key=lambda row: str(row["warehouse_id"])) == [
        {"product_id": product_id, "warehouse_id": RJ, "reserved": 0, "held": 2},
        {"product_id": product_id, "warehouse_id": SP, "reserved": 2, "held": 0},
    ]


@pytest.mark.parametrize(
    ("change", "numbers"),
    [
        ("UPDATE stock_level SET available = available + 1", {"available": 7}),
        ("UPDATE stock_level SET reserved = reserved - 1", {"reserved": 1}),
        ("UPDATE stock_level SET incoming = incoming + 1", {"incoming": 1}),
    ],
)
def test_i3_finds_a_level_that_is_not_the_sum_of_its_movements(change: str, numbers: dict[str, int]) -> None:
    _, held = sold_and_held()
    damage(change)
    level = {"available": 6, "reserved": 2, "incoming": 0}
    moved = {"available_moved": 6, "reserved_moved": 2, "incoming_moved": 0}
    assert found()["I3"] == [{**place(held), **level, **moved, **numbers}]


def test_i3_finds_a_movement_that_was_changed() -> None:
    _, held = sold_and_held()
    with writable_ledger():
        damage("UPDATE stock_movement SET available_delta = available_delta + 1 WHERE kind = 'RECEIPT'")
    [row] = found()["I3"]
    assert (row["product_id"], row["available"], row["available_moved"]) == (held.lines[0].product_id, 6, 7)


@pytest.mark.parametrize("kind", ["RESERVE", "CONFIRM", "RELEASE", "RETURN"])
def test_i4_finds_a_line_that_lacks_a_movement(kind: str) -> None:
    sold, _ = sold_and_held()
    with writable_ledger():
        damage("DELETE FROM stock_movement WHERE kind = %s AND line_id = %s", kind, sold.lines[0].id)
    [row] = found()["I4"]
    expected = {
        "reserves": 1,
        "held": 4,
        "confirmed_moved": 3,
        "released_moved": 1,
        "released_at_end": 1,
        "returned_moved": 1,
    }
    gone = {
        "RESERVE": {"reserves": 0, "held": 0},
        "CONFIRM": {"confirmed_moved": 0},
        "RELEASE": {"released_moved": 0, "released_at_end": 0},
        "RETURN": {"returned_moved": 0},
    }
    line = {"line_id": sold.lines[0].id, **place(sold), "status": "CONFIRMED", "quantity": 4}
    assert row == {**line, "confirmed": 3, "released": 1, "returned": 1, **expected, **gone[kind]}


@pytest.mark.parametrize("kind", ["RESERVE", "CONFIRM", "RELEASE"])
def test_i4_finds_a_line_with_a_movement_too_many(kind: str) -> None:
    sold, _ = sold_and_held()
    with without_constraint("stock_movement", "stock_movement_of_a_line_happens_once"):
        damage(
            """INSERT INTO stock_movement (id, kind, available_delta, reserved_delta, incoming_delta, line_id,
                                           reference, actor, reason, created_at, product_id, warehouse_id)
               SELECT gen_random_uuid(), kind, available_delta, reserved_delta, incoming_delta, line_id, reference,
                      actor, reason, created_at, product_id, warehouse_id
               FROM stock_movement WHERE kind = %s AND line_id = %s""",
            kind,
            sold.lines[0].id,
        )
        assert [row["line_id"] for row in found()["I4"]] == [sold.lines[0].id]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE reservation_item SET confirmed = confirmed - 1 WHERE reservation_id = %s",
        "UPDATE reservation_item SET released = released - 1 WHERE reservation_id = %s",
        "UPDATE reservation_item SET returned = returned + 1 WHERE reservation_id = %s",
        "UPDATE reservation_item SET quantity = quantity + 1 WHERE reservation_id = %s",
    ],
)
def test_i4_finds_a_line_whose_numbers_are_not_its_movements(change: str) -> None:
    sold, _ = sold_and_held()
    damage(change, sold.id)
    assert [row["line_id"] for row in found()["I4"]] == [sold.lines[0].id]


def test_i4_finds_a_hold_that_ended_without_its_movements_and_one_that_was_confirmed_before_its_end() -> None:
    _, held = sold_and_held()
    damage("UPDATE reservation SET status = 'EXPIRED', is_live = false WHERE id = %s", held.id)
    assert [(row["line_id"], row["status"]) for row in found()["I4"]] == [(held.lines[0].id, "EXPIRED")]
    damage("UPDATE reservation SET status = 'ACTIVE', is_live = true WHERE id = %s", held.id)
    damage("UPDATE reservation_item SET confirmed = 1 WHERE reservation_id = %s", held.id)
    assert [(row["line_id"], row["status"]) for row in found()["I4"]] == [(held.lines[0].id, "ACTIVE")]


def test_i4_finds_a_hold_that_goes_on_after_its_end() -> None:
    _, held = sold_and_held()
    verbs.call_off(held.order_id, Item(held.lines[0].product_id, 1))
    verbs.expire(held)
    damage("UPDATE reservation SET status = 'ACTIVE', is_live = true WHERE id = %s", held.id)
    [row] = found()["I4"]
    assert (row["line_id"], row["status"], row["released"]) == (held.lines[0].id, "ACTIVE", 2)
    assert (row["released_moved"], row["released_at_end"]) == (2, 1)


def test_i4_finds_a_hold_that_ended_before_everything_was_given_up() -> None:
    _, held = sold_and_held()
    verbs.call_off(held.order_id, Item(held.lines[0].product_id, 1))
    damage("UPDATE reservation SET status = 'CANCELLED', is_live = false WHERE id = %s", held.id)
    assert [(row["line_id"], row["status"], row["released"]) for row in found()["I4"]] == [
        (held.lines[0].id, "CANCELLED", 1)
    ]


def test_the_database_refuses_a_line_that_confirms_and_releases_more_than_it_holds() -> None:
    sold, _ = sold_and_held()
    name = '"reservation_item_confirms_and_releases_no_more_than_it_holds"'
    for change in ("confirmed = confirmed + 1", "released = released + 1"):
        with pytest.raises(IntegrityError, match=name):
            damage(f"UPDATE reservation_item SET {change} WHERE reservation_id = %s", sold.id)  # noqa: S608
    assert found() == {}


@pytest.mark.parametrize(
    ("change", "came", "is_there"),
    [
        ("UPDATE stock_document_line SET quantity = 11", 12, 11),
        ("UPDATE reservation_item SET confirmed = confirmed + 1, released = 0 WHERE confirmed = 3", 11, 12),
        ("UPDATE reservation_item SET returned = returned + 1 WHERE returned = 1", 12, 11),
        ("UPDATE stock_level SET available = available - 1", 11, 10),
        ("DELETE FROM stock_document_line", 1, 11),
    ],
)
def test_i5_finds_a_place_to_which_more_or_less_came_than_is_there(change: str, came: int, is_there: int) -> None:
    sold, _ = sold_and_held()
    damage(change)
    assert found()["I5"] == [{**place(sold), "came": came, "is_there": is_there}]


@pytest.mark.parametrize("event", ["reserved", "confirmed", "released"])
def test_i6_finds_a_transition_without_its_event(event: str) -> None:
    sold, _ = sold_and_held()
    damage(
        "DELETE FROM outbox_event WHERE subject = %s AND type = %s AND occasion = ''",
        str(sold.id),
        f"inventory.{event}",
    )
    units = {"reserved": 4, "confirmed": 3, "released": 1}[event]
    missing = {"event": f"inventory.{event}", "occasion": "", "units": units, "units_in_event": None}
    assert found() == {"I6": [{"reservation_id": sold.id, "status": "CONFIRMED", **missing}]}


@pytest.mark.parametrize(("end", "status"), [(verbs.cancel, "CANCELLED"), (verbs.expire, "EXPIRED")])
def test_i6_finds_a_release_without_its_event(end: verbs.Ending, status: str) -> None:
    _, held = sold_and_held()
    end(held)
    damage("DELETE FROM outbox_event WHERE subject = %s AND type = 'inventory.released'", str(held.id))
    missing = {"event": "inventory.released", "occasion": "", "units": 2, "units_in_event": None}
    assert found() == {"I6": [{"reservation_id": held.id, "status": status, **missing}]}


@pytest.mark.parametrize("is_confirmed", [False, True])
def test_i6_finds_each_part_that_was_freed_without_its_event(is_confirmed: bool) -> None:
    _, held = sold_and_held()
    product_id = held.lines[0].product_id
    if is_confirmed:
        verbs.confirm(held)
    for reference in ("first", "second"):
        verbs.call_off(held.order_id, Item(product_id, 1), reference=reference)
    assert found() == {}
    damage("DELETE FROM outbox_event WHERE subject = %s AND occasion = 'first'", str(held.id))
    status = "CONFIRMED" if is_confirmed else "CANCELLED"
    missing = {"event": "inventory.released", "occasion": "first", "units": 1, "units_in_event": None}
    assert found() == {"I6": [{"reservation_id": held.id, "status": status, **missing}]}


def test_i6_misses_no_event_that_is_older_than_events_are_kept(settings: Settings) -> None:
    settings.EVENT_RETENTION_DAYS = 2
    sold, held = sold_and_held()
    verbs.cancel(held)
    execute("DELETE FROM outbox_event")
    assert {(row["reservation_id"], row["event"], row["occasion"]) for row in found()["I6"]} == {
        (sold.id, "inventory.reserved", ""),
        (sold.id, "inventory.confirmed", ""),
        (sold.id, "inventory.released", ""),
        (sold.id, "inventory.released", "return-1"),
        (held.id, "inventory.reserved", ""),
        (held.id, "inventory.released", ""),
    }
    with writable_ledger():
        execute("UPDATE stock_movement SET created_at = created_at - interval '49 hours' WHERE kind = 'RETURN'")
    execute("UPDATE reservation SET created_at = created_at - interval '49 hours'")
    assert {(row["reservation_id"], row["event"], row["occasion"]) for row in found()["I6"]} == {
        (sold.id, "inventory.confirmed", ""),
        (sold.id, "inventory.released", ""),
        (held.id, "inventory.released", ""),
    }


def test_i7_finds_an_order_with_two_live_reservations() -> None:
    sold, held = sold_and_held()
    with without_constraint("reservation", "reservation_is_the_only_live_one_of_its_order"):
        damage("UPDATE reservation SET order_id = %s WHERE id = %s", sold.order_id, held.id)
        assert found() == {"I7": [{"order_id": sold.order_id, "live": 2, "wrongly_marked": 0}]}


def test_i9_finds_a_hold_long_past_its_time(settings: Settings) -> None:
    _, held = sold_and_held()
    verbs.age(held, minutes=15 + (settings.AUDIT_GRACE_SECONDS - 5) / 60)
    assert found() == {}
    verbs.age(held, minutes=10 / 60)
    [row] = found()["I9"]
    assert row["reservation_id"] == held.id


def test_i9_finds_an_event_that_nobody_takes_away_unless_the_broker_had_no_queue_for_it() -> None:
    sold, _ = sold_and_held()
    damage(
        "UPDATE outbox_event SET occurred_at = occurred_at - interval '1 hour' WHERE subject = %s AND type = %s",
        str(sold.id),
        "inventory.confirmed",
    )
    assert [(row["type"], row["subject"]) for row in found()["I9"]] == [("inventory.confirmed", str(sold.id))]
    execute("UPDATE outbox_event SET unrouted_at = occurred_at WHERE type = 'inventory.confirmed'")
    assert found() == {}
    execute("UPDATE outbox_event SET unrouted_at = NULL")
    outbox.drain_to_log()
    assert found() == {}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE stock_level SET is_blocked = NOT is_blocked",
        "UPDATE stock_level SET is_closed = NOT is_closed",
        "UPDATE stock_level SET low_stock_threshold = 7",
        "UPDATE warehouse SET is_active = false",
    ],
)
def test_i11_finds_a_level_that_says_otherwise_than_its_product_and_warehouse(sql: str) -> None:
    _, held = sold_and_held()
    damage(sql)
    [row] = found()["I11"]
    assert row["product_id"] == held.lines[0].product_id


def test_all_damage_is_counted_though_only_the_first_rows_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_RECORDED", 2)
    for _ in range(3):
        factories.product({SP: 1})
    execute("UPDATE stock_level SET reserved = 1")
    findings = {finding.invariant.name: finding for finding in audit.run()}
    assert (findings["I2"].count, len(findings["I2"].rows)) == (3, 2)


def test_the_audit_changes_nothing_and_leaves_the_session_able_to_write() -> None:
    _, held = sold_and_held()
    verbs.cancel(held)
    verbs.reserve(reserve_request(held.lines[0].product_id, 2, order_id=held.order_id))
    assert found() == {}
