"""Returning: confirmed goods come back to the level they left, each once."""

from uuid import uuid4

import pytest

from inventory_project.foundation.errors import Conflict, NotFound
from reservations import lifecycle
from reservations.requests import ExceedsReservation, Item, ReservationActive, Return
from stock.documents import ReferenceConflict
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, RJ, SP, reserve_request

pytestmark = pytest.mark.usefixtures("books")


def test_all_confirmed_goods_come_back_and_the_order_may_reserve_anew() -> None:
    product = factories.product({SP: 3, RJ: 3})
    held = factories.hold(product.pk, 5)
    verbs.confirm(held, Item(product.pk, 4))
    answer = verbs.give_back(held)
    assert answer.is_replay is False
    assert verbs.status(held) == ("CONFIRMED", False)
    assert factories.numbers(product.pk, SP) == factories.numbers(product.pk, RJ) == (3, 0, 0)
    assert sum(row[2] for row in records.movements(product.pk) if row[0] == "RETURN") == 4
    again = verbs.reserve(reserve_request(product.pk, 6, order_id=held.order_id))
    assert again.is_replay is False


def test_a_part_comes_back_to_the_level_named_and_the_reservation_stays_live() -> None:
    product = factories.product({RJ: 3, SP: 3})
    held = factories.hold(product.pk, 5)
    verbs.confirm(held)
    first, second = (line.warehouse_id for line in held.lines)
    verbs.give_back(held, Item(product.pk, 1, second))
    assert [line[4] for line in verbs.lines(held)] == [0, 1]
    assert verbs.status(held) == ("CONFIRMED", True)
    assert records.movements(product.pk)[-1] == ("RETURN", second, 1, 0, "return-1")
    verbs.give_back(held, Item(product.pk, 1), reference="return-2")
    assert [line[4] for line in verbs.lines(held)] == [1, 1]
    assert records.movements(product.pk)[-1] == ("RETURN", first, 1, 0, "return-2")


def test_what_is_not_back_yet_comes_back_with_the_last_return() -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 4)
    verbs.confirm(held)
    verbs.give_back(held, Item(product.pk, 1))
    verbs.give_back(held, reference="return-2")
    assert verbs.lines(held) == [(SP, 4, 4, 0, 4)]
    assert verbs.status(held) == ("CONFIRMED", False)
    assert factories.numbers(product.pk) == (5, 0, 0)


@pytest.mark.parametrize("is_all", [True, False])
def test_the_same_return_again_changes_nothing(is_all: bool) -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 4)
    verbs.confirm(held)
    verbs.give_back(held, *([] if is_all else [Item(product.pk, 2)]))
    with records.no_trace():
        assert verbs.give_back(held, Item(product.pk, 4 if is_all else 2)).is_replay is True
        if is_all:
            assert verbs.give_back(held).is_replay is True


def test_a_reference_of_a_part_does_not_stand_for_all_the_rest() -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 5)
    verbs.confirm(held)
    verbs.give_back(held, Item(product.pk, 2), reference="rma-1")

    def is_refused(reference: str) -> bool:
        with records.no_trace(), pytest.raises(ReferenceConflict):
            verbs.give_back(held, reference=reference)
        return True

    assert is_refused("rma-1")
    verbs.give_back(held, Item(product.pk, 1), reference="rma-2")
    assert is_refused("rma-2")
    verbs.give_back(held, reference="rma-3")
    with records.no_trace():
        assert verbs.give_back(held, reference="rma-3").is_replay is True
        assert verbs.give_back(held, Item(product.pk, 2), reference="rma-3").is_replay is True
        assert verbs.give_back(held, Item(product.pk, 2), reference="rma-1").is_replay is True
    assert is_refused("rma-1")
    assert is_refused("rma-2")
    assert factories.numbers(product.pk) == (5, 0, 0)


def test_in_one_batch_a_reference_of_a_part_does_not_stand_for_all_the_rest() -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 5)
    verbs.confirm(held)
    wanted = [("rma-1", (Item(product.pk, 2),)), ("rma-1", None), ("rma-2", None), ("rma-2", None), ("rma-1", None)]
    requests = [
        Return(reservation_id=held.id, reference=reference, items=items, actor=ACTOR) for reference, items in wanted
    ]
    assert verbs.codes(lifecycle.return_many, *requests) == [
        "new",
        "reference_conflict",
        "new",
        "replay",
        "reference_conflict",
    ]
    with records.no_trace():  # as another process sees it, whose two returns have one moment
        assert verbs.codes(lifecycle.return_many, *requests)[1:] == [
            "reference_conflict",
            "replay",
            "replay",
            "reference_conflict",
        ]


def test_a_reference_with_other_goods_is_refused() -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 4)
    verbs.confirm(held)
    verbs.give_back(held, Item(product.pk, 2))
    with records.no_trace():
        for item in (Item(product.pk, 1), Item(product.pk, 3), Item(product.pk, 2, RJ), Item(uuid4(), 2)):
            with pytest.raises(ReferenceConflict) as refusal:
                verbs.give_back(held, item)
            assert refusal.value.code == "reference_conflict"


def test_two_reservations_may_use_one_reference() -> None:
    product = factories.product({SP: 5})
    held = [factories.hold(product.pk, 2), factories.hold(product.pk, 2)]
    for one in held:
        verbs.confirm(one)
        assert verbs.give_back(one).is_replay is False
    assert factories.numbers(product.pk) == (5, 0, 0)


@pytest.mark.parametrize("case", ["more than confirmed", "elsewhere", "another product", "back already"])
def test_more_than_is_out_cannot_come_back(case: str) -> None:
    product, other = factories.product({SP: 5, RJ: 5}), factories.product({SP: 5})
    held = factories.hold(product.pk, 4, SP)
    verbs.confirm(held, Item(product.pk, 3))
    if case == "back already":
        verbs.give_back(held, reference="return-0")
    items = {
        "more than confirmed": [Item(product.pk, 4)],
        "elsewhere": [Item(product.pk, 1, RJ)],
        "another product": [Item(other.pk, 1)],
        "back already": [],
    }
    with records.no_trace(), pytest.raises(ExceedsReservation) as refusal:
        verbs.give_back(held, *items[case])
    assert refusal.value.code == "exceeds_reservation"


def test_only_confirmed_goods_come_back() -> None:
    product = factories.product({SP: 9})
    active, cancelled, expired = (factories.hold(product.pk, 2) for _ in range(3))
    verbs.cancel(cancelled)
    verbs.expire(expired)
    with records.no_trace():
        with pytest.raises(ReservationActive) as refusal:
            verbs.give_back(active)
        assert refusal.value.code == "reservation_active"
        for held, code in ((cancelled, "reservation_cancelled"), (expired, "reservation_expired")):
            with pytest.raises(Conflict) as conflict:
                verbs.give_back(held)
            assert conflict.value.code == code
        with pytest.raises(NotFound):
            lifecycle.one(lifecycle.return_many, Return(reservation_id=uuid4(), reference="return-1", actor=ACTOR))


def test_a_batch_takes_each_return_back_once() -> None:
    product = factories.product({SP: 5})
    held = factories.hold(product.pk, 4)
    verbs.confirm(held)

    def request(reference: str, *items: Item) -> Return:
        return Return(reservation_id=held.id, reference=reference, items=items or None, actor=ACTOR)

    requests = [
        request("return-1", Item(product.pk, 1)),
        request("return-1", Item(product.pk, 1)),
        request("return-1", Item(product.pk, 2)),
        request("return-2", Item(product.pk, 4)),
        request("return-3"),
        request("return-3"),
        request("return-4"),
    ]
    assert verbs.codes(lifecycle.return_many, *requests) == [
        "new",
        "replay",
        "reference_conflict",
        "exceeds_reservation",
        "new",
        "replay",
        "exceeds_reservation",
    ]
    assert factories.numbers(product.pk) == (5, 0, 0)
