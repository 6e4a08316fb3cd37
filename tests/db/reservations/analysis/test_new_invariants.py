"""Damage that the audit once could not see (M10), and the chain of the movements: what is found in all of the books."""

from typing import Any

import pytest
from django.db import transaction

from inventory_project.foundation.database import database_now
from inventory_project.foundation.messaging import outbox
from inventory_project.foundation.messaging.models import OutboxEvent
from reservations import events
from reservations.analysis import audit
from reservations.holds import Hold
from reservations.models import ReservationItem
from reservations.requests import Item
from stock import ledger
from tests import factories
from tests.db.reservations import verbs
from tests.db.reservations.analysis.damaging import damage, execute, found, place, sold_and_held
from tests.db.reservations.analysis.test_audit import writable_ledger
from tests.factories import ACTOR, PR, RJ, SP

pytestmark = pytest.mark.usefixtures("transactional_db")  # not `books`: here the books are wrong at the end


# --- five kinds of damage ------------------------------------------------------------------------------------------


def mark_as_not_live() -> Hold:
    """An order that is paid, and may be bought once more."""
    sold, _ = sold_and_held()
    damage("UPDATE reservation SET is_live = false WHERE id = %s", sold.id)
    return sold


def mark_as_live() -> Hold:
    """An order that is wholly returned, and may never be bought again."""
    sold, _ = sold_and_held()
    verbs.give_back(sold, reference="return-2")
    damage("UPDATE reservation SET is_live = true WHERE id = %s", sold.id)
    return sold


def return_elsewhere() -> Hold:
    """A return of one unit, right in all numbers, but at another warehouse than its line's."""
    product = factories.product({SP: 10, RJ: 5})
    sold = factories.hold(product.pk, 4, SP)
    verbs.confirm(sold)
    [line] = sold.lines
    with transaction.atomic():
        levels, now = ledger.lock([product.pk]), database_now()
        posting = ledger.Posting(
            kind=ledger.Kind.RETURN,
            product_id=product.pk,
            warehouse_id=RJ,
            available=1,
            line_id=line.id,
            reference="return-1",
            actor=ACTOR,
        )
        ledger.post(levels, posting)
        ledger.write(levels, at=now)
        ReservationItem.objects.filter(pk=line.id).update(returned=1)
        outbox.record([events.released(sold, [(line, 1)], reason="returned", reference="return-1")], at=now)
    return sold


def delete_with_lines() -> Hold:
    """A cancelled reservation that is deleted: its movements name a line that does not exist."""
    _, held = sold_and_held()
    verbs.cancel(held)
    damage("DELETE FROM reservation_item WHERE reservation_id = %s", held.id)
    damage("DELETE FROM reservation WHERE id = %s", held.id)
    return held


def report_other_units() -> Hold:
    """An event with other units than what was confirmed."""
    sold, _ = sold_and_held()
    confirmed = OutboxEvent.objects.get(subject=str(sold.id), type="inventory.confirmed")
    confirmed.data["items"][0]["quantity"] = 9
    confirmed.save(update_fields=["data"])
    return sold


FIVE = {
    mark_as_not_live: {"I7"},
    mark_as_live: {"I7"},
    return_elsewhere: {"I4", "I5"},
    delete_with_lines: {"I4"},
    report_other_units: {"I6"},
}


@pytest.mark.parametrize(("harm", "names"), FIVE.items(), ids=lambda value: getattr(value, "__name__", None))
def test_each_of_the_five_is_found(harm: Any, names: set[str]) -> None:
    harm()
    assert set(found()) == names


def test_an_order_that_is_not_marked_as_live_is_found_also_once_it_was_bought_twice() -> None:
    sold = mark_as_not_live()
    assert found()["I7"] == [{"order_id": sold.order_id, "live": 1, "wrongly_marked": 1}]

    again = factories.reserve_request(sold.lines[0].product_id, order_id=sold.order_id)
    verbs.confirm(verbs.reserve(again).hold)
    assert found()["I7"] == [{"order_id": sold.order_id, "live": 2, "wrongly_marked": 1}]


def test_a_wholly_returned_order_that_is_marked_as_live_is_found() -> None:
    sold = mark_as_live()
    assert found()["I7"] == [{"order_id": sold.order_id, "live": 0, "wrongly_marked": 1}]


def test_a_return_at_another_place_is_found_at_both() -> None:
    sold = return_elsewhere()
    [at_rio, at_sao_paulo] = sorted(found()["I4"], key=lambda row: str(row["warehouse_id"]))
    assert (at_rio["warehouse_id"], at_rio["line_id"], at_rio["quantity"], at_rio["returned_moved"]) == (
        (RJ, sold.lines[0].id, None, 1)
    )
    assert (at_sao_paulo["warehouse_id"], at_sao_paulo["returned"], at_sao_paulo["returned_moved"]) == (SP, 1, 0)
    product_id = sold.lines[0].product_id
    assert sorted(found()["I5"], key=lambda row: str(row["warehouse_id"])) == [
        {"product_id": product_id, "warehouse_id": RJ, "came": 5, "is_there": 6},
        {"product_id": product_id, "warehouse_id": SP, "came": 11, "is_there": 10},
    ]


def test_movements_of_a_line_that_does_not_exist_are_found() -> None:
    held = delete_with_lines()
    [row] = found()["I4"]
    assert (row["line_id"], row["status"], row["held"], row["released_moved"]) == (held.lines[0].id, None, 2, 2)


def test_an_event_with_other_units_is_found_and_one_without_any() -> None:
    sold = report_other_units()
    row = {"reservation_id": sold.id, "status": "CONFIRMED", "event": "inventory.confirmed", "occasion": "", "units": 3}
    assert found() == {"I6": [{**row, "units_in_event": 9}]}
    for data in ("{}", '{"items": "none"}', '{"items": [{"quantity": "three"}]}'):
        damage("UPDATE outbox_event SET data = %s WHERE subject = %s AND type = %s", data, str(sold.id), row["event"])
        assert found() == {"I6": [{**row, "units_in_event": 0}]}


# --- documents, and places that exist ------------------------------------------------------------------------------


def test_i14_finds_a_receipt_whose_document_names_another_warehouse() -> None:
    product = factories.product({SP: 10, RJ: 5})
    damage("UPDATE stock_document SET warehouse_id = %s WHERE warehouse_id = %s", RJ, SP)
    rows = sorted(found()["I14"], key=lambda row: str(row["warehouse_id"]))
    assert [(row["product_id"], row["warehouse_id"], row["quantity"], row["moved"]) for row in rows] == [
        (product.pk, RJ, 10, 0),
        (product.pk, SP, 0, 10),
    ]


@pytest.mark.parametrize("table", ["reservation_item", "stock_movement"])
def test_i12_finds_what_is_at_a_place_without_a_level(table: str) -> None:
    _, held = sold_and_held()
    with writable_ledger():
        execute(f"UPDATE {table} SET warehouse_id = 'wh-none'")  # noqa: S608
    assert {(row["found_in"], row["warehouse_id"]) for row in found()["I12"]} == {(table, "wh-none")}
    assert {row["product_id"] for row in found()["I12"]} == {held.lines[0].product_id}


def test_i12_finds_a_document_of_a_place_without_a_level() -> None:
    product = factories.product({SP: 10})
    factories.warehouse(PR)
    damage("UPDATE stock_document SET warehouse_id = %s", PR)
    [row] = found()["I12"]
    assert (row["found_in"], row["product_id"], row["warehouse_id"]) == ("stock_document", product.pk, PR)


# --- the chain of the movements ------------------------------------------------------------------------------------


def test_i13_finds_two_movements_that_are_gone_though_they_cancel_each_other_out() -> None:
    """Sums cannot see it: the level is still the sum of what is left."""
    product = factories.product({SP: 10})
    gone = factories.hold(product.pk, 2)
    verbs.cancel(gone)
    factories.hold(product.pk, 1)
    with writable_ledger():
        execute("DELETE FROM stock_movement WHERE number IN (2, 3)")
    execute(f"DELETE FROM reservation_item WHERE reservation_id = '{gone.id}'")  # noqa: S608
    execute(f"DELETE FROM reservation WHERE id = '{gone.id}'")  # noqa: S608
    [row] = found()["I13"]
    assert (row["product_id"], row["warehouse_id"], row["number"], row["available"]) == (product.pk, SP, 4, None)
    assert set(found()) == {"I13"}


@pytest.mark.parametrize("column", ["available_after", "reserved_after", "incoming_after"])
def test_i13_finds_a_movement_that_does_not_continue_the_one_before(column: str) -> None:
    _, held = sold_and_held()
    with writable_ledger():
        execute(f"UPDATE stock_movement SET {column} = {column} + 1 WHERE number = 2")  # noqa: S608
    assert [row["number"] for row in found()["I13"]] == [2, 3]
    assert found()["I13"][0]["product_id"] == held.lines[0].product_id


@pytest.mark.parametrize("column", ["available", "reserved", "incoming"])
def test_i13_finds_a_level_that_has_other_numbers_than_after_its_last_movement(column: str) -> None:
    _, held = sold_and_held()
    damage(f"UPDATE stock_level SET {column} = {column} + 1")  # noqa: S608
    [row] = found()["I13"]
    assert {name: row[name] for name in ("product_id", "warehouse_id")} == place(held)
    assert row[column] == row[f"{column}_after"] + 1


def test_i13_finds_a_movement_that_its_level_does_not_know_and_a_level_whose_last_one_is_gone() -> None:
    _, held = sold_and_held()
    last = 6
    damage("UPDATE stock_level SET last_movement = last_movement - 1")
    assert {row["number"] for row in found()["I13"]} == {last - 1, last}
    damage("UPDATE stock_level SET last_movement = last_movement + 2")
    [row] = found()["I13"]
    assert (row["product_id"], row["number"], row["available_after"]) == (held.lines[0].product_id, last + 1, None)


def correct(number: int, *, available: int, created_at: str) -> None:
    """A movement without a number, as docs/operating/invariants.md says: by how much the level was changed by hand."""
    damage(
        f"""INSERT INTO stock_movement (id, product_id, warehouse_id, kind, available_delta, reserved_delta,
                                        incoming_delta, reference, actor, reason, created_at)
            SELECT gen_random_uuid(), product_id, warehouse_id, 'ADJUSTMENT', %s, 0, 0, 'repair-1', 'ana', 'by hand',
                   {created_at} FROM stock_movement WHERE number = %s""",  # noqa: S608
        available,
        number,
    )


def test_a_level_that_sold_on_after_it_was_changed_by_hand_can_be_repaired() -> None:
    product = factories.product({SP: 10})
    damage("UPDATE stock_level SET available = available + 5")
    factories.hold(product.pk, 1)
    [row] = found()["I13"]
    assert (row["number"], row["available_after"] - row["available"]) == (2, 5)

    damage("UPDATE stock_level SET available = available - 5")
    correct(2, available=5, created_at="created_at")
    correct(2, available=-5, created_at="clock_timestamp()")
    assert found() == {}

    factories.hold(product.pk, 1)
    assert found() == {}


def movement_of_the_version_before() -> None:
    """A return of one unit by a process that knows no numbers, as during an update."""
    damage(
        """INSERT INTO stock_movement (id, product_id, warehouse_id, kind, available_delta, reserved_delta,
                                       incoming_delta, line_id, reference, actor, reason, created_at)
           SELECT gen_random_uuid(), product_id, warehouse_id, kind, 1, 0, 0, line_id, 'before', actor, '',
                  clock_timestamp() FROM stock_movement WHERE kind = 'RETURN'"""
    )
    damage("UPDATE stock_level SET available = available + 1, version = version + 1")
    damage("UPDATE reservation_item SET returned = returned + 1 WHERE confirmed = 3")
    damage(
        """INSERT INTO outbox_event (event_id, type, subject, occasion, data, extensions, occurred_at)
           SELECT gen_random_uuid(), type, subject, 'before', data, '{}', clock_timestamp()
           FROM outbox_event WHERE occasion = 'return-1'"""
    )


def test_movements_without_a_number_that_explain_the_difference_are_no_damage() -> None:
    _, held = sold_and_held()
    movement_of_the_version_before()
    assert found() == {}

    factories.hold(held.lines[0].product_id)
    assert found() == {}

    damage("UPDATE stock_level SET available = available + 1")
    assert set(found()) == {"I3", "I5", "I13"}


def test_books_from_before_the_numbers_are_no_damage() -> None:
    _, held = sold_and_held()
    with writable_ledger():
        execute(
            "UPDATE stock_movement SET number = NULL, available_after = NULL, reserved_after = NULL, "
            "incoming_after = NULL"
        )
    damage("UPDATE stock_level SET last_movement = 0")
    assert found() == {}

    verbs.call_off(held.order_id, Item(held.lines[0].product_id, 1))
    assert found() == {}
    assert {finding.invariant.name for finding in audit.run()} >= {"I13"}
