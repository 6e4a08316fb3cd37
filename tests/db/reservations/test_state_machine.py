"""The life of stock and reservations, at random, against a model of a few dictionaries; audited at each end."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from pytest_django import Settings

from inventory_project.foundation.database import database_now
from inventory_project.foundation.errors import Refusal
from reservations import lifecycle, working_set
from reservations.models import Reservation, ReservationItem
from reservations.requests import CallOff, Cancel, Confirm, Expire, Extend, Item, Pay, Reserve, Return
from stock import blocking, catalogue, documents
from stock.documents import DocumentRequest, Kind
from stock.models import StockLevel
from tests import factories
from tests.db.reservations import verbs
from tests.db.reservations.model import Expected, Held, Model
from tests.factories import ACTOR, RJ, SP

CONTINUOUS = profile(
    max_examples=60,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
PRODUCTS = [UUID(int=number) for number in (1, 2, 3)]
WAREHOUSES = [SP, RJ]
ORDERS = [UUID(int=number) for number in range(101, 107)]
UNKNOWN_ORDER = UUID(int=999)
TTL_MINUTES = 15
EXTEND_MAX_MINUTES = 120
EMPTY = "TRUNCATE warehouse, stock_product, stock_movement, stock_document, reservation, outbox_event CASCADE"

# Small numbers, so that shortages, twins and replays are common.
items = st.lists(
    st.builds(Item, st.sampled_from(PRODUCTS), st.integers(1, 4), st.sampled_from([None, None, *WAREHOUSES])),
    min_size=1,
    max_size=3,
).map(tuple)
pick = st.tuples(st.booleans(), st.integers(0, 7))  # of the holds of a status or of all, see `picked`
picks = st.lists(pick, min_size=1, max_size=3)
references = st.sampled_from(["a", "b", "c"])
units = st.dictionaries(st.sampled_from(PRODUCTS), st.integers(-4, 5).filter(bool), min_size=1, max_size=3)


def expired() -> set[UUID]:
    """The reservations that are EXPIRED at this moment."""
    return set(Reservation.objects.filter(status="EXPIRED").values_list("id", flat=True))


class Books(RuleBasedStateMachine):
    """Each rule does something to the service, lets the model check the answer, and the model follows."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(ttl_minutes=TTL_MINUTES, extend_max_minutes=EXTEND_MAX_MINUTES)
        self.done: list[Callable[[], None]] = []
        self.documents = 0
        with connection.cursor() as cursor:
            cursor.execute(EMPTY)
        for warehouse_id in WAREHOUSES:
            factories.warehouse(warehouse_id)
        for product_id in PRODUCTS:
            catalogue.put(catalogue.ProductRequest(product_id=product_id, sku=str(product_id), name="A product"))
        for warehouse_id, product_ids in ((SP, PRODUCTS), (RJ, PRODUCTS[:2])):  # one level is not there yet
            self.book(warehouse_id, dict.fromkeys(product_ids, 6))
        self.reserve_for_a_new_order(PRODUCTS[0], 1)  # so that there is always something to pick

    def teardown(self) -> None:
        assert factories.broken_invariants() == []

    def do(self, act: Callable[[], None]) -> None:
        """Do it, and remember it to be done again."""
        self.done.append(act)
        act()

    def picked(self, choices: Sequence[tuple[bool, int]], status: str = "ACTIVE") -> list[Held]:
        """The holds chosen, of this status or of all, from the newest; where few are ACTIVE, new ones come first."""
        if len(self.model.active()) < 2:
            self.book(SP, {PRODUCTS[0]: 2, PRODUCTS[1]: 3})
            self.reserve_for_a_new_order(PRODUCTS[0], 2)
            self.reserve_for_a_new_order(PRODUCTS[1], 3)
        everything = list(self.model.holds.values())
        preferred = [held for held in everything if held.status == status] or everything
        ranges = [preferred if is_preferred else everything for is_preferred, _ in choices]
        return [among[-1 - number % len(among)] for among, (_, number) in zip(ranges, choices, strict=True)]

    def settle(
        self,
        verb: Callable[[Sequence[Any]], list[lifecycle.Answer]],
        decide: Callable[[Any], Expected],
        requests: Sequence[Any],
    ) -> None:
        self.do(lambda: self.model.each(decide, requests, verb(requests)))

    # --- stock -----------------------------------------------------------------------------------------------------

    @rule(warehouse_id=st.sampled_from(WAREHOUSES), lines=units)
    def receive_or_adjust(self, warehouse_id: str, lines: dict[UUID, int]) -> None:
        self.book(warehouse_id, lines)

    def book(self, warehouse_id: str, lines: dict[UUID, int]) -> None:
        self.documents += 1
        is_receipt = all(quantity > 0 for quantity in lines.values())
        request = DocumentRequest(
            kind=Kind.RECEIPT if is_receipt else Kind.ADJUSTMENT,
            reference=str(self.documents),
            warehouse_id=warehouse_id,
            items=tuple(lines.items()),
            actor=ACTOR,
        )

        def act() -> None:
            try:
                code = "replay" if documents.book(request).is_replay else "new"
            except Refusal as refusal:
                code = refusal.code
            assert code == self.model.book(request).code

        self.do(act)

    @rule(product_id=st.sampled_from(PRODUCTS))
    def block_or_unblock(self, product_id: UUID) -> None:
        is_blocked = product_id in self.model.blocked
        verb = blocking.unblock_product if is_blocked else blocking.block_product
        verb(product_id, reason="at random", actor=ACTOR)
        self.model.blocked ^= {product_id}

    @rule(warehouse_id=st.sampled_from(WAREHOUSES))
    def close_or_reopen(self, warehouse_id: str) -> None:
        is_closed = warehouse_id in self.model.closed
        verb = blocking.reopen_warehouse if is_closed else blocking.close_warehouse
        verb(warehouse_id, actor=ACTOR)
        self.model.closed ^= {warehouse_id}

    # --- reservations ----------------------------------------------------------------------------------------------

    @rule(wishes=st.lists(st.tuples(st.sampled_from(ORDERS), items, st.booleans()), min_size=1, max_size=4))
    def reserve(self, wishes: list[tuple[UUID, tuple[Item, ...], bool]]) -> None:
        requests = [
            Reserve(order_id=order_id, items=wish, allow_split=allow_split, actor=ACTOR)
            for order_id, wish, allow_split in wishes
        ]
        self.do(lambda: self.model.reserve(requests, lifecycle.reserve_many(requests), expired()))

    @rule(product_id=st.sampled_from(PRODUCTS), quantity=st.integers(1, 3))
    def reserve_for_a_new_order(self, product_id: UUID, quantity: int) -> None:
        self.reserve([(UUID(int=1_000 + len(self.done)), (Item(product_id, quantity),), True)])

    @rule(choices=picks, part=st.none() | items)
    def confirm(self, choices: list[tuple[bool, int]], part: tuple[Item, ...] | None) -> None:
        requests = [Confirm(reservation_id=held.id, items=part, actor=ACTOR) for held in self.picked(choices)]
        self.settle(lifecycle.confirm_many, self.model.confirm, requests)

    @rule(choice=pick, fewer=st.integers(1, 2), is_named=st.booleans())
    def confirm_a_part_that_fits(self, choice: tuple[bool, int], fewer: int, is_named: bool) -> None:
        [held] = self.picked([choice])
        part = tuple(
            Item(line.key[0], max(1, line.quantity - fewer), line.key[1] if is_named else None) for line in held.lines
        )
        self.settle(
            lifecycle.confirm_many,
            self.model.confirm,
            [Confirm(reservation_id=held.id, items=part, actor=ACTOR)],
        )

    @rule(choices=picks)
    def cancel(self, choices: list[tuple[bool, int]]) -> None:
        requests = [Cancel(reservation_id=held.id, actor=ACTOR) for held in self.picked(choices)]
        self.settle(lifecycle.cancel_many, self.model.cancel, requests)

    @rule(choices=picks, only_if_due=st.booleans())
    def expire(self, choices: list[tuple[bool, int]], only_if_due: bool) -> None:
        requests = [
            Expire(reservation_id=held.id, only_if_due=only_if_due, actor=ACTOR) for held in self.picked(choices)
        ]
        self.settle(lifecycle.expire_many, self.model.expire, requests)

    @rule(choices=picks)
    def let_time_run_out(self, choices: list[tuple[bool, int]]) -> None:
        for held in self.picked(choices):
            if held.status == "ACTIVE":
                Reservation.objects.filter(pk=held.id).update(expires_at=database_now())
                held.is_overdue = True

    @precondition(lambda self: self.model.overdue())
    @rule()
    def sweep(self) -> None:
        due = self.model.overdue()
        assert lifecycle.sweep().released == len(due)
        for held in due:
            self.model.release(held, "EXPIRED")

    @rule(choices=picks, minutes=st.sampled_from([1, 50, 100]), reference=references)
    def extend(self, choices: list[tuple[bool, int]], minutes: int, reference: str) -> None:
        requests = [
            Extend(reservation_id=held.id, minutes=minutes, reference=reference, actor=ACTOR)
            for held in self.picked(choices)
        ]
        self.settle(lifecycle.extend_many, self.model.extend, requests)

    @rule(choices=picks, part=st.none() | items, reference=references)
    def give_back(self, choices: list[tuple[bool, int]], part: tuple[Item, ...] | None, reference: str) -> None:
        requests = [
            Return(reservation_id=held.id, reference=reference, items=part, actor=ACTOR)
            for held in self.picked(choices, "CONFIRMED")
        ]
        self.settle(lifecycle.return_many, self.model.give_back, requests)

    @rule(
        choices=picks,
        status=st.sampled_from(["ACTIVE", "CONFIRMED", "EXPIRED", "CANCELLED"]),
        part=st.none() | items,
        reference=references,
        is_revivable=st.sampled_from([True, True, False]),
    )
    def call_off(
        self,
        choices: list[tuple[bool, int]],
        status: str,
        part: tuple[Item, ...] | None,
        reference: str,
        is_revivable: bool,
    ) -> None:
        order_ids = [held.order_id for held in self.picked(choices, status)]
        requests = [
            CallOff(
                order_id=order_id,
                items=part,
                reason="cancelled",
                reference=reference,
                is_revivable=is_revivable,
                actor=ACTOR,
            )
            for order_id in order_ids
        ]
        self.settle(verbs.call_off_many, self.model.call_off, requests)

    @rule(choice=pick, status=st.sampled_from(["ACTIVE", "EXPIRED", "CANCELLED"]), reference=references)
    def call_off_a_unit_of_each_line(self, choice: tuple[bool, int], status: str, reference: str) -> None:
        [held] = self.picked([choice], status)
        left = [line for line in held.lines if line.open or (held.is_revivable and line.quantity > line.called_off)]
        part = tuple(Item(line.key[0], 1, line.key[1]) for line in left) or None
        request = CallOff(order_id=held.order_id, items=part, reason="cancelled", reference=reference, actor=ACTOR)
        self.settle(verbs.call_off_many, self.model.call_off, [request])

    @rule(choices=picks, is_one_unknown=st.booleans())
    def fail_the_payment(self, choices: list[tuple[bool, int]], is_one_unknown: bool) -> None:
        order_ids = [held.order_id for held in self.picked(choices)] + [UNKNOWN_ORDER] * is_one_unknown
        requests = [
            CallOff(order_id=order_id, reason="payment_failed", reference="payment", actor=ACTOR)
            for order_id in order_ids
        ]
        self.settle(verbs.call_off_many, self.model.call_off, requests)

    @rule(
        choices=picks,
        status=st.sampled_from(["EXPIRED", "CANCELLED"]),
        is_one_unknown=st.booleans(),
        is_revivable=st.sampled_from([True, True, False]),
    )
    def pay(self, choices: list[tuple[bool, int]], status: str, is_one_unknown: bool, is_revivable: bool) -> None:
        order_ids = [held.order_id for held in self.picked(choices, status)] + [UNKNOWN_ORDER] * is_one_unknown
        requests = [Pay(order_id=order_id, is_revivable=is_revivable, actor=ACTOR) for order_id in order_ids]
        self.do(lambda: self.model.pay(requests, lifecycle.pay_many(requests), expired()))

    @rule(number=st.integers(0, 5))
    def do_again(self, number: int) -> None:
        """A repeat of one of the last batches, which the model decides as if it were new."""
        self.done[-1 - number % len(self.done)]()

    # --- after each step -------------------------------------------------------------------------------------------

    @invariant()
    def every_level_is_as_the_model_has_it(self) -> None:
        columns = ("product_id", "warehouse_id", "available", "reserved", "incoming", "is_blocked", "is_closed")
        expected = {
            (*key, level.available, level.reserved, 0, key[0] in self.model.blocked, key[1] in self.model.closed)
            for key, level in self.model.levels.items()
        }
        assert set(StockLevel.objects.values_list(*columns)) == expected

    @invariant()
    def every_reservation_is_as_the_model_has_it(self) -> None:
        columns = ("id", "order_id", "status", "is_live")
        expected = {(held.id, held.order_id, held.status, held.is_live) for held in self.model.holds.values()}
        assert set(Reservation.objects.values_list(*columns)) == expected
        line_columns = (
            *("reservation_id", "product_id", "warehouse_id"),
            *("quantity", "confirmed", "released", "returned"),
        )
        lines = {
            (held.id, *line.key, line.quantity, line.confirmed, line.released, line.returned)
            for held in self.model.holds.values()
            for line in held.lines
        }
        assert set(ReservationItem.objects.values_list(*line_columns)) == lines


@pytest.mark.timeout(400)  # seconds; a failure is first made as short as can be
@pytest.mark.usefixtures("books")
@pytest.mark.parametrize("levels_together", [working_set.MAX_LEVELS_TOGETHER, 0])
def test_the_service_does_what_the_model_does(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, levels_together: int
) -> None:
    """With 0, warehouses are chosen before the locks for each product that was sold before."""
    monkeypatch.setattr(working_set, "MAX_LEVELS_TOGETHER", levels_together)
    monkeypatch.setattr(working_set, "_wide", set())
    settings.RESERVATION_TTL_MINUTES = Decimal(TTL_MINUTES)
    settings.RESERVATION_EXTEND_MAX_MINUTES = EXTEND_MAX_MINUTES
    run_state_machine_as_test(Books, settings=CONTINUOUS)
