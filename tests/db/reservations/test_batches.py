"""What becomes of a batch when its transaction fails as a whole."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DataError, connection
from django.db.models import F
from prometheus_client import REGISTRY

from inventory_project.foundation import batches
from inventory_project.foundation.errors import Conflict, Refusal, Unavailable
from reservations import lifecycle, reserving
from reservations.holds import Hold
from reservations.lifecycle import Sweep
from reservations.models import Reservation
from reservations.requests import Confirm, Outcome, Reserve
from stock.models import Product, StockLevel
from tests import factories
from tests.db.reservations import verbs
from tests.db.stock import records
from tests.factories import ACTOR, SP, reserve_request

pytestmark = pytest.mark.usefixtures("books")


def make(skus: Sequence[str]) -> list[UUID | Refusal]:
    """A piece of work that a UNIQUE can fail: a product for each SKU."""
    return [Product.objects.create(pk=uuid4(), sku=sku, name="A product").pk for sku in skus]


def take(product_ids: Sequence[UUID]) -> list[bool | Refusal]:
    """A piece of work that a CHECK can fail: a unit of each product, without asking whether it is there."""
    return [
        StockLevel.objects.filter(product_id=product_id).update(available=F("available") - 1) == 1
        for product_id in product_ids
    ]


def end_session() -> None:
    """End this thread's session from another one, as an administrator or a failing network would."""
    assert connection.connection is not None
    with verbs.another_session() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])


class Unlucky:
    """Reserves, and loses its session at a chosen point of the tries named."""

    def __init__(self, when: str, *, tries: Sequence[int]) -> None:
        self.when = when
        self.unlucky_tries = tries
        self.tries = 0

    def __call__(self, requests: Sequence[Reserve]) -> list[Outcome | Refusal]:
        self.tries += 1
        when = self.when if self.tries in self.unlucky_tries else "never"
        connection.ensure_connection()
        if when == "before the work":
            end_session()
        answers = reserving.reserve(requests)
        if when == "before the commit":
            end_session()
        if when == "after the commit":
            StockLevel.objects.exists()  # sends what was postponed until the commit
            assert connection.connection is not None
            connection.connection.commit()
            end_session()
            StockLevel.objects.exists()  # the answer to the commit would be lost just so
        return answers


def test_an_empty_batch_does_not_reach_the_database(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert batches.run(make, []) == []


def test_neighbours_survive_a_unique_violation() -> None:
    make(["taken"])
    first, second, third = batches.run(make, ["a", "taken", "b"])
    assert isinstance(second, Unavailable)
    assert second.code == "overloaded"
    assert set(Product.objects.values_list("id", "sku")) >= {(first, "a"), (third, "b")}
    assert Product.objects.count() == 3


def test_neighbours_survive_a_check_violation_which_counts_as_an_oversell_that_did_not_happen() -> None:
    product, empty = factories.product({SP: 1}), factories.product({SP: 1})
    factories.hold(empty.pk)
    before = REGISTRY.get_sample_value("inventory_oversell_events")
    assert before is not None
    taken, refusal = batches.run(take, [product.pk, empty.pk])
    assert taken is True
    assert isinstance(refusal, Conflict)
    assert refusal.code == "insufficient_stock"
    after = REGISTRY.get_sample_value("inventory_oversell_events")
    assert after is not None
    assert after == before + 1
    assert factories.numbers(empty.pk) == (0, 1, 0)
    assert factories.numbers(product.pk) == (0, 0, 0)
    StockLevel.objects.filter(product=product).update(available=1)  # put right what went past the ledger


def test_a_fault_of_the_code_is_not_hidden() -> None:
    def divide(requests: Sequence[int]) -> list[int | Refusal]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / %s", [requests[0]])
        return [1]

    with records.no_trace(), pytest.raises(DataError, match="division by zero"):
        batches.run(divide, [0])


@pytest.mark.parametrize("when", ["before the work", "before the commit", "after the commit"])
def test_after_a_lost_connection_the_batch_is_done_once_more_and_has_one_effect(when: str) -> None:
    product = factories.product({SP: 5})
    requests = [reserve_request(product.pk, 2), reserve_request(product.pk, 9), reserve_request(product.pk, 1)]
    work = Unlucky(when, tries=[1])
    answers = batches.run(work, requests)
    assert work.tries == 2
    assert verbs.codes(lambda _: answers, *requests) == (
        ["replay", "insufficient_stock", "replay"]
        if when == "after the commit"
        else ["new", "insufficient_stock", "new"]
    )
    assert factories.numbers(product.pk) == (2, 3, 0)
    assert Reservation.objects.count() == 2


@pytest.mark.parametrize(
    ("when", "code"), [("before the work", "database_unavailable"), ("before the commit", "outcome_unknown")]
)
def test_a_connection_that_is_lost_again_is_given_up(when: str, code: str) -> None:
    product = factories.product({SP: 5})
    work = Unlucky(when, tries=[1, 2])
    with records.no_trace(), pytest.raises(Unavailable) as refusal:
        batches.run(work, [reserve_request(product.pk, 2)])
    assert (work.tries, refusal.value.code) == (2, code)


def test_a_connection_lost_at_commit_leaves_the_outcome_unknown_though_the_second_loss_came_earlier() -> None:
    product = factories.product({SP: 5})
    work = Unlucky("before the commit", tries=[1])

    def then_away(requests: Sequence[Reserve]) -> list[Outcome | Refusal]:
        if work.tries == 1:
            end_session()
        return work(requests)

    with records.no_trace(), pytest.raises(Unavailable) as refusal:
        batches.run(then_away, [reserve_request(product.pk, 2)])
    assert refusal.value.code == "outcome_unknown"


def test_a_connection_lost_at_commit_leaves_the_outcome_unknown_though_the_second_try_waits_too_long() -> None:
    product = factories.product({SP: 5})
    work = Unlucky("before the commit", tries=[1])
    with verbs.another_session() as cursor, records.no_trace():

        def then_slow(requests: Sequence[Reserve]) -> list[Outcome | Refusal]:
            if work.tries == 1:
                cursor.execute("BEGIN")
                cursor.execute("SELECT 1 FROM stock_level FOR UPDATE")
                with connection.cursor() as ours:
                    ours.execute("SET LOCAL lock_timeout = '100ms'")
            return work(requests)

        with pytest.raises(Unavailable) as refusal:
            batches.run(then_slow, [reserve_request(product.pk, 2)])
        cursor.execute("ROLLBACK")
    assert (work.tries, refusal.value.code) == (2, "outcome_unknown")


def damage_the_level_of(held: Hold) -> None:
    """The level forgets what the hold has, as SQL by hand would do it."""
    StockLevel.objects.filter(product_id=held.lines[0].product_id).update(reserved=0)


def mend_the_level_of(held: Hold) -> None:
    StockLevel.objects.filter(product_id=held.lines[0].product_id).update(reserved=held.lines[0].quantity)


def test_a_damaged_level_holds_up_no_other_hold_and_is_reported() -> None:
    damaged, sound = (factories.hold(factories.product({SP: 5}).pk, 2) for _ in range(2))
    for held in (damaged, sound):
        factories.make_overdue(held)
    damage_the_level_of(damaged)
    before = REGISTRY.get_sample_value("inventory_oversell_events")
    assert before is not None
    assert lifecycle.sweep() == Sweep(released=1, left_behind=1)
    assert REGISTRY.get_sample_value("inventory_oversell_events") == before + 1
    assert (verbs.status(damaged), verbs.status(sound)) == (("ACTIVE", True), ("EXPIRED", False))
    mend_the_level_of(damaged)


def test_a_damaged_hold_is_refused_and_its_neighbour_confirmed() -> None:
    damaged, sound = (factories.hold(factories.product({SP: 5}).pk, 2) for _ in range(2))
    damage_the_level_of(damaged)
    refused, confirmed = lifecycle.confirm_many([Confirm(reservation_id=h.id, actor=ACTOR) for h in (damaged, sound)])
    assert isinstance(refused, Conflict)
    assert isinstance(confirmed, Outcome)
    assert (verbs.status(damaged), verbs.status(sound)) == (("ACTIVE", True), ("CONFIRMED", True))
    mend_the_level_of(damaged)


@contextmanager
def limited(setting: str) -> Iterator[None]:
    """This session waits a tenth of a second only."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET {setting} = '100ms'")
        try:
            yield
        finally:
            cursor.execute(f"SET {setting} = '5s'")


def test_a_statement_that_takes_too_long_is_refused_as_overloaded() -> None:
    product = factories.product({SP: 5})
    request = reserve_request(product.pk, 2)
    with verbs.another_session() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT 1 FROM stock_level FOR UPDATE")
        with records.no_trace(), limited("statement_timeout"), pytest.raises(Unavailable) as refusal:
            lifecycle.reserve_many([request])
        cursor.execute("ROLLBACK")
    assert refusal.value.code == "overloaded"
    assert verbs.reserve(request).is_replay is False
