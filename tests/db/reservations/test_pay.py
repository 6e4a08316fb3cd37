"""Payments, in time and late: a paid order gets its goods where stock allows, and never twice."""

from uuid import uuid4

import pytest

from inventory_project.foundation.errors import NotFound, Unavailable
from reservations import lifecycle
from reservations.models import Reservation
from reservations.requests import Item, Pay, ReservationCancelled, ReservationExpired, Reserve, SalesBlocked
from stock import blocking, ledger
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, PR, RJ, SP, reserve_request
from warehouses.allocation import explanation
from warehouses.models import AllocationPolicy

pytestmark = pytest.mark.usefixtures("books")


@pytest.mark.parametrize("is_overdue", [False, True])
def test_a_payment_confirms_the_hold_though_its_time_is_up(is_overdue: bool) -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 2)
    if is_overdue:
        factories.make_overdue(held)
    answer = verbs.pay(held.order_id)
    assert (answer.is_replay, answer.hold.id, answer.hold.replaces_id) == (False, held.id, None)
    assert verbs.status(held) == ("CONFIRMED", True)
    assert factories.numbers(product.pk) == (3, 0, 0)


@pytest.mark.parametrize("is_ended", [False, True])
def test_a_payment_waits_for_other_warehouses_only_where_it_may_need_them(is_ended: bool) -> None:
    product = factories.product({SP: 5, RJ: 5})
    held = factories.hold(product.pk, 2, SP)
    if is_ended:
        verbs.expire(held)
    with verbs.another_session() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            "SELECT FROM stock_level WHERE product_id = %s AND warehouse_id = %s FOR NO KEY UPDATE", [product.pk, RJ]
        )
        if is_ended:
            with pytest.raises(Unavailable):
                verbs.pay(held.order_id)
        else:
            assert verbs.pay(held.order_id).hold.status == "CONFIRMED"
        cursor.execute("ROLLBACK")
    assert verbs.pay(held.order_id).hold.status == "CONFIRMED"


@pytest.mark.parametrize("is_part", [False, True])
def test_a_payment_for_what_is_confirmed_changes_nothing(is_part: bool) -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 2)
    verbs.confirm(held, *([Item(product.pk, 1)] if is_part else []))
    with records.no_trace():
        answer = verbs.pay(held.order_id)
    assert (answer.is_replay, answer.hold.id) == (True, held.id)


def test_an_expired_hold_comes_back_as_a_new_confirmed_one_at_the_same_warehouse() -> None:
    product = factories.product({SP: 5, RJ: 50})
    held = factories.hold(product.pk, 2, SP, delivery_postal_code="01310-100")
    verbs.expire(held)
    answer = verbs.pay(held.order_id)
    revived = answer.hold
    assert answer.is_replay is False
    assert revived.id != held.id
    assert (revived.status, revived.is_live, revived.replaces_id) == ("CONFIRMED", True, held.id)
    assert revived.created_at == revived.settled_at == revived.expires_at
    assert verbs.places(revived) == [(product.pk, SP, 2)]
    assert verbs.lines(revived) == [(SP, 2, 2, 0, 0)]
    assert verbs.status(held) == ("EXPIRED", False)
    row = Reservation.objects.get(pk=revived.id)
    assert (row.order_id, row.replaces_id, row.delivery_postal_code) == (held.order_id, held.id, "01310-100")
    assert explanation.explain(row.allocation)["strategy"] == "named"
    assert factories.numbers(product.pk) == (3, 0, 0)
    assert records.movements(product.pk)[-2:] == [("RESERVE", SP, -2, 2, ""), ("CONFIRM", SP, 0, -2, "")]
    with records.no_trace():
        again = verbs.pay(held.order_id)
    assert (again.is_replay, again.hold.id) == (True, revived.id)


@pytest.mark.parametrize(("split", "most_parcels"), [("never", None), ("by_line", None), ("at_most", 1)])
def test_a_paid_order_comes_back_in_more_parcels_than_the_policy_allows_others(
    split: str, most_parcels: int | None
) -> None:
    product = factories.product({SP: 4, RJ: 3, PR: 3})
    held = factories.hold(product.pk, 4)
    assert verbs.places(held) == [(product.pk, SP, 4)]
    verbs.expire(held)
    AllocationPolicy.objects.create(preferences=["priority"], split=split, most_parcels=most_parcels)
    factories.hold(product.pk, 1, SP)
    [refusal] = lifecycle.reserve_many([reserve_request(product.pk, 4)])
    assert isinstance(refusal, ledger.InsufficientStock)
    assert refusal.extra["lacking"] == "parcels"
    revived = verbs.pay(held.order_id).hold
    assert sum(quantity for _, _, quantity in verbs.places(revived)) == 4
    assert len(verbs.places(revived)) == 2
    full = explanation.explain(revived.allocation)
    assert [note["code"] for note in full["notes"]] == ["no_postal_code", "revived"]


def test_the_reason_of_a_revived_order_says_where_it_was_held_and_not_that_somebody_named_the_warehouse() -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 2)
    verbs.expire(held)
    revived = verbs.pay(held.order_id).hold
    assert explanation.explain(revived.allocation)["sentence"] == (
        f"Re-reserved at the original warehouse: {SP}. No postal code was given, so distance did not count. "
        "A late payment brought the order back."
    )


@pytest.mark.parametrize("why", ["sold", "closed"])
def test_an_expired_hold_comes_back_at_another_warehouse_where_its_own_cannot_serve(why: str) -> None:
    product = factories.product({SP: 2, RJ: 50})
    held = factories.hold(product.pk, 2, SP)
    verbs.expire(held)
    if why == "sold":
        factories.hold(product.pk, 1, SP)
    else:
        blocking.close_warehouse(SP, actor=ACTOR)
    revived = verbs.pay(held.order_id).hold
    assert verbs.places(revived) == [(product.pk, RJ, 2)]
    assert explanation.explain(revived.allocation)["strategy"] == "one_warehouse"


def test_an_expired_hold_that_was_split_comes_back_split() -> None:
    product = factories.product({SP: 3, RJ: 3})
    held = factories.hold(product.pk, 5)
    verbs.expire(held)
    revived = verbs.pay(held.order_id).hold
    assert verbs.places(revived) == verbs.places(held)
    assert sum(factories.numbers(product.pk, warehouse_id)[0] for warehouse_id in (SP, RJ)) == 1


def test_a_late_payment_that_stock_does_not_allow_is_refused_with_what_is_short() -> None:
    product, other = factories.product({SP: 3, RJ: 1}), factories.product({SP: 5})
    order = Reserve(order_id=uuid4(), items=(Item(product.pk, 4), Item(other.pk, 1)), actor=ACTOR)
    held = verbs.reserve(order).hold
    verbs.expire(held)
    factories.hold(product.pk, 2, SP)
    with records.no_trace(), pytest.raises(ledger.InsufficientStock) as refusal:
        verbs.pay(held.order_id)
    assert refusal.value.extra == {
        "shortages": [{"product_id": str(product.pk), "warehouse_id": None, "requested": 4, "available": 2}],
        "lacking": "stock",
    }


def test_a_late_payment_for_a_blocked_product_is_refused() -> None:
    product = factories.product({SP: 3})
    held = factories.hold(product.pk, 2)
    verbs.expire(held)
    blocking.block_product(product.pk, reason="recall", actor=ACTOR)
    with records.no_trace(), pytest.raises(SalesBlocked) as refusal:
        verbs.pay(held.order_id)
    assert refusal.value.extra == {"product_ids": [str(product.pk)]}


@pytest.mark.parametrize("by", [verbs.cancel, lambda held: verbs.call_off(held.order_id)])
def test_a_hold_that_somebody_cancelled_is_never_revived(by: verbs.Ending) -> None:
    product = factories.product({SP: 3})
    held = factories.hold(product.pk, 2)
    by(held)
    with records.no_trace():
        verbs.call_off(held.order_id, reason="payment_failed", reference="payment")  # comes too late to be the reason
        with pytest.raises(ReservationCancelled):
            verbs.pay(held.order_id)


def test_a_payment_after_one_that_failed_serves_the_order_again() -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 3)
    verbs.call_off(held.order_id, Item(product.pk, 1), reference="part")
    verbs.call_off(held.order_id, reason="payment_failed", reference="card-1")
    assert (verbs.status(held), factories.numbers(product.pk)) == (("CANCELLED", False), (5, 0, 0))
    with records.no_trace(), pytest.raises(ReservationCancelled):
        verbs.pay(held.order_id, is_revivable=False)
    revived = verbs.pay(held.order_id).hold
    assert (revived.status, revived.replaces_id, verbs.places(revived)) == ("CONFIRMED", held.id, [(product.pk, SP, 2)])
    assert (verbs.status(held), factories.numbers(product.pk)) == (("CANCELLED", False), (3, 0, 0))
    with records.no_trace():
        assert verbs.pay(held.order_id).is_replay is True


def test_a_payment_after_one_that_failed_is_refused_where_others_bought_the_goods() -> None:
    product = factories.product({SP: 3})
    held = factories.hold(product.pk, 2)
    verbs.call_off(held.order_id, reason="payment_failed")
    factories.hold(product.pk, 2)
    with records.no_trace(), pytest.raises(ledger.InsufficientStock):
        verbs.pay(held.order_id)


def test_a_payment_that_may_not_revive_leaves_an_expired_hold_as_it_is() -> None:
    product = factories.product({SP: 5})
    expired, active = factories.hold(product.pk, 2), factories.hold(product.pk, 1)
    verbs.expire(expired)
    with records.no_trace(), pytest.raises(ReservationExpired):
        verbs.pay(expired.order_id, is_revivable=False)
    assert verbs.pay(active.order_id, is_revivable=False).hold.status == "CONFIRMED"
    revived = verbs.pay(expired.order_id).hold
    with records.no_trace():
        again = verbs.pay(expired.order_id, is_revivable=False)
    assert (again.is_replay, again.hold.id) == (True, revived.id)


def test_what_was_called_off_before_the_hold_expired_is_not_revived() -> None:
    product, other = factories.product({SP: 5, RJ: 5}), factories.product({SP: 5})
    items = (Item(product.pk, 3, SP), Item(other.pk, 2))
    held = verbs.reserve(Reserve(order_id=uuid4(), items=items, actor=ACTOR)).hold
    verbs.call_off(held.order_id, Item(product.pk, 1), reference="first")
    verbs.call_off(held.order_id, Item(other.pk, 2), reference="second")
    verbs.expire(held)
    revived = verbs.pay(held.order_id).hold
    assert verbs.places(revived) == [(product.pk, SP, 2)]
    assert verbs.lines(revived) == [(SP, 2, 2, 0, 0)]
    assert (factories.numbers(product.pk), factories.numbers(other.pk)) == ((3, 0, 0), (5, 0, 0))
    verbs.give_back(revived)
    assert verbs.status(revived) == ("CONFIRMED", False)


def test_what_was_called_off_is_not_revived_elsewhere_either() -> None:
    product = factories.product({SP: 3, RJ: 5})
    held = factories.hold(product.pk, 3, SP)
    verbs.call_off(held.order_id, Item(product.pk, 1), reference="first")
    verbs.expire(held)
    factories.hold(product.pk, 2, SP)
    assert verbs.places(verbs.pay(held.order_id).hold) == [(product.pk, RJ, 2)]


def test_a_payment_for_an_order_that_is_reserved_anew_meanwhile_confirms_the_new_reservation() -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 2)
    again = reserve_request(product.pk, 1, order_id=held.order_id)
    with verbs.reserved_anew_meanwhile(held, again):
        paid = verbs.pay(held.order_id)
    assert (paid.is_replay, paid.hold.status, verbs.places(paid.hold)) == (False, "CONFIRMED", [(product.pk, SP, 1)])
    assert factories.numbers(product.pk) == (4, 0, 0)


def test_control_without_the_second_look_the_payment_is_refused_though_the_order_is_held() -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 2)
    again = reserve_request(product.pk, 1, order_id=held.order_id)
    with (
        verbs.reserved_anew_meanwhile(held, again),
        verbs.with_one_look_for_current(),
        pytest.raises(ReservationCancelled),
    ):
        verbs.pay(held.order_id)


def test_a_payment_for_an_unknown_order_is_not_found() -> None:
    with records.no_trace(), pytest.raises(NotFound):
        verbs.pay(uuid4())


def test_a_payment_acts_on_the_live_reservation_else_on_the_latest() -> None:
    product = factories.product({SP: 5})
    cancelled = factories.hold(product.pk, 1)
    verbs.cancel(cancelled)
    expired = verbs.reserve(reserve_request(product.pk, 2, order_id=cancelled.order_id)).hold
    verbs.expire(expired)
    active = verbs.reserve(reserve_request(product.pk, 3, order_id=cancelled.order_id)).hold
    assert verbs.pay(active.order_id).hold.id == active.id
    verbs.give_back(active)
    assert verbs.pay(active.order_id).hold.id == active.id  # the latest: confirmed, though it is back
    assert factories.numbers(product.pk) == (5, 0, 0)


def test_paid_twice_in_one_batch_is_revived_once() -> None:
    product = factories.product({SP: 5})
    expired, active = factories.hold(product.pk, 2), factories.hold(product.pk, 1)
    verbs.expire(expired)
    orders = [expired.order_id, active.order_id, uuid4(), expired.order_id, active.order_id]
    requests = [Pay(order_id=order_id, actor=ACTOR) for order_id in orders]
    assert verbs.codes(lifecycle.pay_many, *requests) == ["new", "new", "not_found", "replay", "replay"]
    assert Reservation.objects.filter(order_id=expired.order_id).count() == 2
    assert factories.numbers(product.pk) == (2, 0, 0)


def test_in_one_batch_the_last_units_go_to_the_first_late_payment() -> None:
    product = factories.product({SP: 3})
    first, second = factories.hold(product.pk, 1), factories.hold(product.pk, 2)
    verbs.expire(first)
    verbs.expire(second)
    factories.hold(product.pk, 1)
    requests = [Pay(order_id=held.order_id, actor=ACTOR) for held in (second, first)]
    assert verbs.codes(lifecycle.pay_many, *requests) == ["new", "insufficient_stock"]
    assert factories.numbers(product.pk) == (0, 1, 0)


def test_a_late_payment_takes_the_stock_of_others_whose_time_is_up() -> None:
    product = factories.product({SP: 2})
    late = factories.hold(product.pk, 2)
    verbs.expire(late)
    dead = factories.hold(product.pk, 2)
    factories.make_overdue(dead)
    answer = verbs.pay(late.order_id)
    assert (answer.hold.status, answer.hold.replaces_id) == ("CONFIRMED", late.id)
    assert verbs.status(dead) == ("EXPIRED", False)
    assert factories.numbers(product.pk) == (0, 0, 0)
